"""List the keys of all key managers that a call sees, with where their copies are. Key material is never read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.away import away
from keystead.core.keys.destroying import is_recoverable, recovery_ends
from keystead.core.keys.domains import proven_domains
from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.model import Key, KeyState, KeyType, Presence
from keystead.core.keys.survival import CopyMark, copy_mark
from keystead.core.model import KeyManager
from keystead.core.query.where import Condition, Op, Order
from keystead.service.keys.access import require_manager_of_keys, serving_key_manager
from keystead.service.keys.catalogue import among, views
from keystead.service.keys.topology import load_topology
from keystead.service.loading import incarnation_of, require_cluster
from keystead.service.ports.cluster import ClusterRows, IncarnationRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, ReceiptRows, TopologyRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy, Incarnation
    from keystead.service.context import Call
    from keystead.service.keys.catalogue import KeyView
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Store

Place = tuple[str | None, str, str]
"""The place of a key in the list: its SVM's name (None for the cluster), its name and its uuid."""

NOT_DESTROYED: Final = (KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED, KeyState.PURGING)
"""States of keys that are listed if no state is asked for."""

_EVERY_KEY: Final = Page(order=(Order("svm_name"), Order("name")))
_COPIES: Final = frozenset({"copies.proven", "receipts.time"})


class Rows(
    TopologyRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    IncarnationRows,
    ObservationRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReceiptRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys are wanted. ``name`` and ``svm`` (a name) may have ``*`` for any characters; empty: every key.

    ``key_manager`` is a uuid. ``volume_keys_only`` leaves authentication keys out.
    """

    name: str = ""
    svm: str = ""
    key_manager: str = ""
    state: KeyState | None = None
    volume_keys_only: bool = False

    def page(self) -> Page:
        """Return the query for these keys."""
        texts = {"name": self.name, "svm_name": self.svm}
        found = replace(
            _EVERY_KEY,
            where=tuple((Condition(name, Op.LIKE, tuple(text.split("*"))),) for name, text in texts.items() if text),
        )
        if self.key_manager:
            found = found.within(key_manager=self.key_manager)
        if self.volume_keys_only:
            found = found.within(key_type=KeyType.VEK.value)
        return among(found, NOT_DESTROYED if self.state is None else (self.state,))


class Copies(NamedTuple):
    """Where a key's copies are: the mark of each key server (address), and how many domains have a proven one.

    ``oldest_proof`` is the oldest of the servers' latest proofs. ``covered`` are the servers (addresses) without a copy
    of their own, while another server of their domain has a proven one.
    """

    marks: tuple[tuple[str, CopyMark], ...]
    proven: int
    domains: int
    oldest_proof: datetime | None
    covered: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key, the owner of its key manager (the cluster's name for its own), and its copies.

    ``copies`` is None if the call does not see the key servers. ``recovery_ends`` is None if the recovery has no end.
    """

    key: Key
    vserver: str
    copies: Copies | None
    recoverable: bool
    recovery_ends: datetime | None


@dataclass(frozen=True, slots=True)
class UsableKeyManager:
    """A key manager whose keys the call may use. ``seen``: the call sees its key servers as well."""

    of: KeyManager
    vserver: str
    seen: bool


@dataclass(frozen=True, slots=True)
class KeyList:
    """A page of keys. ``more``: others follow. ``destroys`` is False while destruction is held."""

    keys: tuple[ListedKey, ...]
    more: bool
    key_managers: tuple[UsableKeyManager, ...]
    destroys: bool


@dataclass(frozen=True, slots=True)
class ShownKey:
    """One key with its copies and receipts. ``recovery_days`` is how long a key can be recovered once it is deleted."""

    listed: ListedKey
    view: KeyView
    seen: bool
    destroys: bool
    recovery_days: int


class KeyLists:
    """The keys of all key managers together. A call within an SVM gets only the keys of that SVM."""

    def __init__(self, store: Store[Rows]) -> None:
        self._store = store

    async def page(self, call: Call, wanted: KeyFilter, after: Place | None, limit: int) -> KeyList:
        """Return at most ``limit`` keys, in the order of SVM and name; the cluster's keys come last.

        ``after`` is the place of the last key on the page before. Called by the console's list of keys. No key server
        is asked. Raises StoreError.
        """

        def read(tx: Rows) -> KeyList:
            managers = _usable(tx, call)
            page = call.within(replace(wanted.page(), after=after, limit=limit + 1))
            if call.scope is not None:
                uuids = [each.of.uuid for each in managers] or [""]  # "" is no key manager's
                page = replace(
                    page, where=(*page.where, tuple(Condition("key_manager", Op.EQUAL, uuid) for uuid in uuids))
                )
            keys = tx.page(Key, page)
            incarnation = incarnation_of(tx)
            listed = _listed(tx, managers, keys[:limit], incarnation)
            return KeyList(listed, len(keys) > limit, managers, incarnation.destroys)

        return await self._store.read(read)

    async def key_managers(self, call: Call) -> tuple[UsableKeyManager, ...]:
        """Return the enabled key managers in which the call may create keys. Raises StoreError."""
        found = await self._store.read(lambda tx: _usable(tx, call))
        return tuple(each for each in found if each.of.enabled)

    async def get(self, call: Call, key_manager: str, key_id: str) -> ShownKey:
        """Return one key of any type. Raises 4 (404) if the call does not see it, and StoreError."""

        def read(tx: Rows) -> ShownKey:
            manager = require_manager_of_keys(tx, call, key_manager)
            key = tx.key_by_id(manager.uuid, key_id, within=call.within_svm)
            if key is None or key.state is KeyState.ABORTED:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
            incarnation = incarnation_of(tx)
            usable = _usable_one(call, manager, require_cluster(tx).name)
            (listed,) = _listed(tx, [usable], [key], incarnation)
            (view,) = views(tx, call, manager, (key,), _COPIES)
            return ShownKey(listed, view, usable.seen, incarnation.destroys, tx.options().key_recovery_days)

        return await self._store.read(read)


def _usable(tx: Rows, call: Call) -> tuple[UsableKeyManager, ...]:
    """Return the key managers whose keys the call may use, by the name of their owner."""
    cluster = require_cluster(tx).name
    found = {each.uuid: each for each in tx.page(KeyManager, call.within(Page()))}
    if call.scope is not None and (serving := serving_key_manager(tx, call.scope)) is not None:
        found[serving.uuid] = serving
    made = (_usable_one(call, each, cluster) for each in found.values())
    return tuple(sorted(made, key=lambda each: (each.vserver, each.of.uuid)))


def _usable_one(call: Call, manager: KeyManager, cluster: str) -> UsableKeyManager:
    """Return the key manager as the call sees it. ``cluster`` is the cluster's name."""
    return UsableKeyManager(manager, manager.svm.name if manager.svm else cluster, call.sees(manager.svm))


def _listed(
    tx: Rows, managers: Sequence[UsableKeyManager], keys: Sequence[Key], incarnation: Incarnation
) -> tuple[ListedKey, ...]:
    """Return the keys with their copies, in their order. ``managers`` has the key manager of each."""
    of_key = {each.of.uuid: each for each in managers}
    by_manager: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        by_manager[key.key_manager].append(key.uuid)
    copies: dict[str, Copies] = {}
    for manager, uuids in by_manager.items():
        if of_key[manager].seen:
            copies |= _copies(tx, load_topology(tx, of_key[manager].of), uuids)
    return tuple(
        ListedKey(
            key,
            of_key[key.key_manager].vserver,
            copies.get(key.uuid),
            is_recoverable(key, incarnation),
            recovery_ends(key, incarnation),
        )
        for key in keys
    )


def _copies(tx: Rows, topology: ServerTopology, keys: Collection[str]) -> Mapping[str, Copies]:
    """Return where the copies of these keys (uuids) of one key manager are."""
    servers = topology.servers
    gone = away(servers, tx.observations([each.uuid for each in servers]), tx.nodes())
    of_key: dict[str, list[Copy]] = {key: [] for key in keys}
    for copy in without_aborted(tx.copies(keys), tx.attempts(keys)):
        of_key[copy.key].append(copy)
    domains = len(set(topology.domain_of.values()))
    return {key: _copies_of_one(found, topology, gone, domains) for key, found in of_key.items()}


def _copies_of_one(found: Collection[Copy], topology: ServerTopology, gone: Collection[str], domains: int) -> Copies:
    servers, of = topology.servers, topology.domain_of
    marks = {server.uuid: copy_mark(server, found, gone) for server in servers}
    proven = proven_domains(found, of, servers)
    return Copies(
        tuple((str(server.address), marks[server.uuid]) for server in servers),
        len(proven),
        domains,
        _oldest_proof(found, {server.uuid for server in servers}),
        frozenset(
            str(each.address) for each in servers if marks[each.uuid] is CopyMark.MISSING and of[each.uuid] in proven
        ),
    )


def _oldest_proof(copies: Iterable[Copy], servers: Collection[str]) -> datetime | None:
    """Return the oldest of the latest proofs on each of the servers (uuids)."""
    latest: dict[str, datetime] = {}
    for each in copies:
        if each.presence is Presence.PRESENT and each.proven is not None and each.key_server in servers:
            latest[each.key_server] = max(each.proven, latest.get(each.key_server, each.proven))
    return min(latest.values(), default=None)
