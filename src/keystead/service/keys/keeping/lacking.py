"""The keys that lack a proven copy in a domain, found by the database, and pages of keys with their copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.keeping import KEPT_STATES, Tally
from keystead.core.keys.survival import has_shared_addresses
from keystead.service.keys.context import slices, topology_of
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.service.keys.topology import ServerTopology

MOST_BOUND: Final = 1000
"""How many keys one statement names at most."""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, Protocol):
    """The rows that this module reads."""


class Page(NamedTuple):
    """Some keys with their copies, and the topology; that is None, and there are no keys, without a key manager."""

    topology: ServerTopology | None
    keys: list[tuple[Key, list[Copy]]]


def lacking_keys(tx: Rows, key_manager: str) -> tuple[Tally, tuple[str, ...]] | None:
    """Return the tally of all keys that have a proven copy in each domain, and the other keys (uuids).

    Return None if the database cannot tell them apart: without servers, or if servers share addresses.
    """
    topology = topology_of(tx, key_manager)
    if topology is None or not topology.servers or has_shared_addresses(topology.servers):
        return None
    domains: dict[str, list[str]] = {}
    for server, domain in topology.domain_of.items():
        domains.setdefault(domain, []).append(server)
    lacking = tuple(
        key.uuid
        for some in slices(tx.keys_lacking(key_manager, domains.values()), MOST_BOUND)
        for key in tx.keys(some)
        if key.key_manager == key_manager and key.state in KEPT_STATES
    )
    counts = tx.key_counts(key_manager)
    complete = sum(counts.get(state, 0) for state in KEPT_STATES) - len(lacking)
    return Tally(complete, sole=complete if len(domains) == 1 else 0), lacking


def page_of(tx: Rows, key_manager: str, keys: Sequence[Key]) -> Page:
    """Return the topology, and keys with their copies. Copies of aborted attempts are left out."""
    topology = topology_of(tx, key_manager)
    kept = [key for key in keys if key.state in KEPT_STATES] if topology is not None else []
    copies: dict[str, list[Copy]] = {key.uuid: [] for key in kept}
    for copy in without_aborted(tx.copies(copies), tx.attempts(copies)):
        copies[copy.key].append(copy)
    return Page(topology, [(key, copies[key.uuid]) for key in kept])
