"""``keystead security key-manager key ...``: commands about keys. The verbs are the ONTAP CLI's if it has them.

Key material goes to a file that nobody else can read, or to standard output on request. It is never printed.
"""

from __future__ import annotations

import base64
import contextlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from keystead.cli.client import Refused, with_advice
from keystead.cli.commands import Group
from keystead.cli.completing import names_from
from keystead.cli.files import PRIVATE, new_file
from keystead.cli.key_managers import key_manager_path, key_servers, keys_path, of_keys, of_new_key, run_job
from keystead.cli.key_naming import key_id_only, key_id_or_name, key_path, keys, one_key_path
from keystead.cli.key_waits import RELEASE, RELEASING, say_what_waits
from keystead.cli.login import secret_bytes, secret_text
from keystead.cli.output import print_done, print_records, shown
from keystead.cli.rest import (
    FILE,
    api,
    api_command,
    confirm,
    in_svm,
    matching,
    of_svm,
    only_one,
    progress,
    svm_name,
    yes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keystead.cli.client import Api

COLUMNS = ("vserver", "name", "key_tag", "state", "key_id")
QUERIED = ("vserver", "key_type", "key_tag", "key_server", "restored", "key_id")
IN_USE = "committed"
RETIRED = "retired"
NOT_AUTHORIZED = "6"
READERS_ONLY = "Reading keys takes an account with the role key-reader, which no other role includes."
NODES_HIDDEN = "Accounts of SVMs do not see the nodes of the cluster's key manager: list its keys with `key show`."
COPIES = ("server", "presence", "proven", "detached", "object_state", "attempt", "host")

_KEYS = names_from(keys)
_key_id = click.option("--key-id", required=True, metavar="ID", callback=key_id_only, help="Id of the key.")


def _one_key(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that identify one volume key."""
    command = click.option(
        "--key-id", metavar="ID", callback=key_id_or_name, help="Id of the key, instead of its name."
    )(command)
    return click.option("--name", help="Name of the key.", shell_complete=_KEYS)(command)


@click.group(cls=Group)
def key() -> None:
    """Manage volume keys and authentication keys."""


@key.command()
@api_command
@of_new_key
@click.option("--name", required=True, help="Name of the key.")
@click.option("--key-tag", help="A word that describes the use of the key.")
@click.option("--material-file", type=FILE, help="Use the 64 bytes in this file as the key instead of random ones.")
def create(
    vserver: str | None, manager: str | None, name: str, key_tag: str | None, material_file: Path | None, **flags: Any
) -> None:
    """Create a volume key, with proven copies in a majority of the replication domains, or in min_copies of them.

    Example: keystead security key-manager key create --vserver vs0 --name vol1
    """
    body = {
        "name": name,
        **in_svm(vserver),
        **({"key_tag": key_tag} if key_tag else {}),
        **({"material": _encoded(material_file)} if material_file else {}),
    }
    with api(flags) as service, progress(f"creating {name}"):
        path = keys_path(service, vserver, manager, "volume-keys")
        (made,) = service.create(path, body)
        record = service.call("GET", key_path(path, made["key_id"]))
    _print([record], flags["output"])


@key.command()
@api_command
@of_keys
@click.option("--name", help="Show only keys with this name; * matches any text.", shell_complete=_KEYS)
@click.option("--key-id", metavar="ID", callback=key_id_or_name, help="Show one key, and its copies on key servers.")
def show(vserver: str | None, manager: str | None, name: str | None, key_id: str | None, **flags: Any) -> None:
    """List volume keys, or show one key with its copies.

    Example: keystead security key-manager key show --vserver vs0
    """
    only_one({"--name": name, "--key-id": key_id})
    wanted = ({"name": matching(name)} if name else {}) | ({"key_id": key_id} if key_id else {}) | of_svm(vserver)
    with api(flags) as service:
        # The call is not confined to the SVM, because a confined call does not see copies.
        path = f"{key_manager_path(service, vserver, manager)}/volume-keys"
        records = service.records(path, fields="**" if key_id else "*", order_by="svm.name,name", **wanted)
    if key_id and not records:
        raise click.ClickException(f"there is no key {key_id}")
    _print(records, flags["output"])
    say_what_waits(records)
    if flags["output"] == "table" and records and "copies" in records[0]:
        click.echo()
        print_records(records[0]["copies"], COPIES, "table")


@key.command()
@api_command
@of_keys
@_one_key
@yes
def retire(
    vserver: str | None,
    manager: str | None,
    name: str | None,
    key_id: str | None,
    yes: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Retire (delete) a volume key. It cannot be read any more. After its recovery window it is destroyed.

    Until then it can be recovered. The cluster's key_recovery_days says how long; with 0 it is destroyed at once.

    Example: keystead security key-manager key retire --vserver vs0 --name vol1
    """
    with api(flags) as service:
        path = one_key_path(service, keys_path(service, vserver, manager, "volume-keys"), name, key_id)
        svm = service.call("GET", path).get("svm")
        whose = f"SVM {svm['name']}" if svm else "the cluster"
        confirm(f"Retire key {name or key_id} of {whose}", yes=yes)
        service.call("DELETE", path)
        record = service.call("GET", path)
    print_done(record, f"retired {name or key_id}: {_recoverable(record)}", flags["output"])


key.add_command(retire, "delete")


def _recoverable(record: Mapping[str, Any]) -> str:
    """Return how long a retired key can be recovered, in words."""
    until = record.get("purge_time")
    if record.get("purge_waits_for") == RELEASE:
        return f"it can be recovered while destruction is held, until {RELEASING}"
    if record["state"] != RETIRED or not until or datetime.fromisoformat(until) <= datetime.now(UTC):
        return "its copies are being destroyed now, because key_recovery_days is 0"
    return f"it can be recovered until {shown(until)}"


@key.command()
@api_command
@of_keys
@_one_key
def recover(vserver: str | None, manager: str | None, name: str | None, key_id: str | None, **flags: Any) -> None:
    """Recover a volume key that was retired.

    Example: keystead security key-manager key recover --vserver vs0 --name vol1
    """
    with api(flags) as service:
        path = one_key_path(service, keys_path(service, vserver, manager, "volume-keys"), name, key_id)
        was = service.call("GET", path)["state"]
        service.call("PATCH", path, {"state": IN_USE})
        record = service.call("GET", path)
    if was == IN_USE:
        said = f"{name or key_id} is not retired: there is nothing to recover"
    else:
        said = f"recovered {name or key_id}: it can be read again"
    print_done(record, said, flags["output"])


@key.command()
@api_command
@of_keys
@_one_key
@click.option(
    "--file", "file", type=click.Path(path_type=Path), help="Write the key to this new file, which only you can read."
)
@click.option("--stdout", "to_stdout", is_flag=True, help="Write the key's bytes to standard output, for a pipe.")
@click.option("--explain", is_flag=True, help="Print on standard error which key servers were tried.")
def retrieve(
    vserver: str | None,
    manager: str | None,
    name: str | None,
    key_id: str | None,
    file: Path | None,
    to_stdout: bool,  # noqa: FBT001
    explain: bool,  # noqa: FBT001
    **flags: Any,
) -> None:
    """Read a volume key. This needs an account with the role key-reader, which no other role includes.

    Example: keystead security key-manager key retrieve --user storage --vserver vs0 --name vol1 --file vol1.key
    """
    only_one({"--file": file, "--stdout": to_stdout})
    if file is None and not to_stdout:
        raise click.UsageError("say where the key goes: --file FILE, or --stdout")
    if to_stdout and sys.stdout.isatty():
        raise click.UsageError("a key is not shown on a terminal: give --file, or let a program read it")
    if to_stdout and sys.__stdout__ is None:  # /dev/null replaces a missing standard output and would swallow the key
        raise click.UsageError("standard output is closed: nobody would get the key")
    asked = {"explain": "true"} if explain else {}
    with _sink(file) as sink, api(flags) as service, with_advice(NOT_AUTHORIZED, READERS_ONLY):
        path = one_key_path(service, keys_path(service, vserver, manager, "volume-keys"), name, key_id)
        found = service.call("POST", f"{path}/retrieve", {}, **asked)
        sink.write(base64.b64decode(found["material"]))
    if explain:
        _explain(found.get("explanation"))


@key.command()
@api_command
@of_keys
@click.option("--key-id", metavar="ID", callback=key_id_only, help="Restore only this key.")
@click.option("--key-tag", metavar="TAG", help="Restore only keys with this tag.")
@click.option(
    "--key-server",
    metavar="HOST[:PORT]",
    help="Restore only from this primary key server.",
    shell_complete=names_from(key_servers),
)
def restore(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """Read keys from their key servers into the node's memory, so that they can be read even if those servers fail.

    Example: keystead security key-manager key restore --vserver vs0
    """
    filters = {name: flags[name] for name in ("key_id", "key_tag", "key_server") if flags[name]}
    with api(flags) as service, progress("restoring keys") as say:
        done = run_job(service, keys_path(service, vserver, manager, "restore"), filters, say)
    print_done(done, done["message"], flags["output"])


@key.command("query")
@api_command
@of_keys
@click.option(
    "--key-type",
    type=click.Choice(["vek", "nse_ak"]),
    help="Show only volume keys (vek) or authentication keys (nse_ak).",
)
def query_ids(vserver: str | None, manager: str | None, key_type: str | None, **flags: Any) -> None:
    """List key ids from the view of each node: the key server that holds a key, and whether the node can read it.

    Example: keystead security key-manager key query --key-type vek
    """
    filters = ({"key_type": key_type} if key_type else {}) | of_svm(vserver)
    with api(flags) as service:
        # The call is not confined to the SVM, because a confined call does not see key servers.
        path = key_manager_path(service, vserver, manager)
        nodes = _nodes(service, path)
        records = [
            record for node in nodes for record in service.records(f"{path}/keys/{node}/key-ids", fields="*", **filters)
        ]
    if flags["output"] == "table":
        records = [{"vserver": svm_name(record), "node_name": record["node"]["name"], **record} for record in records]
    print_records(records, QUERIED if len(nodes) == 1 else ("node_name", *QUERIED), flags["output"])


@key.group()
def auth() -> None:
    """Manage authentication keys of self-encrypting drives. They belong to the cluster."""


@auth.command("create")
@api_command
@click.option("--key-tag", help="A word that describes the use of the key.")
@click.option(
    "--passphrase-file",
    type=FILE,
    help="Use the 20 to 32 characters in this file as the key (one trailing newline is ignored).",
)
def create_auth(key_tag: str | None, passphrase_file: Path | None, **flags: Any) -> None:
    """Create an authentication key from random bytes or from a passphrase.

    Example: keystead security key-manager key auth create --key-tag drives
    """
    body = {
        **({"key_tag": key_tag} if key_tag else {}),
        **({"passphrase": secret_text(passphrase_file, "--passphrase-file")} if passphrase_file else {}),
    }
    with api(flags) as service, progress("creating an authentication key"):
        path = f"{key_manager_path(service, None, None)}/auth-keys"
        (made,) = service.create(path, body)
        record = service.call("GET", key_path(path, made["key_id"]))
    print_records([record], ("key_tag", "key_id"), flags["output"])


@auth.command("show")
@api_command
def show_auth(**flags: Any) -> None:
    """List the authentication keys.

    Example: keystead security key-manager key auth show
    """
    with api(flags) as service:
        records = service.records(f"{key_manager_path(service, None, None)}/auth-keys", fields="*")
    print_records(records, ("key_tag", "key_id"), flags["output"])


@auth.command("delete")
@api_command
@_key_id
@yes
def delete_auth(key_id: str, yes: bool, **flags: Any) -> None:  # noqa: FBT001
    """Delete an authentication key. `recover` restores it until its recovery window ends.

    Example: keystead security key-manager key auth delete --key-id ID
    """
    with api(flags) as service:
        path = f"{key_manager_path(service, None, None)}/auth-keys"
        confirm(f"Delete authentication key {key_id}", yes=yes)
        service.call("DELETE", key_path(path, key_id))
    said = f"deleted authentication key {key_id}: `recover` restores it until its recovery window ends"
    print_done({"key_id": key_id}, said, flags["output"])


@auth.command("recover")
@api_command
@_key_id
def recover_auth(key_id: str, **flags: Any) -> None:
    """Recover an authentication key that was deleted.

    Example: keystead security key-manager key auth recover --key-id ID
    """
    with api(flags) as service:
        path = key_path(f"{key_manager_path(service, None, None)}/auth-keys", key_id)
        service.call("PATCH", path, {"state": IN_USE})
        record = service.call("GET", path)
    print_done(record, f"recovered authentication key {key_id}", flags["output"])


def _nodes(service: Api, key_manager: str) -> list[str]:
    """Return the nodes' uuids. For an account that may not list nodes, take them from its key manager's key servers."""
    try:
        return [node["uuid"] for node in service.records("/cluster/nodes")]
    except Refused as error:
        if error.error.get("code") != NOT_AUTHORIZED:
            raise
        error.advice = NODES_HIDDEN
        found = _nodes_that_watch(service, key_manager)
        if not found:
            raise
        return found


def _nodes_that_watch(service: Api, key_manager: str) -> list[str]:
    wanted = {"uuid": key_manager.rpartition("/")[2], "fields": "external.servers.connectivity"}
    seen = service.records("/security/key-managers", **wanted)
    servers = [server for record in seen for server in record.get("external", {}).get("servers", ())]
    states = [state for server in servers for state in server.get("connectivity", {}).get("node_states", ())]
    return sorted({state["node"]["uuid"] for state in states})


def _encoded(file: Path) -> str:
    return base64.b64encode(secret_bytes(file, "--material-file")).decode()


def _print(records: list[dict[str, Any]], form: str) -> None:
    if form == "table":
        records = [{"vserver": svm_name(record), **record} for record in records]
    print_records(records, COLUMNS, form)


def _explain(explanation: dict[str, Any] | None) -> None:
    if explanation is None:
        click.echo("only accounts of the cluster see how the key was read", err=True)
        return
    if explanation.get("cached"):
        click.echo("read from memory: no key server was asked", err=True)
    for tried in explanation.get("tried", ()):
        where = tried.get("host") or tried.get("server")
        elapsed = f", {tried['elapsed_ms']:.1f} ms" if "elapsed_ms" in tried else ""
        click.echo(f"{where}: {tried['outcome']}{elapsed}", err=True)


@contextlib.contextmanager
def _sink(file: Path | None) -> Iterator[IO[bytes]]:
    """Yield the output for a key: standard output for None, else a new file of mode 0600.

    The file is removed if no key was written.
    """
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()  # flush here, so that a failure is reported
        return
    with new_file(file, PRIVATE) as opened:
        yield opened
