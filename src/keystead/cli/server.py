"""Commands that work on a data directory: ``init``, ``serve``, ``db upgrade`` and ``db copy``."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from keystead.cli.commands import Command, Group
from keystead.cli.login import SECRET_LIMIT, hidden, secret_bytes
from keystead.settings import Settings, SettingsError, has_password, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keystead.core.secret import Secret

_FLAGS = [
    click.option("--data", type=click.Path(path_type=Path), help=Settings.help("data")),
    click.option("--root-key", type=click.Path(path_type=Path), help=Settings.help("root_key")),
    click.option("--database", metavar="URL", help=Settings.help("database")),
]


def directory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name the data directory, the root key and the database."""
    for option in reversed(_FLAGS):
        command = option(command)
    return command


def in_writable_folder(_: click.Context, __: click.Parameter, file: Path) -> Path:
    """Raise BadParameter unless a file can be created in the folder. Check this before temporary files are created."""
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"{file}: no file can be made in {file.parent}")
    return file


@contextmanager
def refusals() -> Iterator[None]:
    """Print a refusal as one line without a traceback. The exit status is 2 for settings and 1 for other refusals."""
    from keystead.app.opening import CannotStart

    try:
        yield
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    except CannotStart as error:
        raise click.ClickException(str(error)) from None


@click.command(cls=Command)
@directory_options
@click.option(
    "--admin-password-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Read the password of the account admin from this file (one trailing newline is ignored).",
)
@click.option(
    "--join",
    metavar="URL",
    help="Join the cluster of a node that runs `keystead node invite`, at the URL that it shows. The command asks for"
    " the token, and shows the fingerprint that the operator there must compare.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help='With --join: read the token from this file; "-" is standard input.',
)
def init(admin_password_file: Path | None, join: str | None, token_file: Path | None, **flags: Any) -> None:
    """Create a data directory: root key, database, TLS certificate, account admin. The command is safe to repeat.

    Example: keystead init --data keystead-data
    """
    if token_file and not join:
        raise click.UsageError("--token-file needs --join")
    if join and admin_password_file:
        raise click.UsageError("--join makes no account, so it takes no --admin-password-file")
    if join:
        _join(join, token_file, flags)
        return
    with refusals():
        from keystead.app.initialise import initialise

        password = secret_bytes(admin_password_file, "--admin-password-file") if admin_password_file else None
        for line in initialise(load(flags), password, terminal=sys.stdout.isatty()):
            click.echo(line)


def _join(url: str, token_file: Path | None, flags: dict[str, Any]) -> None:
    """Make a data directory by an invitation."""

    def show(fingerprint: str) -> None:
        click.echo(
            f"fingerprint of this node's key, for the operator of the inviting node to compare:\n  {fingerprint}"
        )
        click.echo("waiting for the operator ...")

    with refusals():
        from keystead.app.join import join
        from keystead.app.join_messages import Invited

        settings = load(flags)
        Invited.parse(url)  # before the token is asked for
        for line in join(settings, url, _token(token_file), show):
            click.echo(line)


def _token(file: Path | None) -> Secret:
    """Return the token of an invitation, from a file, standard input or the terminal."""
    from keystead.core.secret import Secret

    if file == Path("-"):
        return Secret(sys.stdin.buffer.readline(SECRET_LIMIT))
    if file:
        return Secret(secret_bytes(file, "--token-file"))
    with hidden("token", "give --token-file, or use a terminal"):
        return Secret(getpass.getpass("Token of the invitation: "))


@click.command(cls=Command)
@directory_options
@click.option("--listen", metavar="HOST:PORT", help=Settings.help("listen"))
@click.option("--kmip-listen", metavar="HOST:PORT", help=Settings.help("kmip_listen"))
def serve(**flags: Any) -> None:
    """Serve the REST API until SIGTERM or Ctrl-C. Prints "listening on https://HOST:PORT" once it answers.

    Example: keystead serve --data keystead-data --listen 127.0.0.1:8443
    """
    with refusals():
        from keystead.app.wiring import serve as serve_

        serve_(load(flags))


def _without_password(context: click.Context, parameter: click.Parameter, url: str) -> str:
    """Return the URL of a database. Raise BadParameter if it was typed with a password."""
    if has_password(url) and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE:
        raise click.BadParameter("a URL with a password comes from KEYSTEAD_COPY_TO, not from the command line")
    return url


@click.group(cls=Group)
def db() -> None:
    """Maintain the database."""


@db.command()
@directory_options
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def upgrade(*, dry_run: bool, **flags: Any) -> None:
    """Upgrade the database to this release's schema. Make a backup first: no command makes a schema older.

    Refused while a node is heard whose release could not write afterwards.

    Example: keystead db upgrade --data keystead-data --dry-run
    """
    with refusals():
        from keystead.app.initialise import planned
        from keystead.app.initialise import upgrade as upgrade_

        settings = load(flags)
        if not dry_run:
            click.echo(upgrade_(settings))
            return
        for line in planned(settings):
            click.echo(line)


@db.command()
@directory_options
@click.option(
    "--to",
    metavar="URL",
    required=True,
    envvar="KEYSTEAD_COPY_TO",
    show_envvar=True,
    callback=_without_password,
    help="The database to copy to: postgresql://USER@HOST/NAME or sqlite:////PATH. It must be empty. A URL with a"
    " password must come from the environment.",
)
@click.option("--keep-source", is_flag=True, help="Copy only: nothing is destroyed by the copy until a release.")
def copy(to: str, *, keep_source: bool, **flags: Any) -> None:
    """Move everything to another database, from SQLite to PostgreSQL or back. No node may run. It is safe to repeat.

    Afterwards the old database refuses to be served.

    Example: keystead db copy --data keystead-data --to postgresql://keystead@db.example.com/keystead
    """
    with refusals():
        from keystead.app.database_copy import copy_database

        for line in copy_database(load(flags), to, keep_source=keep_source):
            click.echo(line)
