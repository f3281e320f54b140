"""Pages of the keys that a removal, a relocation or another certificate puts at risk, each with its copies."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.destroying import is_past_recovery
from keystead.core.keys.guarding import Departure, KeyAtRisk, key_at_risk, without_aborted
from keystead.core.keys.keeping import KEPT_STATES
from keystead.service.keys.topology import load_topology
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, RemovalRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from keystead.core.keys.guarding import Removal, RemovalFindings
    from keystead.core.keys.model import Copy, Incarnation, Key
    from keystead.core.keys.proving import NeededProofs
    from keystead.core.model import KeyServer
    from keystead.service.keys.topology import ServerTopology

PAGE: Final = 1000
"""How many keys are read, and proven, together."""


class Rows(TopologyRows, KeyRows, AttemptRows, CopyRows, RemovalRows, Protocol):
    """The rows that this module reads and writes."""


def blocking_keys_page(
    tx: Rows, key_manager: str, incarnation: Incarnation, after: str
) -> tuple[list[tuple[Key, list[Copy]]], str | None]:
    """Return one page of the keys that must not be lost, and the cursor of the next page; None at the end.

    Each key comes with its copies of attempts that were not aborted. Called when a new client certificate must read all
    keys.
    """
    keys = tx.keys_in(key_manager, KEPT_STATES, after, PAGE)
    return with_copies(tx, keys, incarnation), keys[-1].uuid if len(keys) == PAGE else None


def with_copies(tx: Rows, keys: Sequence[Key], incarnation: Incarnation) -> list[tuple[Key, list[Copy]]]:
    """Return the keys that must not be lost, each with its copies of attempts that were not aborted.

    Which keys these are, :func:`blocking_keys` says. Called before a removal or a relocation.
    """
    keys = blocking_keys(keys, incarnation)
    uuids = [key.uuid for key in keys]
    copies: dict[str, list[Copy]] = defaultdict(list)
    for copy in without_aborted(tx.copies(uuids), tx.attempts(uuids)):
        copies[copy.key].append(copy)
    return [(key, copies[key.uuid]) for key in keys]


def blocking_keys(keys: Iterable[Key], incarnation: Incarnation) -> list[Key]:
    """Return the keys that must not be lost: all except deleted keys that are overdue and wait for their purge.

    Each of them can prevent a removal, or a change of certificates.
    """
    return [key for key in keys if not is_past_recovery(key, incarnation)]


PageAtRisk = tuple["ServerTopology", list[KeyAtRisk], "str | None"]
"""The topology, one page of keys, and the cursor of the next page; None at the end."""


def page_at_risk(
    tx: Rows, removal: Removal, needed: NeededProofs, found: RemovalFindings, after: str, domains: int = 1
) -> PageAtRisk:
    """Return one page of the keys at risk that lack proofs.

    A key is safe if it has enough of the needed proofs, at addresses that still answer. With more than one of
    ``domains``, a key is left out once it is proven in as many domains as it can be, whoever answers. Called while
    copies are proven, and again in the transaction that removes the server.
    """
    topology = load_topology(tx, removal.key_manager)
    departure, domain_of = departure_of(topology, removal, found), topology.domain_of
    stay = staying(topology, removal, found, domains)
    uuids = tx.keys_at_risk(removal.key_manager.uuid, departure.servers, stay, needed, after, PAGE)
    found_keys = with_copies(tx, tx.keys(uuids), topology.incarnation)
    at_risk = (each for key, copies in found_keys if (each := key_at_risk(key, copies, departure)) is not None)
    if domains > 1:
        lacking = [each for each in at_risk if each.lacks_proofs(needed.attempt, domain_of)]
    else:
        lacking = [each for each in at_risk if not each.is_safe(needed, found.answering, domain_of)]
    return topology, lacking, uuids[-1] if len(uuids) == PAGE else None


def staying(topology: ServerTopology, removal: Removal, found: RemovalFindings, domains: int) -> list[list[str]]:
    """Return the primaries whose proofs count, by replication domain.

    A server that only loses secondaries is left out, because ``is_safe`` checks its primary more exactly.
    """
    answering = {server for server, host in found.answering if not host}
    stay: dict[str, list[str]] = defaultdict(list)
    for server in topology.servers:
        if server.uuid != removal.server.uuid and (domains > 1 or server.uuid in answering):
            stay[topology.domain_of[server.uuid]].append(server.uuid)
    return list(stay.values())


def departure_of(topology: ServerTopology, removal: Removal, found: RemovalFindings) -> Departure:
    """Return what the removal removes and what stays: the whole server goes, or only some of its secondaries."""
    server, becomes = removal.server, removal.after
    stay = {each.uuid: each for each in topology.servers if each.uuid != server.uuid}
    if becomes is None:
        return Departure({server.uuid}, stay, denied=found.denied)
    hosts = set(server.secondary_key_servers) - set(becomes.secondary_key_servers)
    return Departure({server.uuid}, stay | {server.uuid: becomes}, hosts, found.denied)


def copies_on(tx: CopyRows, server: KeyServer) -> Iterator[Copy]:
    """Yield every copy on a server, of keys in any state and with any presence. Rows are read page by page."""
    after = ""
    while page := tx.copies_on(server.uuid, after, PAGE):
        yield from page
        after = page[-1].key
