"""``keystead security key-manager external survival``, and the loss that a removal of key servers would cause.

Both are computed from the service's survival report: the unreadable keys for each set of failing replication domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Command
from keystead.cli.key_managers import key_manager, key_manager_path
from keystead.cli.output import counted, print_records
from keystead.cli.rest import api, api_command
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@click.command(cls=Command)
@api_command
@key_manager
def survival(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """Draw which keys would be unreadable if key servers failed, and show the age of the proofs.

    A replication domain is a key server, or several that replicate among themselves or that you declared to fail
    together. Each line is a set of domains that could fail. An "x" marks a domain that fails, and a "." marks one that
    stays. The column "unreadable" is the number of keys that would be lost. The column "oldest_proof" is the time of
    the oldest proof among the remaining copies.

    Example: keystead security key-manager external survival --vserver vs0
    """
    with api(flags) as service:
        path = key_manager_path(service, vserver, manager)
        found = service.call("GET", f"{path}/key-survival")
        if flags["output"] == "json":
            return print_records([found], (), "json")
        watched = service.call("GET", path, fields="external.servers.server,external.servers.connectivity")
    return draw(found, not_responding(watched.get("external", {}).get("servers", ())))


def not_responding(servers: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the primary key servers that some node reports as not responding and no node as available."""
    said = {
        server["server"]: {node["state"] for node in server.get("connectivity", {}).get("node_states", ())}
        for server in servers
    }
    return {server for server, states in said.items() if "not_responding" in states and "available" not in states}


def draw(found: Mapping[str, Any], down: set[str]) -> None:
    """Print the survival report. ``down`` are the addresses of servers that do not respond now."""
    domains, losses = found.get("domains", []), found.get("losses", [])
    failed = [domain["uuid"] for domain in domains if down.issuperset(domain["servers"])]
    for number, domain in enumerate(domains, 1):
        state = " (does not respond now)" if domain["uuid"] in failed else ""
        click.echo(f"domain {number}: {', '.join(domain['servers'])}{state}")
    click.echo(
        f"{counted(found['keys'], 'key')}: {_may_fail(found['survives'], len(domains))} without a loss\n"
        f"{counted(found['sole_copies'], 'key')} in one domain only, {found['unproven']} without a proven copy"
    )
    if failed:
        verb = "does" if len(failed) == 1 else "do"
        click.echo(
            f"{len(failed)} of {counted(len(domains), 'domain')} {verb} not respond now:"
            f" {counted(_lost(found)[frozenset(failed)], 'key')} cannot be read from key servers"
        )
    click.echo()
    drawn = [" ".join("x" if domain["uuid"] in loss["domains"] else "." for domain in domains) for loss in losses]
    rows = [
        {"fail": sketch, "unreadable": loss["keys"], "oldest_proof": loss.get("oldest_proof")}
        for sketch, loss in zip(drawn, losses, strict=True)
    ]
    print_records(rows, ("fail", "unreadable", "oldest_proof"), "table")
    for sketch, loss in zip(drawn, losses, strict=True):
        if loss.get("key_ids"):
            click.echo(f"unreadable after {sketch}{_more(loss)}:\n{loss['key_ids'][0]}")


def left_sole(found: Mapping[str, Any], servers: Sequence[str]) -> int:
    """Return the number of keys with proven copies in only one domain after these key servers (as typed) are removed.

    Return 0 if none of the servers exists, because then nothing is removed.
    """
    removed = set(map(_address, servers))
    there = {_address(server) for domain in found.get("domains", ()) for server in domain["servers"]}
    if removed and removed.isdisjoint(there):
        return 0
    uuids = [domain["uuid"] for domain in found.get("domains", ())]
    gone = frozenset(
        domain["uuid"] for domain in found.get("domains", ()) if removed.issuperset(map(_address, domain["servers"]))
    )
    lost = _lost(found)
    return sum(lost[gone | {uuid}] - lost[gone] for uuid in uuids if uuid not in gone)


def _address(text: str) -> ServerAddress | None:
    """Return an address, or None for an invalid text. The service reports an invalid address when it is removed."""
    try:
        return ServerAddress.parse(text)
    except ValueError:
        return None


def _lost(found: Mapping[str, Any]) -> dict[frozenset[str], int]:
    """Return the number of unreadable keys for each set of failing domains."""
    none: frozenset[str] = frozenset()
    return {none: found["unproven"]} | {frozenset(loss["domains"]): loss["keys"] for loss in found.get("losses", ())}


def _may_fail(survives: int, domains: int) -> str:
    return f"any {survives} of {counted(domains, 'domain')} may fail" if survives else "no domain may fail"


def _more(loss: Mapping[str, Any]) -> str:
    """Return the number of further lost keys as text. Only one key is named, because an id fills a line."""
    return f", and {loss['keys'] - 1} more" if loss["keys"] > 1 else ""
