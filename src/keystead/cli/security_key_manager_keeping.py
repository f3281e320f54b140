"""Commands about keeping keys: missing copies, detached key servers, unclaimed objects, incarnations."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from keystead.cli.client import exactly
from keystead.cli.commands import Command, Group
from keystead.cli.key_managers import key_manager, key_manager_path, run_job
from keystead.cli.output import print_done, print_records
from keystead.cli.rest import api, api_command, confirm, in_svm, progress, yes

INCARNATION = "/security/key-manager-incarnation"
CONFIGS = "/security/key-manager-configs"


@click.command(cls=Command)
@api_command
@key_manager
def replicate(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """Write missing copies of keys now. The service also does this by itself.

    Example: keystead security key-manager external replicate --vserver vs0
    """
    with api(flags) as service, progress("copying keys") as say:
        done = run_job(service, f"{key_manager_path(service, vserver, manager)}/replicate", {}, say)
    print_done(done, done["message"], flags["output"])


@click.command(cls=Command)
@api_command
@key_manager
def waiting(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """List work on copies of keys that waits, and for what. The service does the work by itself.

    The column "work" says what is to be done. The work "settle" finds out whether the server took a copy. The work
    "destroy" destroys the copy of a failed creation. The work "purge" destroys the copy of a deleted key.

    Example: keystead security key-manager external waiting --vserver vs0
    """
    with api(flags) as service:
        records = service.records(f"{key_manager_path(service, vserver, manager)}/waiting", fields="*")
    print_records(records, ("server", "work", "waits_for", "since", "name", "secondary", "key_id"), flags["output"])


@click.group(cls=Group)
def detached() -> None:
    """Manage key servers that were removed while copies of keys are on them."""


@detached.command("show")
@api_command
@key_manager
def show_detached(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """List the detached key servers. Copies to destroy there are destroyed once a server can be reached.

    Example: keystead security key-manager external detached show --vserver vs0
    """
    with api(flags) as service:
        records = service.records(f"{key_manager_path(service, vserver, manager)}/detached-key-servers", fields="*")
    print_records(records, ("server", "secondary_key_servers", "removed_time"), flags["output"])


@detached.command("give-up")
@api_command
@key_manager
@click.option("--key-server", required=True, metavar="HOST[:PORT]", help="Address of the removed primary key server.")
@yes
def give_up(vserver: str | None, manager: str | None, key_server: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Give up a detached key server that never comes back. Its copies are not destroyed, and they count as gone.

    Example: keystead security key-manager external detached give-up --vserver vs0 --key-server ks3
    """
    with api(flags) as service:
        path = f"{key_manager_path(service, vserver, manager)}/detached-key-servers/{quote(key_server, safe='')}"
        confirm(f"Never destroy the remaining copies on {key_server}", yes=yes)
        service.call("DELETE", path)
    click.echo(f"gave up {key_server}", err=True)


_key_server = click.option(
    "--key-server",
    required=True,
    metavar="HOST[:PORT]",
    help="Address of the primary key server that holds the object.",
)
_unique_identifier = click.option(
    "--unique-identifier", required=True, help="Unique identifier of the object on the server."
)


@click.group(cls=Group)
def unclaimed() -> None:
    """Manage objects on key servers that no key of this database accounts for."""


@unclaimed.command("show")
@api_command
@key_manager
def show_unclaimed(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """List the unclaimed objects. They are never destroyed. Adopt those that are keys, and dismiss the others.

    Example: keystead security key-manager unclaimed show
    """
    with api(flags) as service:
        records = service.records(f"{key_manager_path(service, vserver, manager)}/unclaimed-objects", fields="*")
    print_records(
        records, ("key_server", "unique_identifier", "found_time", "dismissed", "object_name"), flags["output"]
    )


@unclaimed.command()
@api_command
@key_manager
@_key_server
@_unique_identifier
@click.option("--name", required=True, help="Name of the new key.")
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
    """Make an unclaimed object a key. The other copies of the key are then written from it.

    The command asks for confirmation and names the incarnation that wrote the object. That is another incarnation of
    this database, or another installation that may still use the key.

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


@unclaimed.command()
@api_command
@key_manager
@_key_server
@_unique_identifier
@click.option("--undo", is_flag=True, help="Undo the dismissal.")
@yes
def dismiss(
    vserver: str | None,
    manager: str | None,
    key_server: str,
    unique_identifier: str,
    undo: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Say that an unclaimed object needs nobody. Nothing warns of it any more, until it changes.

    The object stays on its key server, and no key server becomes removable.

    Example: keystead security key-manager unclaimed dismiss --key-server ks1 --unique-identifier 7
    """
    body = {"key_server": key_server, "unique_identifier": unique_identifier} | ({"undo": True} if undo else {})
    with api(flags) as service:
        path = f"{key_manager_path(service, vserver, manager)}/unclaimed-objects"
        if not undo:
            confirm(f"Dismiss object {unique_identifier} on {key_server}", yes=yes)
        service.call("POST", f"{path}/dismiss", body)
    done = "undid the dismissal of" if undo else "dismissed"
    print_done({}, f"{done} object {unique_identifier} on {key_server}", flags["output"])


def _origin(object_name: str) -> str:
    """Return the writer of an object, from its name: ``keystead-``, the incarnation, the key and the attempt."""
    incarnation = object_name.removeprefix("keystead-").partition("-")[0]
    return f"{object_name} of incarnation {incarnation} (an earlier one of this database, or another installation)"


@click.group(cls=Group)
def incarnation() -> None:
    """Show the incarnation of the cluster's database, and let it destroy objects on key servers."""


@incarnation.command("show")
@api_command
def show_incarnation(**flags: Any) -> None:
    """Show the incarnation of the cluster's database.

    Example: keystead security key-manager incarnation show
    """
    with api(flags) as service:
        record = service.call("GET", INCARNATION)
    print_records([record], ("number", "began", "reason", "destroys", "uuid"), flags["output"])


@incarnation.command()
@api_command
@yes
def release(yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Allow the destruction of objects of purged keys. No other copy of this database may be in use.

    Example: keystead security key-manager incarnation release
    """
    with api(flags) as service:
        record = service.call("GET", INCARNATION)
        if record["destroys"]:
            click.echo(f"incarnation {record['number']} destroys already: there is nothing to release", err=True)
            return
        confirm(
            "Is no other copy of this database in use, and may this one destroy the objects of purged keys", yes=yes
        )
        service.call("PATCH", INCARNATION, {"destroys": True})
    click.echo(f"released: incarnation {record['number']} destroys objects of purged keys", err=True)


@click.group(cls=Group)
def config() -> None:
    """Show and change the settings that all key managers of the cluster share."""


@config.command("show")
@api_command
def show_config(**flags: Any) -> None:
    """Show the settings of key managers.

    Example: keystead security key-manager config show
    """
    with api(flags) as service:
        record = service.call("GET", CONFIGS)
    columns = ("key_recovery_days", "health_monitor_polling_interval", "cloud_kms_retry_count", "cc_mode_enabled")
    print_records([record], columns, flags["output"])


@config.command("modify")
@api_command
@click.option(
    "--key-recovery-days",
    type=int,
    required=True,
    help="Days in which a deleted key can be recovered. With 0 a deleted key is destroyed at once.",
)
@yes
def modify_config(key_recovery_days: int, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Change how long deleted keys can be recovered. Keys that are deleted already keep their time.

    Example: keystead security key-manager config modify --key-recovery-days 30
    """
    with api(flags) as service:
        if not key_recovery_days:
            confirm("Destroy keys from now on as soon as they are deleted", yes=yes)
        service.call("PATCH", CONFIGS, {"key_recovery_days": key_recovery_days})
        record = service.call("GET", CONFIGS)
    said = f"deleted keys can be recovered for {key_recovery_days} days"
    print_done(record, said if key_recovery_days else "deleted keys are destroyed at once", flags["output"])
