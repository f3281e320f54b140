"""``keystead job``: the jobs, which continue after the answer to their call. Show, pause, resume and cancel them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command
from keystead.core.jobs import Action


@click.group(cls=Group)
def job() -> None:
    """Show, pause, resume and cancel jobs."""


@job.command()
@api_command
def show(**flags: Any) -> None:
    """List the jobs, the newest last.

    Example: keystead job show
    """
    with api(flags) as service:
        records = service.records("/cluster/jobs", fields="*", order_by="start_time")
    print_records(records, ["start_time", "state", "message", "uuid", "description"], flags["output"])


@job.command()
@click.argument("uuid")
@api_command
def pause(uuid: str, **flags: Any) -> None:
    """Pause a job after its present step. It keeps what it has done.

    Example: keystead job pause 7a1c2f0e-9d1b-4a55-8f3e-2c9d11b6a001
    """
    _ask(uuid, Action.PAUSE, flags)


@job.command()
@click.argument("uuid")
@api_command
def resume(uuid: str, **flags: Any) -> None:
    """Resume a paused job where it was.

    Example: keystead job resume 7a1c2f0e-9d1b-4a55-8f3e-2c9d11b6a001
    """
    _ask(uuid, Action.RESUME, flags)


@job.command()
@click.argument("uuid")
@api_command
def cancel(uuid: str, **flags: Any) -> None:
    """End a job after its present step, for good.

    Example: keystead job cancel 7a1c2f0e-9d1b-4a55-8f3e-2c9d11b6a001
    """
    _ask(uuid, Action.CANCEL, flags)


def _ask(uuid: str, action: Action, flags: dict[str, Any]) -> None:
    """Ask a job for an action, and say so on standard error."""
    with api(flags) as service:
        service.call("PATCH", f"/cluster/jobs/{quote(uuid, safe='')}", action=action.value)
    click.echo(f"asked the job to {action.value}: keystead job show", err=True)
