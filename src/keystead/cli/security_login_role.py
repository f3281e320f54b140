"""``keystead security login role ...``: roles, one privilege at a time. Source: ONTAP, ``security login rest-role``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group
from keystead.cli.completing import names_from
from keystead.cli.output import print_records
from keystead.cli.rest import CLUSTER, api, api_command, confirm, one_svm, owner, owner_in_words, svm_name, yes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.cli.client import Api

ROLES = "/security/roles"
ACCESS = ["none", "readonly", "read_create", "read_modify", "read_create_modify", "all"]


def _names(service: Api, parameters: Mapping[str, Any], begun: str) -> list[str]:
    """Return the names of an owner's roles that begin so."""
    records = service.records(ROLES, fields="name", name=f"{exactly(begun)}*", **_owned(parameters.get("vserver")))
    return sorted({record["name"] for record in records})


COMPLETED = names_from(_names)
_role = click.option(
    "--role", "name", required=True, metavar="ROLE", help="Name of the role.", shell_complete=COMPLETED
)


@click.group(cls=Group)
def role() -> None:
    """Manage roles: what accounts may do, path by path."""


@role.command()
@api_command
@_role
@owner
@click.option("--api", "path", required=True, metavar="PATH", help="A path of the API, such as /api/cluster.")
@click.option("--access", type=click.Choice(ACCESS), required=True, help="What the role may do there and beneath.")
def create(name: str, vserver: str | None, path: str, access: str, **flags: Any) -> None:
    """Create a role with one privilege, or give the role one more.

    Example: keystead security login role create --role backup --api /api/security/key-managers --access readonly
    """
    privilege = {"path": path, "access": access}
    with api(flags) as service:
        found = _found(service, name, vserver)
        if found is None:
            body = {"name": name, "privileges": [privilege]}
            service.call("POST", ROLES, body | ({"owner": {"name": vserver}} if vserver else {}))
        else:
            service.call("POST", f"{_path(found)}/privileges", privilege)
    click.echo(f"role {name} of {owner_in_words(vserver)}: {access} on {path}", err=True)


@role.command()
@api_command
@one_svm
@click.option("--role", "name", metavar="ROLE", help="Show only this role.", shell_complete=COMPLETED)
def show(vserver: str | None, name: str | None, **flags: Any) -> None:
    """List roles, with a line for each privilege.

    Example: keystead security login role show --role vsadmin --vserver vs0
    """
    query = ({"owner.name": exactly(vserver)} if vserver else {}) | ({"name": exactly(name)} if name else {})
    with api(flags) as service:
        records = service.records(ROLES, fields="*", **query)
    if flags["output"] == "table":
        records = [
            {"vserver": _owner_shown(record), "role": record["name"], "api": row["path"], "access": row["access"]}
            for record in records
            for row in record.get("privileges", ())
        ]
    print_records(records, ["vserver", "role", "api", "access"], flags["output"])


@role.command()
@api_command
@_role
@owner
@click.option("--api", "path", metavar="PATH", help="Remove only the privilege for this path.")
@yes
def delete(name: str, vserver: str | None, path: str | None, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete a role, or one of its privileges. A role goes with its last privilege.

    Example: keystead security login role delete --role backup
    """
    what = f"role {name} of {owner_in_words(vserver)}"
    what = f"the privilege for {path} of {what}" if path else what
    confirm(f"Delete {what}", yes=yes)
    with api(flags) as service:
        found = _found(service, name, vserver)
        if found is None:
            raise click.ClickException(f"there is no role {name} of {owner_in_words(vserver)}")
        service.call("DELETE", _path(found) + (f"/privileges/{quote(path, safe='')}" if path else ""))
    click.echo(f"deleted {what}", err=True)


def _owned(vserver: str | None) -> dict[str, str]:
    """Return the query for the roles of an owner."""
    return {"owner.name": exactly(vserver)} if vserver else {"scope": "cluster"}


def _owner_shown(record: Mapping[str, Any]) -> str:
    return svm_name({"svm": record["owner"]}) if record.get("scope") == "svm" else CLUSTER


def _found(service: Api, name: str, vserver: str | None) -> dict[str, Any] | None:
    """Return the owner's role with this name, None if there is none."""
    records = service.records(ROLES, fields="name,owner.uuid", name=exactly(name), **_owned(vserver))
    return records[0] if records else None


def _path(record: Mapping[str, Any]) -> str:
    return f"{ROLES}/{record['owner']['uuid']}/{quote(record['name'], safe='')}"
