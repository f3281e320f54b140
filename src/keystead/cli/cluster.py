"""``keystead cluster show``, ``keystead node``: show, remove, invite. Source: the ONTAP CLI's verbs, but for invite."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group
from keystead.cli.output import print_records
from keystead.cli.rest import api, api_command, confirm, yes
from keystead.cli.server import directory_options, refusals
from keystead.settings import load

if TYPE_CHECKING:
    from keystead.app.invite import Invitation, NewNode


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
    """Show, invite and remove nodes of the cluster."""


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


@node.command()
@directory_options
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where the new node asks: an address of this host that it reaches. Default: the host of the setting `listen`,"
    " port 8444.",
)
def invite(listen: str | None, **flags: Any) -> None:
    """Invite one new node, which gets the root key and the database's URL. Run it on a node, with its data directory.

    It shows a URL and a token for `keystead init --join` on the new node. It waits for that, 15 minutes at most, and
    asks whether the new node shows the same fingerprint.

    Example: keystead node invite --data keystead-data --listen 192.0.2.11:8444
    """
    with refusals():
        from keystead.app.invite import invite as invite_

        click.echo(invite_(load(flags), listen, _show_invitation, _accept))


def _show_invitation(invitation: Invitation) -> None:
    click.echo(
        f"An invitation to join the cluster {invitation.cluster}, for 15 minutes. On the new node:\n"
        f"  keystead init --join {invitation.url}\n"
        "It asks for this token, which is shown only here:\n"
        f"  {invitation.token.reveal().decode()}"
    )


def _accept(new_node: NewNode, seconds: float) -> bool | None:
    """Ask the operator whether a new node is the right one; None if there is no answer in time."""
    click.echo(
        f"A new node at {new_node.address} knows the token. Its key has the fingerprint:\n  {new_node.fingerprint}"
    )
    click.echo("Does the new node show the same, and shall it get the root key? [y/N]: ", nl=False)
    if not select.select([sys.stdin], [], [], seconds)[0]:
        click.echo()
        return None
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _print(records: list[dict[str, Any]], columns: list[str], form: str) -> None:
    if form == "table":
        records = [record | {"version": record.get("version", {}).get("full")} for record in records]
    print_records(records, columns, form)
