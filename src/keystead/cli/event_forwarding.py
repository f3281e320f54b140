"""``keystead event destination|filter ...``: where events go, and which. Source: ONTAP's verbs of these names."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group
from keystead.cli.completing import names_from
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, certificates, confirm, named, names, only_one, yes
from keystead.cli.security_audit_destination import TRANSPORTS, failure, given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.cli.client import Api
    from keystead.cli.completing import Finder

DESTINATIONS = "/support/ems/destinations"
FILTERS = "/support/ems/filters"


def _named_in(path: str) -> Finder:
    """Return a finder of the names in a collection. Such a list has no order, so it is sorted here."""

    def find(service: Api, _: Mapping[str, Any], begun: str) -> list[str]:
        return sorted(each["name"] for each in service.records(path, fields="name", name=f"{exactly(begun)}*"))

    return find


_name = partial(click.option, "--name", required=True, metavar="NAME")
_destination_name = _name(help="Name of the destination.", shell_complete=names_from(_named_in(DESTINATIONS)))
_filter_name = click.option(
    "--filter-name",
    "name",
    required=True,
    metavar="NAME",
    help="Name of the filter.",
    shell_complete=names_from(_named_in(FILTERS)),
)
_filters = partial(
    click.option,
    "--filters",
    callback=names,
    metavar="NAME,...",
    shell_complete=names_from(_named_in(FILTERS), many=True),
)
_syslog = click.option("--syslog", metavar="HOST", help="Host name or IP address of a syslog server.")
_url = click.option("--rest-api-url", "hook", metavar="URL", help="URL of a webhook: https://...")
_certificate = click.option(
    "--certificate",
    metavar="NAME",
    help="Client certificate of the cluster that the webhook is shown.",
    shell_complete=names_from(certificates("client")),
)
_port = click.option("--port", type=click.IntRange(1, 65535), help="Port of the syslog server.")
_transport = click.option("--syslog-transport", "transport", type=click.Choice(TRANSPORTS), help="How it is reached.")


@click.group(cls=Group)
def destination() -> None:
    """Manage where events are forwarded to: syslog servers and webhooks."""


@destination.command()
@api_command
@_name(help="Name of the new destination.")
@_syslog
@_port
@_transport
@_url
@_certificate
@_filters(required=True, help="Filters that choose the events, such as important-events.")
def create(name: str, syslog: str | None, hook: str | None, filters: tuple[str, ...], **flags: Any) -> None:
    """Forward events to a syslog server or a webhook from now on.

    Example: keystead event destination create --name siem --rest-api-url https://siem.example.com/events
    --filters important-events
    """
    only_one({"--syslog": syslog, "--rest-api-url": hook})
    if not (syslog or hook):
        raise click.UsageError("--syslog or --rest-api-url is needed")
    body = {"name": name, "type": "syslog" if syslog else "rest_api"} | _body(syslog or hook, filters, flags)
    with api(flags) as service:
        body |= _shown_certificate(service, flags["certificate"])
        service.call("POST", DESTINATIONS, body)
    click.echo(f"created destination {name}", err=True)


@destination.command("show")
@api_command
def show_destinations(**flags: Any) -> None:
    """List the destinations of events, and what went wrong there.

    Example: keystead event destination show
    """
    with api(flags) as service:
        records = service.records(DESTINATIONS, fields="*")
    if flags["output"] == "table":
        shown = {record["name"]: ",".join(each["name"] for each in record.get("filters", ())) for record in records}
        records = [record | failure(record) | {"filters": shown[record["name"]]} for record in records]
    columns = ["name", "type", "destination", "filters", "failing_since", "reason", "dropped"]
    print_records(records, columns, flags["output"])


@destination.command()
@api_command
@_destination_name
@_syslog
@_port
@_transport
@_url
@_certificate
@_filters(help="Other filters that choose the events.")
def modify(name: str, syslog: str | None, hook: str | None, filters: tuple[str, ...], **flags: Any) -> None:
    """Change where events are forwarded to, or which.

    Example: keystead event destination modify --name siem --filters no-info-debug-events
    """
    only_one({"--syslog": syslog, "--rest-api-url": hook})
    with api(flags) as service:
        body = _body(syslog or hook, filters, flags) | _shown_certificate(service, flags["certificate"])
        service.call("PATCH", f"{DESTINATIONS}/{quote(name, safe='')}", body)
    click.echo(f"changed destination {name}", err=True)


@destination.command("delete")
@api_command
@_destination_name
@yes
def delete_destination(name: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Forward events to a destination no more.

    Example: keystead event destination delete --name siem
    """
    confirm(f"Delete destination {name}", yes=yes)
    with api(flags) as service:
        service.call("DELETE", f"{DESTINATIONS}/{quote(name, safe='')}")
    click.echo(f"deleted destination {name}", err=True)


@click.group("filter", cls=Group)
def filters() -> None:
    """Manage filters, which choose the events that a destination gets."""


@filters.command("create")
@api_command
@click.option("--filter-name", "name", required=True, metavar="NAME", help="Name of the new filter.")
def create_filter(name: str, **flags: Any) -> None:
    """Create a filter without rules: it includes no events yet.

    Example: keystead event filter create --filter-name lost-servers
    """
    with api(flags) as service:
        service.call("POST", FILTERS, {"name": name})
    click.echo(f"created filter {name}", err=True)


@filters.command("show")
@api_command
def show_filters(**flags: Any) -> None:
    """List the filters, with a line for each rule. The first rule that matches an event decides.

    Example: keystead event filter show
    """
    with api(flags) as service:
        records = service.records(FILTERS, fields="*")
    if flags["output"] == "table":
        records = [
            {"filter": record["name"], **rule, **rule["message_criteria"]}
            for record in records
            for rule in record["rules"]
        ]
    print_records(records, ["filter", "index", "type", "name_pattern", "severities"], flags["output"])


@filters.command("delete")
@api_command
@_filter_name
@yes
def delete_filter(name: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete a filter that no destination uses.

    Example: keystead event filter delete --filter-name lost-servers
    """
    confirm(f"Delete filter {name}", yes=yes)
    with api(flags) as service:
        service.call("DELETE", f"{FILTERS}/{quote(name, safe='')}")
    click.echo(f"deleted filter {name}", err=True)


@filters.group()
def rule() -> None:
    """Add and delete rules of filters."""


@rule.command()
@api_command
@_filter_name
@click.option("--type", "type_", type=click.Choice(["include", "exclude"]), required=True)
@click.option("--message-name", metavar="PATTERN", default="*", help='Name of events, such as "km.keyserver.*".')
@click.option("--severity", callback=names, metavar="SEVERITY,...", help="Severities of events; all if none is given.")
@click.option("--position", type=click.IntRange(1), help="Place among the rules; the last if none is given.")
def add(
    name: str, type_: str, message_name: str, severity: tuple[str, ...], position: int | None, **flags: Any
) -> None:
    """Add a rule to a filter.

    Example: keystead event filter rule add --filter-name lost-servers --type include --message-name "km.keyserver.*"
    """
    criteria = {"name_pattern": message_name, "severities": ",".join(severity) or "*"}
    body = {"type": type_, "message_criteria": criteria} | given(index=position)
    with api(flags) as service:
        service.call("POST", f"{FILTERS}/{quote(name, safe='')}/rules", body)
    click.echo(f"added a rule to filter {name}", err=True)


@rule.command("delete")
@api_command
@_filter_name
@click.option("--position", type=click.IntRange(1), required=True, help="Place among the rules.")
def delete_rule(name: str, position: int, **flags: Any) -> None:
    """Delete a rule of a filter.

    Example: keystead event filter rule delete --filter-name lost-servers --position 1
    """
    with api(flags) as service:
        service.call("DELETE", f"{FILTERS}/{quote(name, safe='')}/rules/{position}")
    click.echo(f"deleted rule {position} of filter {name}", err=True)


def _body(where: str | None, filters: tuple[str, ...], flags: dict[str, Any]) -> dict[str, object]:
    """Return the part of a body that says where events go, and which."""
    syslog = given(port=flags["port"], transport=flags["transport"])
    chosen = [{"name": each} for each in filters]
    return given(destination=where, syslog=syslog or None, filters=chosen or None)


def _shown_certificate(service: Api, name: str | None) -> dict[str, object]:
    """Return the part of a body that names a client certificate of the cluster."""
    if name is None:
        return {}
    found = named(
        service, "/security/certificates", name, fields="name,ca,serial_number", scope="cluster", type="client"
    )
    if found is None:
        raise click.ClickException(f"the cluster has no client certificate {name}")
    return {"certificate": {"ca": found["ca"], "serial_number": found["serial_number"]}}
