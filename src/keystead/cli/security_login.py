"""``keystead security login ...``: accounts. A password is never an option; it comes from a prompt or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.commands import Group, MayBeEmpty
from keystead.cli.login import new_password
from keystead.cli.output import print_records
from keystead.cli.rest import FILE, api, api_command, confirm, exactly, named, one_svm, svm_name, yes

if TYPE_CHECKING:
    from pathlib import Path

ROLES = ["admin", "readonly", "vsadmin", "vsadmin-readonly", "key-reader"]
METHODS = {"password": "password", "cert": "certificate"}

_name = click.option("--user-or-group-name", "name", required=True, metavar="NAME", help="Name of the account.")
_password_file = click.option(
    "--password-file", type=FILE, help="Read the account's password from this file (one trailing newline is ignored)."
)


@click.group(cls=Group)
def login() -> None:
    """Manage accounts."""


@login.command()
@api_command
@_name
@click.option("--vserver", metavar="SVM", help="SVM that owns the account; without it, the cluster.")
@click.option(
    "--role", type=click.Choice(ROLES), help="Role of the account; admin if absent, or vsadmin with --vserver."
)
@click.option("--authentication-method", type=click.Choice(list(METHODS)), default="password", show_default=True)
@_password_file
@click.option("--comment", cls=MayBeEmpty, help="Purpose of the account.")
def create(name: str, vserver: str | None, role: str | None, password_file: Path | None, **flags: Any) -> None:
    """Create an account and ask for its password. With cert, a client certificate with this common name logs in.

    Example: keystead security login create --user-or-group-name vs0-admin --vserver vs0
    """
    method = flags["authentication_method"]
    body: dict[str, Any] = {
        "name": name,
        "role": {"name": role or ("vsadmin" if vserver else "admin")},
        "applications": [{"application": "http", "authentication_methods": [METHODS[method]]}],
        **({"owner": {"name": vserver}} if vserver else {}),
        **({"comment": flags["comment"]} if flags["comment"] else {}),
    }
    if method == "password":
        body["password"] = new_password(name, password_file)
    with api(flags) as service:
        service.call("POST", "/security/accounts", body)
    click.echo(f"created account {name}, role {body['role']['name']}", err=True)


@login.command()
@api_command
@_name
@_password_file
def password(name: str, password_file: Path | None, **flags: Any) -> None:
    """Change an account's password.

    Example: keystead security login password --user-or-group-name vs0-admin
    """
    body = {"name": name, "password": new_password(name, password_file)}
    with api(flags) as service:
        service.call("POST", "/security/authentication/password", body)
    click.echo(f"changed the password of {name}", err=True)


@login.command()
@api_command
@_name
@yes
def delete(name: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete an account.

    Example: keystead security login delete --user-or-group-name vs0-admin
    """
    confirm(f"Delete account {name}", yes=yes)
    with api(flags) as service:
        record = named(service, "/security/accounts", name, fields="name,owner.uuid")
        if record is None:
            raise click.ClickException(f"there is no account {name}")
        service.call("DELETE", f"/security/accounts/{record['owner']['uuid']}/{quote(name, safe='')}")
    click.echo(f"deleted account {name}", err=True)


@login.command()
@api_command
@one_svm
def show(vserver: str | None, **flags: Any) -> None:
    """List accounts.

    Example: keystead security login show
    """
    query = {"fields": "*"} | ({"owner.name": exactly(vserver)} if vserver else {})
    with api(flags) as service:
        records = service.records("/security/accounts", **query)
    if flags["output"] == "table":
        records = [
            record
            | {
                "vserver": svm_name({"svm": record.get("owner", {})} if record.get("scope") == "svm" else {}),
                "role": record.get("role", {}).get("name"),
                "methods": [
                    method
                    for application in record.get("applications", ())
                    for method in application.get("authentication_methods", ())
                ],
            }
            for record in records
        ]
    print_records(records, ["vserver", "name", "role", "methods", "locked", "comment"], flags["output"])
