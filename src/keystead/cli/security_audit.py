"""``keystead security audit ...``: the audit records of calls through the API, and where they are forwarded to."""

from __future__ import annotations

from typing import Any

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, of_svm, one_svm, svm_name
from keystead.cli.security_audit_destination import destination


@click.group(cls=Group)
def audit() -> None:
    """Show the audit log, and forward it."""


audit.add_command(destination)


@audit.command()
@api_command
@one_svm
@click.option("--account", help="Show only records of this account.")
@click.option("--state", type=click.Choice(["success", "error"]), help="Show only records with this outcome.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this number of records."
)
def show(vserver: str | None, account: str | None, state: str | None, limit: int, **flags: Any) -> None:
    """Show the newest audit records, the oldest of them first.

    Example: keystead security audit show --vserver vs0 --limit 20
    """
    query = {"fields": "*", "order_by": "timestamp desc", "max_records": str(limit)}
    query |= of_svm(vserver)
    query |= {"user": exactly(account)} if account else {}
    query |= {"state": state} if state else {}
    with api(flags) as service:
        records = service.call("GET", "/security/audit/messages", **query).get("records", [])[::-1]
    if flags["output"] == "table":
        records = [record | {"vserver": svm_name(record)} for record in records]
    columns = ["timestamp", "vserver", "user", "state", "message", "location", "input"]
    print_records(records, columns, flags["output"])
