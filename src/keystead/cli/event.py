"""``keystead event log show``: the events about key servers and certificates. Source: the ONTAP CLI's verbs."""

from __future__ import annotations

from typing import Any

import click

from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command


@click.group(cls=Group)
def event() -> None:
    """Show events."""


@event.group()
def log() -> None:
    """Show the event log."""


@log.command()
@api_command
@click.option("--message-name", metavar="PATTERN", help='Show only events with this name, such as "km.keyserver.*".')
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this number of events."
)
def show(message_name: str | None, limit: int, **flags: Any) -> None:
    """Show the newest events, the oldest of them first.

    Example: keystead event log show --message-name "km.keyserver.*"
    """
    query = {"fields": "*", "order_by": "time desc", "max_records": str(limit)}
    query |= {"message.name": message_name} if message_name else {}
    with api(flags) as service:
        records = service.call("GET", "/support/ems/events", **query).get("records", [])[::-1]
    if flags["output"] == "table":
        records = [_row(record) for record in records]
    print_records(records, ["time", "node", "severity", "event", "stage", "reason"], flags["output"])


def _row(record: dict[str, Any]) -> dict[str, Any]:
    parameters = {each["name"]: each["value"] for each in record.get("parameters", ())}
    return {
        "time": record["time"],
        "node": record.get("node", {}).get("name"),
        "severity": record["message"]["severity"],
        "event": record["log_message"],
        "stage": parameters.get("stage"),
        "reason": parameters.get("reason"),
    }
