"""``keystead security audit destination ...``: where audit records go. Source: ONTAP, ``cluster log-forwarding``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, confirm, yes

if TYPE_CHECKING:
    from collections.abc import Mapping

DESTINATIONS = "/security/audit/destinations"
TRANSPORTS = ["tcp_unencrypted", "tcp_encrypted"]
FACILITIES = ["kern", "user", *(f"local{number}" for number in range(8))]

_PORT = click.IntRange(1, 65535)
_host = click.option(
    "--destination", "host", required=True, metavar="HOST", help="Host name or IP address of the syslog server."
)
_port = click.option("--port", required=True, type=_PORT, help="Port of the syslog server.")
_facility = partial(click.option, "--facility", type=click.Choice(FACILITIES))
_verify = partial(click.option, "--verify-server/--no-verify-server", "verify", default=None)


@click.group(cls=Group)
def destination() -> None:
    """Manage where audit records are forwarded to: syslog servers."""


@destination.command()
@api_command
@_host
@click.option("--port", type=_PORT, help="Port; 514, or 6514 with tcp_encrypted, if none is given.")
@click.option("--protocol", type=click.Choice(TRANSPORTS), default=TRANSPORTS[0], show_default=True)
@_facility(help="Facility of the messages; user if none is given.")
@_verify(help="Whether the server must show a certificate of its name from a CA that the cluster trusts.")
def create(host: str, port: int | None, protocol: str, facility: str | None, verify: bool | None, **flags: Any) -> None:  # noqa: FBT001
    """Forward audit records to a syslog server from now on.

    Example: keystead security audit destination create --destination log.example.com --protocol tcp_encrypted
    --verify-server
    """
    body = {"address": host, "protocol": protocol} | given(port=port, facility=facility, verify_server=verify)
    with api(flags) as service:
        service.call("POST", DESTINATIONS, body)
    click.echo(f"audit records are forwarded to {host}", err=True)


@destination.command()
@api_command
def show(**flags: Any) -> None:
    """List the destinations of audit records, and what went wrong there.

    Example: keystead security audit destination show
    """
    with api(flags) as service:
        records = service.records(DESTINATIONS, fields="*")
    if flags["output"] == "table":
        records = [record | failure(record) for record in records]
    columns = ["address", "port", "protocol", "facility", "verify_server", "failing_since", "reason", "dropped"]
    print_records(records, columns, flags["output"])


@destination.command()
@api_command
@_host
@_port
@_facility(help="Another facility of the messages.")
@_verify(help="Whether the server must show a certificate of its name from a CA that the cluster trusts.")
def modify(host: str, port: int, facility: str | None, verify: bool | None, **flags: Any) -> None:  # noqa: FBT001
    """Change how audit records are forwarded to a syslog server.

    Example: keystead security audit destination modify --destination log.example.com --port 6514 --verify-server
    """
    with api(flags) as service:
        service.call("PATCH", _path(host, port), given(facility=facility, verify_server=verify))
    click.echo(f"changed the destination {host}, port {port}", err=True)


@destination.command()
@api_command
@_host
@_port
@yes
def delete(host: str, port: int, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Forward audit records to a syslog server no more.

    Example: keystead security audit destination delete --destination log.example.com --port 6514
    """
    confirm(f"Delete the destination {host}, port {port}", yes=yes)
    with api(flags) as service:
        service.call("DELETE", _path(host, port))
    click.echo(f"deleted the destination {host}, port {port}", err=True)


def given(**values: object) -> dict[str, object]:
    """Return the values that were given, for a body."""
    return {name: value for name, value in values.items() if value is not None}


def failure(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table shows of a destination's delivery."""
    delivery = record.get("delivery", {})
    return {name: delivery.get(name) for name in ("failing_since", "reason", "dropped")}


def _path(host: str, port: int) -> str:
    return f"{DESTINATIONS}/{quote(host, safe='')}/{port}"
