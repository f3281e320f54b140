"""``keystead security key-manager external survival``, and the loss that a removal of key servers would cause.

Both are computed from the service's survival report: what can be read now, and the unreadable keys for each set of
failing replication domains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from keystead.cli.commands import Command
from keystead.cli.key_managers import key_manager, key_manager_path
from keystead.cli.output import counted, print_records, shown
from keystead.cli.rest import api, api_command
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


SHOWN_NAMES = 3
"""How many keys are named in a line."""

SHOWN_PATTERNS = 10
"""How many patterns are printed."""

AWAY = {
    "not_responding": "does not respond",
    "keys_hidden": "does not show its keys",
    "unknown": "no node has looked at it",
}


@click.command(cls=Command)
@api_command
@key_manager
def survival(vserver: str | None, manager: str | None, **flags: Any) -> None:
    """Show which keys can be read now, and which would be unreadable if key servers failed.

    The first lines are about this moment. A replication domain is a key server, or several that replicate among
    themselves or that you declared to fail together. Each line of the table is a set of domains that could fail, while
    all others answer. An "x" marks a domain that fails, and a "." marks one that stays. The column "unreadable" is the
    number of keys that would be lost. The column "oldest_proof" is the time of the oldest proof among the remaining
    copies. Then the keys follow, those whose copies lie alike together.

    Example: keystead security key-manager external survival --vserver vs0
    """
    with api(flags) as service:
        found = service.call("GET", f"{key_manager_path(service, vserver, manager)}/key-survival")
    if flags["output"] == "json":
        print_records([found], (), "json")
    else:
        draw(found)


def draw(found: Mapping[str, Any]) -> None:
    """Print the survival report."""
    now, domains = found["now"], found.get("domains", [])
    click.echo(_present(now, found["keys"]))
    if "oldest_proof" in now:
        click.echo(f"The oldest proof that this rests on is of {shown(now['oldest_proof'])}.")
    click.echo()
    away = {server["server"]: AWAY[server["reason"]] for server in now.get("away", ())}
    for number, domain in enumerate(domains, 1):
        servers = (f"{server} ({away[server]})" if server in away else server for server in domain["servers"])
        click.echo(f"domain {number}: {', '.join(servers)}")
    click.echo(
        f"{counted(found['keys'], 'key')}: {_may_fail(found['survives'], len(domains))} while all others answer\n"
        f"{counted(found['sole_copies'], 'key')} in one domain only, {found['unproven']} without a proven copy\n"
    )
    _print_losses(domains, found.get("losses", []))
    for pattern in found.get("patterns", ())[:SHOWN_PATTERNS]:
        _print_pattern(pattern)
    if more := found.get("patterns", ())[SHOWN_PATTERNS:]:
        click.echo(f"\n{counted(sum(pattern['keys'] for pattern in more), 'key')} more lie otherwise: --output json")


def _present(now: Mapping[str, Any], keys: int) -> str:
    """Return the sentences about this moment."""
    if not keys:
        return "There is no key in use, and none that can be recovered."
    if not now.get("domains") and {server["reason"] for server in now.get("away", ())} == {"unknown"}:
        return "Right now nobody knows which keys can be read: no node has looked at the key servers yet."
    survives, at_risk = now["survives"], now["at_risk"]
    if now["unreadable"]:
        lost, more = counted(now["unreadable"], "key"), at_risk - now["unreadable"]
        said = f"Right now {lost} cannot be read from any key server: {_names(now, 'unreadable')}."
        return f"{said} {counted(more, 'more key')} would be lost with 1 more domain." if more else said
    may = f"{counted(survives, 'more domain')} may fail" if survives else "no more domain may fail"
    return f"Right now {may}. {counted(at_risk, 'key')} would be lost with {survives + 1}."


def _print_losses(domains: Sequence[Mapping[str, Any]], losses: Sequence[Mapping[str, Any]]) -> None:
    """Print a line per set of domains that could fail, then the names of the keys that are lost with each."""
    drawn = [" ".join("x" if domain["uuid"] in loss["domains"] else "." for domain in domains) for loss in losses]
    rows = [
        {"fail": sketch, "unreadable": loss["keys"], "oldest_proof": loss.get("oldest_proof")}
        for sketch, loss in zip(drawn, losses, strict=True)
    ]
    print_records(rows, ("fail", "unreadable", "oldest_proof"), "table")
    for sketch, loss in zip(drawn, losses, strict=True):
        if loss["keys"]:
            click.echo(f"unreadable after {sketch}: {_names(loss, 'keys')}")


def _print_pattern(pattern: Mapping[str, Any]) -> None:
    """Print how many keys lie alike, which, and what is known on each server."""
    proof = f", oldest proof {shown(pattern['oldest_proof'])}" if "oldest_proof" in pattern else ""
    click.echo(f"\n{counted(pattern['keys'], 'key')}: {_names(pattern, 'keys')}{proof}")
    for copy in pattern.get("copies", ()):
        click.echo(f"  {copy['server']}: {copy['state'].replace('proven_away', 'proven, away')}")


def _names(found: Mapping[str, Any], count: str) -> str:
    """Return the names of the first keys as text. ``count`` is the field with the number of all."""
    prefix = "" if count == "keys" else f"{count}_"
    names = [shown(name) for name in found.get(f"{prefix}key_names", ())][:SHOWN_NAMES]
    more = found[count] - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


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
