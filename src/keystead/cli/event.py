"""``keystead event ...``: the events about key servers and certificates. Source: the ONTAP CLI's verbs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NoReturn

import click

from keystead.cli.client import Refused, Unreachable
from keystead.cli.commands import Group
from keystead.cli.event_forwarding import destination, filters
from keystead.cli.output import print_records, shown
from keystead.cli.rest import api, api_command, of_svm, one_svm

if TYPE_CHECKING:
    from keystead.cli.client import Api

EVENTS = "/support/ems/events"
SEVERITIES = ["emergency", "alert", "error", "notice", "informational", "debug"]
POLL_S = 2.0
UNAVAILABLE = "262145"  # the service stops, or its database is away


@click.group(cls=Group)
def event() -> None:
    """Show events, and forward them."""


event.add_command(destination)
event.add_command(filters)


@event.group()
def log() -> None:
    """Show the event log."""


@log.command()
@api_command
@one_svm
@click.option(
    "--severity", type=click.Choice(SEVERITIES), multiple=True, help="Show only events of this severity. Repeatable."
)
@click.option("--message-name", metavar="PATTERN", help='Show only events with this name, such as "km.keyserver.*".')
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="Show at most this number of events."
)
@click.option("--follow", is_flag=True, help="Go on with new events until Ctrl-C, one line or JSON object for each.")
def show(
    vserver: str | None,
    severity: tuple[str, ...],
    message_name: str | None,
    limit: int,
    follow: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Show the newest events, the oldest of them first.

    Example: keystead event log show --severity alert --message-name "km.keyserver.*" --follow
    """
    wanted = {"fields": "*"} | of_svm(vserver)
    wanted |= {"message.severity": "|".join(severity)} if severity else {}
    wanted |= {"message.name": message_name} if message_name else {}
    with api(flags) as service:
        events = _newest(service, wanted, limit)
        if follow:
            _follow(service, wanted, limit, events, flags["output"])
    if flags["output"] == "table":
        events = [_row(event) for event in events]
    print_records(events, ["time", "node", "severity", "stage", "reason", "event"], flags["output"])


def _newest(service: Api, wanted: dict[str, str], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.call(
        "GET", EVENTS, order_by="time desc", max_records=str(limit), **wanted
    ).get("records", [])
    return found[::-1]


def _follow(service: Api, wanted: dict[str, str], limit: int, events: list[dict[str, Any]], form: str) -> NoReturn:
    """Print these events, then new ones as they come. Ctrl-C ends it. While the service is away, wait for it."""
    last: dict[str, int] = {}
    away = False
    while True:
        for event in events:
            click.echo(json.dumps(event) if form == "json" else _line(event))
            node = event["node"]["uuid"]
            last[node] = max(event["index"], last.get(node, 0))
        time.sleep(POLL_S)
        try:
            with service:  # a connection of its own, because a service closes those that are idle
                events = _new(service, wanted, limit, last)
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.error.get("code") != UNAVAILABLE:
                raise
            if not away:
                click.echo(f"{error.message}: waiting for it", err=True)
            events, away = [], True
        else:
            if away:
                click.echo("the service answers again", err=True)
            away = False


def _new(service: Api, wanted: dict[str, str], limit: int, last: dict[str, int]) -> list[dict[str, Any]]:
    """Return the events that are not shown yet. ``last`` is the highest index that was shown of each node.

    The index of a node's events only grows. Their time does not tell what is new, because an event may be stored late.
    """
    newest = _newest(service, wanted, limit)
    before = {event["node"]["uuid"]: event["index"] - 1 for event in reversed(newest)} | last
    found = [
        event
        for node, index in before.items()
        for event in service.records(EVENTS, **wanted, **{"node.uuid": node, "index": f">{index}"}, order_by="index")
    ]
    return sorted(found, key=lambda event: (event["time"], event["index"]))


def _line(event: dict[str, Any]) -> str:
    row = _row(event)
    return "  ".join(shown(row[name]) for name in ("time", "node", "severity", "event"))


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
