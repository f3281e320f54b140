"""What keeps keys, as commands: missing copies, removed servers, found objects, lives of the database."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from keystead.cli.commands import Command, Group
from keystead.cli.key_managers import key_manager, key_manager_path, run_job
from keystead.cli.output import print_done, print_records
from keystead.cli.rest import api, api_command, confirm, exactly, in_svm, progress, yes

INCARNATION = "/security/key-manager-incarnation"


@click.command(cls=Command)
@api_command
@key_manager
def replicate(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """Bring missing copies of keys to the key servers that lack them, now; the service does so by itself, too.

    Example: keystead security key-manager external replicate --vserver vs0
    """
    with api(flags) as service, progress("copying keys"):
        done = run_job(service, f"{key_manager_path(service, vserver, manager)}/replicate", {})
    print_done(done, done["message"], flags["output"])


@click.group(cls=Group)
def detached() -> None:
    """Key servers that were removed while copies of keys are on them."""


@detached.command("show")
@api_command
@key_manager
def show_detached(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """List them. What is to be destroyed there is, when they can be reached.

    Example: keystead security key-manager external detached show --vserver vs0
    """
    with api(flags) as service:
        records = service.records(f"{key_manager_path(service, vserver, manager)}/detached-key-servers", fields="*")
    print_records(records, ("server", "secondary_key_servers", "removed_time"), flags["output"])


@detached.command("give-up")
@api_command
@key_manager
@click.option("--key-server", required=True, metavar="HOST[:PORT]", help="The removed primary key server.")
@yes
def give_up(vserver: str | None, manager: str | None, key_server: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Give up one that never comes back: what is on it is not destroyed, and held to be gone.

    Example: keystead security key-manager external detached give-up --vserver vs0 --key-server ks3
    """
    with api(flags) as service:
        path = f"{key_manager_path(service, vserver, manager)}/detached-key-servers/{quote(key_server, safe='')}"
        confirm(f"Never destroy what is left of keys on {key_server}", yes=yes)
        service.call("DELETE", path)
    click.echo(f"gave up {key_server}", err=True)


@click.group(cls=Group)
def unclaimed() -> None:
    """Objects on key servers that another life of the database wrote."""


@unclaimed.command("show")
@api_command
@key_manager
def show_unclaimed(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """List them. They are never destroyed.

    Example: keystead security key-manager unclaimed show
    """
    with api(flags) as service:
        records = service.records(f"{key_manager_path(service, vserver, manager)}/unclaimed-objects", fields="*")
    print_records(records, ("key_server", "unique_identifier", "object_name", "found_time"), flags["output"])


@unclaimed.command()
@api_command
@key_manager
@click.option("--key-server", required=True, metavar="HOST[:PORT]", help="The primary key server that holds it.")
@click.option("--unique-identifier", required=True, help="What that calls it.")
@click.option("--name", required=True, help="The name of the key that it becomes.")
@yes
def adopt(
    vserver: str | None,
    manager: str | None,
    key_server: str,
    unique_identifier: str,
    name: str,
    yes: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Make one of them a key, whose other copies are then written from it.

    Asks first, and names the incarnation that wrote it: another life of this database, or another installation, whose
    key it may still be.

    Example: keystead security key-manager unclaimed adopt --key-server ks1 --unique-identifier 7 --name vol1
    """
    body = {"key_server": key_server, "unique_identifier": unique_identifier, "name": name, **in_svm(vserver)}
    with api(flags) as service:
        path = f"{key_manager_path(service, vserver, manager)}/unclaimed-objects"
        one = {"key_server": exactly(key_server), "unique_identifier": exactly(unique_identifier)}
        listed = service.records(path, fields="object_name", **one)
        written = f", {_origin(listed[0]['object_name'])}," if listed else ""
        confirm(f"Adopt object {unique_identifier} on {key_server}{written} as key {name}", yes=yes)
        record = service.call("GET", service.make(path, body), fields="key_id")
    print_records([{"name": name, **record}], ("name", "key_id"), flags["output"])


def _origin(object_name: str) -> str:
    """Who wrote an object, by its name: ``keystead-``, the incarnation, which key, which attempt."""
    incarnation = object_name.removeprefix("keystead-").partition("-")[0]
    return f"{object_name} of incarnation {incarnation} (an earlier life of this database, or another installation)"


@click.group(cls=Group)
def incarnation() -> None:
    """Which life of its database the cluster leads, and whether it destroys objects on key servers."""


@incarnation.command("show")
@api_command
def show_incarnation(**flags: Any) -> None:
    """Show it.

    Example: keystead security key-manager incarnation show
    """
    with api(flags) as service:
        record = service.call("GET", INCARNATION)
    print_records([record], ("number", "began", "reason", "destroys", "uuid"), flags["output"])


@incarnation.command()
@api_command
@yes
def release(yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Let objects of purged keys be destroyed: no other copy of this database may be in use.

    Example: keystead security key-manager incarnation release
    """
    with api(flags) as service:
        record = service.call("GET", INCARNATION)
        if record["destroys"]:
            click.echo(f"incarnation {record['number']} destroys already: there is nothing to release", err=True)
            return
        confirm("Is no other copy of this database in use, and may this one destroy what purged keys left", yes=yes)
        service.call("PATCH", INCARNATION, {"destroys": True})
    click.echo(f"released: incarnation {record['number']} destroys objects of purged keys", err=True)
