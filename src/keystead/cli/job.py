"""``keystead job show``: the jobs, which continue after the answer to their call."""

from __future__ import annotations

from typing import Any

import click

from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command


@click.group(cls=Group)
def job() -> None:
    """Show jobs."""


@job.command()
@api_command
def show(**flags: Any) -> None:
    """List the jobs, the newest last.

    Example: keystead job show
    """
    with api(flags) as service:
        records = service.records("/cluster/jobs", fields="*", order_by="start_time")
    print_records(records, ["start_time", "state", "message", "uuid", "description"], flags["output"])
