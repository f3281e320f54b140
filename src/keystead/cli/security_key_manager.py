"""``keystead security key-manager external ...``: key managers and their key servers. Source: the ONTAP CLI's verbs."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from keystead.cli.commands import MayBeEmpty
from keystead.cli.completing import names_from
from keystead.cli.findings import print_findings
from keystead.cli.key_managers import follow_job, key_servers, own_key_manager_path
from keystead.cli.lazy import LazyGroup
from keystead.cli.login import kmip_password
from keystead.cli.output import counted, print_below, print_records
from keystead.cli.rest import (
    FILE,
    api,
    api_command,
    by_name_or_uuid,
    certificates,
    confirm,
    in_svm,
    names,
    of_svm,
    one_svm,
    owner,
    owner_in_words,
    progress,
    svm_name,
    yes,
)

if TYPE_CHECKING:
    from pathlib import Path


NONE = "-"  # the empty list, as in ONTAP

_seconds = click.IntRange(-1, 60)
_client_cert = partial(click.option, "--client-cert", metavar="NAME", shell_complete=names_from(certificates("client")))
_server_ca_certs = partial(
    click.option,
    "--server-ca-certs",
    callback=names,
    metavar="NAME,...",
    shell_complete=names_from(certificates("server_ca"), many=True),
)
_monitor_interval = click.option(
    "--monitor-interval",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="Seconds between two checks of each key server; 0 for the setting of each node.",
)
_key_servers = partial(
    click.option,
    "--key-servers",
    required=True,
    callback=names,
    metavar="HOST[:PORT],...",
    help="Up to four primary key servers; the default port is 5696.",
)
_key_server = click.option(
    "--key-server",
    required=True,
    metavar="HOST[:PORT]",
    help="Address of the primary key server.",
    shell_complete=names_from(key_servers),
)


_KEEPING = "keystead.cli.security_key_manager_keeping"


@click.group(
    "key-manager",
    cls=LazyGroup,
    lazy={
        "key": "keystead.cli.security_key_manager_key:key",
        "application": "keystead.cli.security_key_manager_application:application",
        "unclaimed": f"{_KEEPING}:unclaimed",
        "incarnation": f"{_KEEPING}:incarnation",
        "config": f"{_KEEPING}:config",
    },
)
def key_manager() -> None:
    """Manage key managers and keys."""


@key_manager.group(
    cls=LazyGroup,
    lazy={
        "probe": "keystead.cli.security_key_manager_status:probe",
        "show-status": "keystead.cli.security_key_manager_status:show_status",
        "survival": "keystead.cli.security_key_manager_survival:survival",
        "replicate": f"{_KEEPING}:replicate",
        "waiting": f"{_KEEPING}:waiting",
        "detached": f"{_KEEPING}:detached",
    },
)
def external() -> None:
    """Manage external key managers and their key servers."""


@external.command()
@api_command
@owner
@_key_servers()
@_client_cert(required=True, help="An installed client certificate: name or uuid.")
@_server_ca_certs(required=True, help="Installed server_ca certificates.")
@click.option("--policy", help="Policy of the key manager.")
@_monitor_interval
def enable(
    vserver: str | None,
    key_servers: tuple[str, ...],
    client_cert: str,
    server_ca_certs: tuple[str, ...],
    policy: str | None,
    monitor_interval: int | None,
    **flags: Any,
) -> None:
    """Probe key servers and create a key manager with them.

    Example: keystead security key-manager external enable --vserver vs0 --key-servers ks1,ks2:5697
    --client-cert kmip-client --server-ca-certs kmip-ca
    """
    body = {
        **in_svm(vserver),
        **({"policy": policy} if policy else {}),
        **({"monitor_interval": monitor_interval} if monitor_interval else {}),
        "external": {
            "client_certificate": by_name_or_uuid(client_cert),
            "server_ca_certificates": [by_name_or_uuid(name) for name in server_ca_certs],
            "servers": [{"server": server} for server in key_servers],
        },
    }
    with api(flags) as service, progress(f"probing {', '.join(key_servers)}"):
        (made,) = service.create("/security/key-managers", body)
        record = service.call("GET", f"/security/key-managers/{made['uuid']}")
    _print_servers([record], flags["output"])


@external.command()
@api_command
@owner
@yes
def disable(vserver: str | None, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete a key manager that has no keys, and forget its key servers. What is still on them stays there.

    Example: keystead security key-manager external disable --vserver vs0
    """
    with api(flags) as service:
        path = own_key_manager_path(service, vserver)
        others = "" if vserver else " (SVMs without their own use it)"
        confirm(f"Delete the key manager of {owner_in_words(vserver)}{others}", yes=yes)
        service.call("DELETE", path)
    click.echo(f"deleted the key manager of {owner_in_words(vserver)}", err=True)


@external.command()
@api_command
@owner
@_client_cert(help="Use this other installed client certificate of the same key pair.")
@_server_ca_certs(help="Replace all server_ca certificates by these.")
@_monitor_interval
def modify(
    vserver: str | None,
    client_cert: str | None,
    server_ca_certs: tuple[str, ...],
    monitor_interval: int | None,
    **flags: Any,
) -> None:
    """Change a key manager. Other certificates are used if all key servers accept them in a probe.

    Example: keystead security key-manager external modify --vserver vs0 --server-ca-certs kmip-ca,kmip-ca-2027
    """
    changes = {
        **({"client_certificate": by_name_or_uuid(client_cert)} if client_cert else {}),
        **({"server_ca_certificates": [by_name_or_uuid(name) for name in server_ca_certs]} if server_ca_certs else {}),
    }
    body = {
        **({"external": changes} if changes else {}),
        **({} if monitor_interval is None else {"monitor_interval": monitor_interval}),
    }
    if not body:
        raise click.UsageError("nothing to modify: give --client-cert, --server-ca-certs or --monitor-interval")
    probing = progress("probing the key servers with the new certificates") if changes else nullcontext()
    with api(flags) as service, probing:
        service.call("PATCH", own_key_manager_path(service, vserver), body)
    changed = [
        *(["the certificates"] if changes else []),
        *(["the monitor interval"] if "monitor_interval" in body else []),
    ]
    click.echo(f"changed {' and '.join(changed)} of the key manager of {owner_in_words(vserver)}", err=True)


@external.command("add-servers")
@api_command
@owner
@_key_servers()
@click.option(
    "--tls-server-name", metavar="NAME", help="Expect this name in the servers' certificates instead of the host."
)
@click.option("--dry-run", is_flag=True, help="Probe the servers and store nothing; exit status 1 if one is refused.")
def add_servers(
    vserver: str | None,
    key_servers: tuple[str, ...],
    tls_server_name: str | None,
    dry_run: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Probe primary key servers and add them, all or none.

    Example: keystead security key-manager external add-servers --vserver vs0 --key-servers ks3,ks4:5697
    """
    name = {"tls_server_name": tls_server_name} if tls_server_name else {}
    body = {"records": [{"server": server, **name} for server in key_servers]}
    with api(flags) as service, progress(f"probing {', '.join(key_servers)}"):
        path = f"{own_key_manager_path(service, vserver)}/key-servers"
        records = service.create(path, body, **({"dry_run": "true"} if dry_run else {}))
    if dry_run:
        print_findings(records, flags["output"])
    else:
        print_records(records, ["server"], flags["output"])


@external.command("remove-servers")
@api_command
@owner
@_key_servers(shell_complete=names_from(key_servers, many=True))
@click.option("--force", is_flag=True, help="Accepted as in ONTAP, without effect: a key's only copy is never removed.")
@yes
def remove_servers(
    vserver: str | None,
    key_servers: tuple[str, ...],
    force: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Remove primary key servers with their secondaries, one after the other.

    First print how many keys would have a proven copy in only one replication domain. With many keys, wait for a job.

    Example: keystead security key-manager external remove-servers --vserver vs0 --key-servers ks3
    """
    query = {"return_timeout": "30", **({"force": "true"} if force else {})}
    with api(flags) as service:
        manager = own_key_manager_path(service, vserver)
        _warn_of_sole_copies(service.call("GET", f"{manager}/key-survival"), key_servers)
        confirm(f"Remove {', '.join(key_servers)} from the key servers of {owner_in_words(vserver)}", yes=yes)
        for server in key_servers:
            with progress("proving keys elsewhere") as say:
                follow_job(service, service.call("DELETE", _server_path(manager, server), **query), say)
            click.echo(f"removed {server}", err=True)


@external.command("modify-server")
@api_command
@owner
@_key_server
@click.option("--timeout", type=_seconds, help="Seconds to wait for an answer; 0 fails at once, -1 waits for ever.")
@click.option("--create-remove-timeout", type=_seconds, help="The same as --timeout, for creating and removing keys.")
@click.option(
    "--username",
    cls=MayBeEmpty,
    help="KMIP username, empty for none. Its password comes from KEYSTEAD_KMIP_PASSWORD or a prompt.",
)
@click.option(
    "--password-file", type=FILE, help="Read the KMIP password from this file (one trailing newline is ignored)."
)
@click.option(
    "--secondary-key-servers", metavar="HOST,...", help='Up to three secondaries, in the order of access; "-" for none.'
)
@click.option("--port", type=click.IntRange(1, 65535), help="New port of the server and its secondaries.")
@click.option(
    "--tls-server-name",
    cls=MayBeEmpty,
    metavar="NAME",
    help="Expect this name in the server's certificate; empty for the host.",
)
def modify_server(
    vserver: str | None,
    key_server: str,
    username: str | None,
    password_file: Path | None,
    secondary_key_servers: str | None,
    **flags: Any,
) -> None:
    """Change a primary key server. Probe the server first if the connection changes.

    Example: keystead security key-manager external modify-server --vserver vs0 --key-server ks1 --timeout 40
    """
    changes = {
        name: flags[name]
        for name in ("timeout", "create_remove_timeout", "port", "tls_server_name")
        if flags[name] is not None
    }
    if secondary_key_servers is not None:
        listed = [] if secondary_key_servers == NONE else secondary_key_servers.split(",")
        changes["secondary_key_servers"] = [host.strip() for host in listed]
    password = kmip_password(username or "", password_file)
    if username is not None:
        changes |= {"username": username, "password": password or ""}
    with api(flags) as service, progress(f"probing {key_server}"):
        service.call("PATCH", _server_path(own_key_manager_path(service, vserver), key_server), changes)
    click.echo(f"changed {key_server}", err=True)


@external.command("confirm-server")
@api_command
@owner
@_key_server
@yes
def confirm_server(vserver: str | None, key_server: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Say that a key server that was wiped and has another public key is the right one.

    Keystead sends no key to such a server before. Its old copies do not count until they are read.

    Example: keystead security key-manager external confirm-server --vserver vs0 --key-server ks3
    """
    with api(flags) as service:
        manager = own_key_manager_path(service, vserver)
        confirm(f"Trust the machine that answers at {key_server} now with keys of {owner_in_words(vserver)}", yes=yes)
        record = service.call("POST", f"{_server_path(manager, key_server)}/confirm")
    print_records([record], ["server", "public_key"], flags["output"])
    if flags["output"] == "table":
        click.echo("\nKeys are sent to it again. Its copies are read in the next minutes, and those that are gone are")
        click.echo("written again: `external show-status` and `keystead status` say when that is done.")


@external.command("show")
@api_command
@one_svm
def show_key_managers(vserver: str | None, **flags: Any) -> None:
    """List key managers and their key servers, and below them what Keystead costs each server.

    The cost is our objects on the server, by kind: objects of keys, descriptors, the canary and epoch markers. For
    accounts of the cluster, it is also the connections that the answering node has open now, and the KMIP operations
    that it sent in the last 24 hours. If it has sent them for a shorter time, their number is scaled up to a day.

    Example: keystead security key-manager external show --vserver vs0
    """
    query = {"fields": "*,external.servers.cost"} | of_svm(vserver)
    with api(flags) as service:
        records = service.records("/security/key-managers", **query)
    _print_servers(records, flags["output"])
    if flags["output"] == "table":
        print_below([_cost(record, server) for record in records for server in record["external"]["servers"]])


def _warn_of_sole_copies(survival: dict[str, Any], removed: tuple[str, ...]) -> None:
    from keystead.cli.security_key_manager_survival import left_sole

    sole = left_sole(survival, removed)
    if sole:
        have = "has" if sole == 1 else "have"
        click.echo(
            f"{sole} of {counted(survival['keys'], 'key')} then {have} a proven copy in one replication domain only",
            err=True,
        )


def _print_servers(records: list[dict[str, Any]], form: str) -> None:
    if form == "table":
        records = [
            {
                "vserver": svm_name(record),
                **server,
                "client_certificate": record["external"]["client_certificate"].get("name"),
                "uuid": record["uuid"],
            }
            for record in records
            for server in record["external"]["servers"] or [{"server": "(none)"}]
        ]
    columns = ["vserver", "server", "client_certificate", "timeout", "username", "secondary_key_servers", "uuid"]
    print_records(records, columns, form)


def _cost(record: dict[str, Any], server: dict[str, Any]) -> str:
    """Return the line that says what Keystead costs a key server."""
    cost = server["cost"]
    there = cost["objects"]
    objects = [
        counted(there["keys"], "key object"),
        counted(there["descriptors"], "descriptor"),
        f"{there['canary']} of the canary",
        counted(there["markers"], "marker"),
    ]
    line = f"{svm_name(record)} {server['server']}: {', '.join(objects)}"
    if "connections" not in cost:
        return line
    a_day = cost["operations_per_day"]
    operations = f"{a_day['watching']} operations a day to watch it and {a_day['keys']} for keys"
    return f"{line}; {counted(cost['connections'], 'connection')}, {operations}"


def _server_path(manager: str, server: str) -> str:
    return f"{manager}/key-servers/{quote(server, safe='')}"
