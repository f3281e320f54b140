"""Report which keys can be read now, and which would survive the loss of which key servers.

The report rests on stored proofs and observations: no server is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.errors import OntapError
from keystead.core.keys.away import Away, away, readable_hosts
from keystead.core.keys.creating import CreateState, NewKey, plan_create
from keystead.core.keys.domains import domains
from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.survival import MAX_NAMED, KeyGroupCounter, has_shared_addresses, survival
from keystead.service.announcing import cluster_name
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.ports.cluster import ClusterRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, ReportRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy
    from keystead.core.keys.survival import KeyGroup, Survival
    from keystead.core.model import KeyManager, KeyServer, Node, Observation
    from keystead.service.context import Call
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

KEYS_PER_READ: Final = 256
"""How many keys are counted at a time, where the store cannot count them."""


class CountedRows(KeyRows, AttemptRows, CopyRows, ReportRows, Protocol):
    """The rows that are counted."""


class Rows(CountedRows, TopologyRows, KeyManagerRows, ClusterRows, NodeRows, ObservationRows, Protocol):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class CountedKeys:
    """The survival report of an enabled key manager (a uuid) at a time. ``vserver`` is its SVM, or the cluster."""

    key_manager: str
    vserver: str
    survival: Survival
    time: datetime


@dataclass(frozen=True, slots=True)
class Outlook:
    """The survival report of a key manager, with what decides whether it takes new keys.

    ``vserver`` is its SVM, or the cluster. ``domain_of`` is the replication domain of each server (uuid).
    ``readable_at`` is the host at which a server can be read now; servers that are away are left out. ``unlearned``
    are the servers of which it is not known yet how they store keys: the next key has them learned. ``refusal`` is the
    error for every new key, whatever the servers do; None if they decide.
    """

    manager: KeyManager
    vserver: str
    servers: tuple[KeyServer, ...]
    domain_of: Mapping[str, str]
    survival: Survival
    readable_at: Mapping[str, str]
    unlearned: frozenset[str]
    refusal: OntapError | None


class KeySurvival:
    """The survival report of key managers."""

    def __init__(self, store: Store[Rows], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def survival(self, call: Call, key_manager: str) -> Survival:
        """Return what a key manager's keys would survive. Raises 4 (404) if the call may not see it.

        Called when an API caller reads the key survival. Keys in use and keys that can be recovered count.
        """

        def work(tx: Rows) -> Survival:
            topology = load_topology(tx, require_key_manager(tx, call, key_manager))
            seen = tx.observations([server.uuid for server in topology.servers])
            return survival_of(tx, topology, seen, tx.nodes())

        return await self._store.read(work)

    async def outlook(self, call: Call, key_manager: str) -> Outlook:
        """Return what a key manager's keys would survive, and what it needs for new keys. Raises 4 (404).

        Called when a user asks in the console what would survive. No key server is asked.
        """

        def work(tx: Rows) -> Outlook:
            topology = load_topology(tx, require_key_manager(tx, call, key_manager))
            manager, servers, nodes = topology.key_manager, topology.servers, tx.nodes()
            seen = tx.observations([server.uuid for server in servers])
            return Outlook(
                manager=manager,
                vserver=manager.svm.name if manager.svm else cluster_name(tx),
                servers=servers,
                domain_of=topology.domain_of,
                survival=survival_of(tx, topology, seen, nodes),
                readable_at=readable_hosts(servers, seen, nodes),
                unlearned=frozenset(server.uuid for server in servers if server.uuid not in topology.profiles),
                refusal=self._refusal(topology),
            )

        return await self._store.read(work)

    def _refusal(self, topology: ServerTopology) -> OntapError | None:
        """Return the error that the plan of every new key would raise now, else None. Nothing is stored.

        To find it, plan a key with which nothing is wrong. None is no promise: whether enough servers store a key, the
        plan does not say. Called for the console's outlook.
        """
        manager = topology.key_manager
        state = CreateState(manager, topology.certificates, topology.servers, serving=manager.uuid)
        try:
            plan_create(state, NewKey("any"), manager.uuid, self._clock.now())
        except OntapError as error:
            return error
        return None

    async def of_all(self) -> tuple[CountedKeys, ...]:
        """Return the report of each enabled key manager. Called for the metrics. Raises StoreError.

        Each is read in a transaction of its own: to count 100,000 keys takes long, and no transaction may be long.
        """
        enabled, cluster = await self._store.read(lambda tx: (tx.watched(), cluster_name(tx)))

        def count(tx: Rows, manager: KeyManager, servers: Sequence[KeyServer]) -> CountedKeys:
            seen = tx.observations([server.uuid for server in servers])
            found = survival_of(tx, load_topology(tx, manager), seen, tx.nodes())
            vserver = manager.svm.name if manager.svm else cluster
            return CountedKeys(manager.uuid, vserver, found, self._clock.now())

        return tuple(
            [await self._store.read(partial(count, manager=manager, servers=servers)) for manager, servers in enabled]
        )


def survival_of(
    tx: CountedRows,
    topology: ServerTopology,
    observations: Sequence[Observation],
    nodes: Sequence[Node],
    *,
    lost: Collection[str] = (),
) -> Survival:
    """Return what the keys on these servers survive, by stored proofs and by what the nodes observed of the servers.

    ``lost`` are servers (uuids) that count as away as well.
    """
    now_away = away(topology.servers, observations, nodes) | dict.fromkeys(lost, Away.NOT_RESPONDING)
    groups = _key_groups(tx, {topology.key_manager.uuid: topology.servers})
    return survival(topology.servers, topology.domain_of, groups[topology.key_manager.uuid], now_away)


@dataclass(frozen=True, slots=True)
class Placed:
    """The keys of a key manager in groups by where their copies are, and the domain of each server (uuid).

    ``found`` are the survivals that were computed, by the servers that were away: observations seldom change them.
    """

    servers: Sequence[KeyServer]
    domain_of: Mapping[str, str]
    groups: Sequence[KeyGroup]
    found: dict[frozenset[tuple[str, Away]], Survival] = field(default_factory=dict, repr=False)

    def survival(self, observations: Sequence[Observation], nodes: Sequence[Node]) -> Survival:
        """Return what the keys survive: as :func:`survival_of`."""
        now_away = away(self.servers, observations, nodes)
        key = frozenset(now_away.items())
        if key not in self.found:
            self.found[key] = survival(self.servers, self.domain_of, self.groups, now_away)
        return self.found[key]


def placed_keys(tx: Rows, servers: Mapping[str, Sequence[KeyServer]]) -> Mapping[str, Placed]:
    """Return where the keys of several key managers (uuids) with these servers are, read together."""
    uuids = [server.uuid for of in servers.values() for server in of]
    profiles = {each.key_server: each for each in tx.profiles(uuids)}
    groups = _key_groups(tx, servers)
    return {manager: Placed(of, domains(of, profiles), groups[manager]) for manager, of in servers.items()}


def _key_groups(tx: CountedRows, servers: Mapping[str, Sequence[KeyServer]]) -> Mapping[str, Sequence[KeyGroup]]:
    """Return the keys of each key manager (uuid) in groups: the copies of those in one group lie alike.

    The database counts the keys. If servers share addresses, they are counted here, because then it matters at which
    address a copy is.
    """
    shared = {manager for manager, of in servers.items() if has_shared_addresses(of)}
    counted = {manager: [each.uuid for each in of] for manager, of in servers.items() if manager not in shared}
    groups = tx.key_groups(counted, MAX_NAMED) if counted else {}
    return {**groups, **{manager: _count_keys(tx, manager, servers[manager]).groups for manager in shared}}


def _count_keys(tx: CountedRows, key_manager: str, servers: Sequence[KeyServer]) -> KeyGroupCounter:
    """Count a key manager's committed and retired keys, page by page, by where their copies are."""
    counted, after = KeyGroupCounter(), ""
    while keys := tx.keys_in(key_manager, KEPT_STATES, after, KEYS_PER_READ):
        after = keys[-1].uuid
        uuids = [key.uuid for key in keys]
        copies: dict[str, list[Copy]] = {uuid: [] for uuid in uuids}
        for copy in without_aborted(tx.copies(uuids), tx.attempts(uuids)):
            copies[copy.key].append(copy)
        for key in keys:
            counted.count(key, copies[key.uuid], servers)
    return counted
