"""``keystead cluster show``, ``keystead node show`` and ``keystead node remove``. Source: the ONTAP CLI's verbs."""

from __future__ import annotations

from typing import Any

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, confirm, yes


@click.group(cls=Group)
def cluster() -> None:
    """Show the cluster."""


@cluster.command("show")
@api_command
def show_cluster(**flags: Any) -> None:
    """Show the cluster's name, release and uuid.

    Example: keystead cluster show
    """
    with api(flags) as service:
        record = service.call("GET", "/cluster")
    _print([record], ["name", "version", "uuid"], flags["output"])


@click.group(cls=Group)
def node() -> None:
    """Show the nodes of the cluster."""


@node.command("show")
@api_command
def show_nodes(**flags: Any) -> None:
    """List the nodes: their state and release. A node that is down was stopped, or was not seen for 45 seconds.

    Example: keystead node show
    """
    with api(flags) as service:
        records = service.records("/cluster/nodes", fields="*", order_by="name")
    _print(records, ["name", "state", "version", "uuid"], flags["output"])


@node.command()
@api_command
@click.argument("name")
@yes
def remove(name: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Remove a node that is gone for good, and is down.

    Its process can never serve again. Its audit records and events stay.

    Example: keystead node remove keystead-02
    """
    confirm(f"Remove node {name}", yes=yes)
    with api(flags) as service:
        records = service.records("/cluster/nodes", name=exactly(name))
        if not records:
            raise click.ClickException(f"there is no node {name}")
        service.call("DELETE", f"/cluster/nodes/{records[0]['uuid']}")
    click.echo(f"removed node {name}", err=True)


def _print(records: list[dict[str, Any]], columns: list[str], form: str) -> None:
    if form == "table":
        records = [record | {"version": record.get("version", {}).get("full")} for record in records]
    print_records(records, columns, form)
