"""``keystead security login ...``: accounts. A password is never an option; it comes from a prompt or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Group, MayBeEmpty
from keystead.cli.login import new_password
from keystead.cli.output import print_records
from keystead.cli.rest import FILE, api, api_command, confirm, named, one_svm, svm_name, svm_option, yes
from keystead.cli.security_login_role import COMPLETED, role

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.cli.client import Api

METHODS = {"password": "password", "cert": "certificate"}

_name = click.option("--user-or-group-name", "name", required=True, metavar="NAME", help="Name of the account.")
_username = click.option("--username", "name", required=True, metavar="NAME", help="Name of the account.")
_password_file = click.option(
    "--password-file", type=FILE, help="Read the account's password from this file (one trailing newline is ignored)."
)


@click.group(cls=Group)
def login() -> None:
    """Manage accounts."""


login.add_command(role)


@login.command()
@api_command
@_name
@svm_option("SVM that owns the account; without it, the cluster.")
@click.option(
    "--role",
    metavar="ROLE",
    shell_complete=COMPLETED,
    help="Role of the account; admin if absent, or vsadmin with --vserver.",
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
@click.option("--role", metavar="ROLE", shell_complete=COMPLETED, help="New role of the account.")
@click.option("--comment", cls=MayBeEmpty, help="New purpose of the account; empty for none.")
def modify(name: str, role: str | None, comment: str | None, **flags: Any) -> None:
    """Change an account's role or comment.

    Example: keystead security login modify --user-or-group-name vs0-admin --role vsadmin-readonly
    """
    changes = ({"role": {"name": role}} if role else {}) | ({"comment": comment} if comment is not None else {})
    if not changes:
        raise click.UsageError("nothing to modify: give --role or --comment")
    _change(name, changes, flags)
    click.echo(f"changed account {name}", err=True)


@login.command()
@api_command
@_username
def lock(name: str, **flags: Any) -> None:
    """Lock an account, so that it cannot log in.

    Example: keystead security login lock --username vs0-admin
    """
    _change(name, {"locked": True}, flags)
    click.echo(f"locked account {name}", err=True)


@login.command()
@api_command
@_username
def unlock(name: str, **flags: Any) -> None:
    """Unlock an account.

    Example: keystead security login unlock --username vs0-admin
    """
    _change(name, {"locked": False}, flags)
    click.echo(f"unlocked account {name}", err=True)


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
        service.call("DELETE", _path(service, name))
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


def _change(name: str, changes: dict[str, Any], flags: dict[str, Any]) -> None:
    with api(flags) as service:
        service.call("PATCH", _path(service, name), changes)


def _path(service: Api, name: str) -> str:
    """Return the path of an account. Raise click.ClickException if it does not exist."""
    record = named(service, "/security/accounts", name, fields="name,owner.uuid")
    if record is None:
        raise click.ClickException(f"there is no account {name}")
    return f"/security/accounts/{record['owner']['uuid']}/{quote(name, safe='')}"
