"""``keystead demo``: a service and key servers to look at, or as a stand-in for the tests of other programs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

import click

from keystead.cli.commands import Command, Group

MOST_SERVERS: Final = 16
_HIGHEST_PORT: Final = 65_535
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group(cls=Group, invoke_without_command=True)
@click.option("--once", is_flag=True, help="Exit when the tour is over.")
@click.option("--no-tour", is_flag=True, help="Create SVM vs0 over the key servers, print variables, and stay up.")
@click.option(
    "--servers",
    type=click.IntRange(1, MOST_SERVERS),
    help="How many key servers run with --no-tour. SVM vs0 uses the first four.  [default: 4]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the service listens on.")
@click.option(
    "--port",
    type=click.IntRange(0, _HIGHEST_PORT),
    default=0,
    show_default=True,
    help="Port of the service. 0: any free one.",
)
@click.option("--data", type=_FOLDER, help="A folder that is missing or empty. Default: a temporary one.")
@click.pass_context
def demo(
    ctx: click.Context, /, *, once: bool, no_tour: bool, servers: int | None, host: str, port: int, data: Path | None
) -> None:
    """Run a service with key servers on this host, and show what it does. For trials and tests only.

    It stays up until Ctrl-C, SIGTERM or SIGHUP, and removes its folder. Keys are in clear in its memory.

    Example: keystead demo --no-tour --servers 4 --port 8443 --data demo
    """
    if ctx.invoked_subcommand is not None:
        return
    if no_tour and once:
        raise click.UsageError("--once ends the tour: leave out --no-tour")
    if servers is not None and not no_tour:
        raise click.UsageError("the tour has its own key servers: add --no-tour to --servers")
    _run(None if not no_tour else servers or 4, once=once, host=host, port=port, data=data)


def _run(servers: int | None, *, once: bool, host: str, port: int, data: Path | None) -> None:
    """Run the demo in its folder: the tour, or so many key servers."""
    from keystead.testing import demo as demo_
    from keystead.testing import tour
    from keystead.testing.service import NotStartedError

    try:
        with demo_.until_stopped(), demo_.private_folder(data) as folder:
            if servers is None:
                tour.run(folder, once=once, host=host, port=port)
                return
            with demo_.demo(folder, servers, host=host, port=port) as running:
                click.echo(demo_.offer(running), nl=False)
                signal.pause()
    except (demo_.DemoError, tour.TourError, NotStartedError) as error:
        raise click.ClickException(str(error)) from None


_DEMO = click.option("--data", type=_FOLDER, envvar="KEYSTEAD_DEMO", help="The demo's folder. Default: KEYSTEAD_DEMO.")


@demo.command("break", cls=Command)
@click.argument("server", metavar="NAME")
@click.argument("fault", metavar="FAULT")
@_DEMO
@click.pass_context
def break_(ctx: click.Context, /, server: str, fault: str, data: Path | None) -> None:
    """Begin a fault of a key server (`ks1`, `ks2` and so on) of a running demo.

    An unknown fault is refused, with the list of all faults.

    Example: keystead demo break ks2 expired
    """
    _ask(ctx, data, f"break {server} {fault}")


@demo.command(cls=Command)
@click.argument("server", metavar="NAME")
@_DEMO
@click.pass_context
def heal(ctx: click.Context, /, server: str, data: Path | None) -> None:
    """End the fault of a key server of a running demo.

    Example: keystead demo heal ks2
    """
    _ask(ctx, data, f"heal {server}")


def _ask(ctx: click.Context, data: Path | None, line: str) -> None:
    from keystead.testing.control import ControlError, ask

    folder = data or (ctx.parent.params["data"] if ctx.parent else None)
    if folder is None:
        raise click.UsageError("which demo? give --data, or set KEYSTEAD_DEMO")
    try:
        click.echo(ask(folder, line))
    except ControlError as error:
        raise click.ClickException(str(error)) from None
