"""What is wrong with a key manager: its keys, its key servers, orphans there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from keystead.core.attention.blame import blamed
from keystead.core.attention.items import Item, Severity, Subject, scoped
from keystead.core.availability import PRIMARY, observation_without_network, void_nodes
from keystead.core.certificates.shown import chain_of
from keystead.core.errors.remedies import advice_of
from keystead.core.keys.away import Away
from keystead.core.keys.survival import CopyMark
from keystead.core.model import State
from keystead.core.probing import Whose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Orphan
    from keystead.core.keys.survival import KeyName, Pattern, Survival
    from keystead.core.model import Certificate, KeyManager, KeyServer, Node, Observation

HIDDEN: Final = "It answers, and does not show the keys that were left there"

NAMED: Final = 3
"""How many keys a sentence names."""

_EXTERNAL: Final = "keystead security key-manager external"


@dataclass(frozen=True, slots=True)
class Watched:
    """An enabled key manager: its servers, what nodes observed of them, its survival report and its orphans.

    ``client_certificate`` is the one that it shows, None if that was deleted. ``refused`` are the addresses that the
    egress rules would refuse in a new key server.
    """

    of: KeyManager
    vserver: str
    servers: Sequence[KeyServer]
    observations: Sequence[Observation]
    survival: Survival
    client_certificate: Certificate | None = None
    orphans: Sequence[Orphan] = ()
    refused: frozenset[str] = frozenset()

    def item(self, subject: Subject, name: str, severity: Severity, **fields: str | datetime | None) -> Item:
        """Return an item about something of this key manager."""
        return Item(subject, name, severity, svm=self.of.svm, vserver=self.vserver, key_manager=self.of.uuid, **fields)  # type: ignore[arg-type]

    def command(self, words: str) -> str:
        """Return a command about this key manager."""
        return scoped(f"{_EXTERNAL} {words}", self.of.svm)


def without_network(watched: Watched) -> Watched:
    """Return a key manager as an account of its SVM may see it: without what could tell about our network."""
    seen = [*map(observation_without_network, watched.observations)]
    return replace(watched, observations=seen, refused=frozenset())


def key_items(watched: Watched) -> Iterator[Item]:
    """Yield what is wrong with the keys of a key manager: unreadable, in one domain only, not what was written.

    For each key server that answers, also the keys that have no copy there.
    """
    found = watched.survival
    yield from _about_keys(
        watched,
        Severity.CRITICAL,
        found.now.unreadable.keys if found.now.is_known else 0,
        found.now.unreadable.named,
        reason="{keys}: no proven copy can be read now.",
        advice="Bring back one of the key servers that hold them. A node may still have them in memory.",
        command=watched.command("survival"),
    )
    yield from _about_keys(
        watched,
        Severity.WARNING,
        found.sole,
        found.sole_named,
        reason="{keys} would be lost with one replication domain: no other has a proven copy.",
        advice="Bring back the other key servers, or add one. The service writes the copies by itself.",
        command=watched.command("replicate"),
    )
    for server, address in found.addresses.items():
        different = [each for each in found.patterns if dict(each.marks)[server] is CopyMark.DIFFERENT]
        yield from _about_keys(
            watched,
            Severity.WARNING,
            sum(pattern.keys for pattern in different),
            [name for pattern in different for name in pattern.named],
            reason=f"{{keys}}: the key server {address} returns other bytes than were written.",
            advice=advice_of("different_material"),
            command=scoped("keystead report prove", watched.of.svm),
        )
        lacking = [] if server in found.now.away else [each for each in found.patterns if _lacks(found, each, server)]
        yield from _about_keys(
            watched,
            Severity.WARNING,
            sum(pattern.keys for pattern in lacking),
            [name for pattern in lacking for name in pattern.named],
            reason=f"{{keys}} without a copy on the key server {address}, which answers.",
            advice="They are written without you. If this stays, the command says why. The server may be full.",
            command=watched.command("replicate"),
        )


def _lacks(found: Survival, pattern: Pattern, server: str) -> bool:
    """Return True if these keys have no copy on the server (uuid), and no other in its replication domain has one."""
    marks = {found.addresses[uuid]: mark for uuid, mark in pattern.marks}
    domain = next(each.servers for each in found.domains if found.addresses[server] in each.servers)
    return marks[found.addresses[server]] is CopyMark.MISSING and all(
        marks[address] not in {CopyMark.PROVEN, CopyMark.PROVEN_AWAY} for address in domain
    )


def _about_keys(
    watched: Watched, severity: Severity, keys: int, named: Sequence[KeyName], *, reason: str, advice: str, command: str
) -> Iterator[Item]:
    """Yield an item about so many keys, the first of which are ``named``; none for no key."""
    if keys:
        said = reason.format(keys=f"{keys} key{'s' * (keys != 1)}")
        yield watched.item(Subject.KEYS, _names(named, keys), severity, reason=said, advice=advice, command=command)


def server_items(watched: Watched, nodes: Sequence[Node], *, full: bool) -> Iterator[Item]:
    """Yield what is wrong with the key servers of a key manager. ``full``: with what accounts of the cluster may see.

    A server whose primary and secondaries are lost is critical, once; so is one that hides its keys.
    """
    if not watched.survival.now.is_known:
        yield _not_looked_item(watched)
    void = void_nodes(nodes)
    seen = [each for each in watched.observations if each.node not in void]
    for server in watched.servers:
        for host in (PRIMARY, *server.secondary_key_servers):
            of_host = [each for each in seen if (each.key_server, each.host) == (server.uuid, host)]
            failed = [each for each in of_host if each.state is not State.AVAILABLE]
            if failed:
                yield _failed_item(watched, server, min(failed, key=_loss_first), full=full)
        if watched.survival.now.away.get(server.uuid) is Away.KEYS_HIDDEN:
            hidden = [each.hidden_since for each in seen if each.key_server == server.uuid and each.hidden_since]
            yield _server_item(
                watched,
                server,
                Severity.CRITICAL,
                reason=HIDDEN + (": reason canary_not_seen." if full else "."),
                advice=advice_of("canary_not_seen") if full else "",
                since=min(hidden, default=None),
                command="show-status",
            )
        if full and server.address.host in watched.refused and server.uuid not in watched.survival.now.away:
            yield _server_item(
                watched,
                server,
                Severity.WARNING,
                reason="The egress rules would refuse this address in a new key server.",
                advice=advice_of("address_not_allowed"),
            )


def _not_looked_item(watched: Watched) -> Item:
    """Return the item of a key manager whose servers no node has looked at yet."""
    servers = len(watched.servers)
    return watched.item(
        Subject.KEY_SERVER,
        f"{servers} key server{'s' * (servers != 1)}",
        Severity.WARNING,
        reason="No node has looked at them since it started, so it is not known which of them answer.",
        advice="Wait some seconds. If this stays, look at the log of the node.",
        command=watched.command("show-status"),
    )


def _server_item(
    watched: Watched,
    server: KeyServer,
    severity: Severity,
    *,
    reason: str,
    advice: str,
    since: datetime | None = None,
    secondary: str = "",
    command: str = "",
) -> Item:
    """Return an item about an address of a key server: its primary, or a secondary. The command is a probe if empty."""
    address = str(server.address)
    return watched.item(
        Subject.KEY_SERVER,
        f"{secondary} (secondary of {address})" if secondary else address,
        severity,
        reason=reason,
        advice=advice,
        command=watched.command(command or f"probe --key-servers {address}"),
        since=since,
        identifier=address,
    )


def _loss_first(failed: Observation) -> tuple[bool, datetime]:
    """Return the key that puts losses before unknown states, and the oldest first."""
    return failed.state is not State.NOT_RESPONDING, failed.since


def _failed_item(watched: Watched, server: KeyServer, failed: Observation, *, full: bool) -> Item:
    """Return the item of an address that does not answer, or about which nothing is known."""
    is_silent = failed.state is State.NOT_RESPONDING
    is_lost = is_silent and not failed.host and watched.survival.now.away.get(server.uuid) is Away.NOT_RESPONDING
    facts = [f"stage {'resolve' if failed.stage == 'egress' and not full else failed.stage}"] if failed.stage else []
    facts += [f"reason {failed.reason}"] if full and failed.reason else []
    reason = "It is not available" if is_silent else "Its state is not known"
    reason += f": {', '.join(facts)}." if facts else "."
    reason += _certificate_at_fault(watched, failed) if full else ""
    return _server_item(
        watched,
        server,
        Severity.CRITICAL if is_lost else Severity.WARNING,
        reason=reason,
        advice=advice_of(failed.reason) if full else "",
        since=failed.since,
        secondary=failed.host,
    )


def _certificate_at_fault(watched: Watched, failed: Observation) -> str:
    """Return a sentence about the certificate that a failed look blames: the server's, or ours; empty if none."""
    is_ours = failed.reason.startswith("client_certificate")  # a chain is parsed only if it is needed
    ours = chain_of(watched.client_certificate) if is_ours and watched.client_certificate else ()
    found = blamed(failed, ours)
    if found is None:
        return ""
    of = found.certificate
    said = "It showed" if found.whose is Whose.SERVER else "We showed"
    ended = "ended" if of.not_after <= failed.since else "ends"
    return (
        f" {said} {of.subject}, serial number {of.serial_number}, issued by {of.issuer},"
        f" which {ended} on {of.not_after:%Y-%m-%d %H:%M} UTC."
    )


def orphan_items(watched: Watched) -> Iterator[Item]:
    """Yield one item about the orphans of a key manager."""
    orphans = [each for each in watched.orphans if each.dismissal is None]
    if orphans:
        number = len(orphans)
        yield watched.item(
            Subject.UNCLAIMED_OBJECTS,
            f"{number} object{'s' * (number != 1)}",
            Severity.WARNING,
            reason="Objects on key servers bear our names, and no key of this database accounts for them.",
            advice="Adopt those that are keys, and dismiss the others. They are never destroyed.",
            command=scoped("keystead security key-manager unclaimed show", watched.of.svm),
            since=min(orphan.found for orphan in orphans),
        )


def _names(named: Sequence[KeyName], keys: int) -> str:
    """Return the names of the first keys as text, and how many more there are."""
    shown = [key.name or key.key_id for key in named[:NAMED]]
    more = keys - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
