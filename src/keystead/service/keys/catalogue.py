"""Use cases that only read the catalogue: keys, copies and receipts. Key material is never read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.destroying import PurgeWait, purge_waits_for
from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.model import Copy, Key, KeyState, KeyType, Receipt
from keystead.core.query.where import Condition, Op
from keystead.service.keys.access import require_manager_of_keys
from keystead.service.keys.ids import KeyIdView, key_ids
from keystead.service.loading import incarnation_of, require_key_manager
from keystead.service.ports.cluster import IncarnationRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, KeyServerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, ReceiptRows
from keystead.service.proven_reads import read_proven

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from keystead.core.model import KeyManager, Node, Svm
    from keystead.core.query.query import Wanted
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.store import Store

NOT_ABORTED = tuple(state for state in KeyState if state is not KeyState.ABORTED)
"""States of keys that the API returns: all but aborted, because a key whose creation failed never existed."""

COMMITTED_ONLY = (KeyState.COMMITTED,)
"""States of keys that ONTAP's own resources return: committed keys only. They have no word for retired keys."""


class Rows(
    KeyManagerRows,
    KeyServerRows,
    ListRows,
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
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class CopyView:
    """A copy, or a receipt for a copy, with the address of its primary.

    ``server`` is empty if the key server is not configured and not detached. ``detached``: it is detached.
    """

    of: Copy | Receipt
    server: str
    detached: bool


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key with its copies and receipts; both are empty if not wanted, or if the call does not see key servers.

    ``purge_waits_for`` is None, too, for a key that was just made.
    """

    key: Key
    copies: tuple[CopyView, ...] = ()
    receipts: tuple[CopyView, ...] = ()
    purge_waits_for: PurgeWait | None = None


class NodeKeyView(NamedTuple):
    """A key, whether a node can read it, the node, and the key's key manager."""

    id: KeyIdView
    key_manager: KeyManager
    node: Node


class Keys:
    """The keys of key managers. A call within an SVM gets only the keys of that SVM."""

    def __init__(self, store: Store[Rows], held: Callable[[Key], bool], node: str) -> None:
        """Use ``held`` to ask whether this node (uuid) has a key in memory."""
        self._store = store
        self._held = held
        self._node = node

    async def owner(self, call: Call, key_manager: str) -> Svm | None:
        """Return the SVM that a call about a key manager's keys concerns, or None for the cluster.

        It is the key manager's SVM, else the SVM that the call is within. Raises 4 (404) if the call may not use the
        key manager. Called before volume keys are written, and to give a job of several keys its SVM.
        """
        found = await self._store.read_few(lambda tx: require_manager_of_keys(tx, call, key_manager))
        return found.svm or call.scope

    async def key_servers(self, call: Call, key_manager: str) -> dict[str, str]:
        """Return the addresses of a key manager's servers by uuid, detached ones last.

        Raises 4 (404) if the call does not see the key manager. Called when unclaimed objects are listed, to show their
        servers.
        """

        def read(tx: Rows) -> dict[str, str]:
            return _addresses(tx, require_key_manager(tx, call, key_manager).uuid)

        return await self._store.read(read)

    async def page(
        self,
        call: Call,
        key_manager: str,
        page: Page,
        key_type: KeyType,
        states: Collection[KeyState] = NOT_ABORTED,
    ) -> tuple[KeyView, ...]:
        """Return a page of a key manager's keys of one type and in these states, by key id.

        Raises 4 (404) if the call may not use the key manager.
        """

        def read(tx: Rows) -> tuple[KeyView, ...]:
            manager = require_manager_of_keys(tx, call, key_manager)
            keys = call.within(page.within(key_manager=key_manager, key_type=key_type.value))
            return views(tx, call, manager, tx.page(Key, among(keys, states)), page.wanted)

        return await self._store.read(read)

    async def get(
        self,
        call: Call,
        key_manager: str,
        key_id: str,
        key_type: KeyType,
        wanted: Wanted = frozenset(),
        states: Collection[KeyState] = NOT_ABORTED,
    ) -> KeyView:
        """Return one key of this type and in one of these states.

        Raises 4 (404) if there is none: the target is ``uuid`` for the key manager, ``key_id`` for the key. Called to
        show a key, and to check that a key exists before it is recovered or retired. A commit proves that there is
        none.
        """

        def read(tx: Rows) -> KeyView | None:
            manager = require_manager_of_keys(tx, call, key_manager)
            key = tx.key_by_id(key_manager, key_id, within=call.within_svm)
            if key is None or key.key_type is not key_type or key.state not in states:
                return None
            return views(tx, call, manager, (key,), wanted)[0]

        found = await self._store.read(read) or await read_proven(self._store, self._node, read)
        if found is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
        return found

    async def node_keys(self, call: Call, key_manager: str, node: str, page: Page) -> tuple[NodeKeyView, ...]:
        """Return a page of a key manager's committed keys of all types, by key id: for each, if a node can read it.

        ``node`` is the node's uuid. Raises 65537125 (400) if there is no such key manager, 4 (404) if there is no such
        node.
        """

        def read(tx: Rows) -> tuple[NodeKeyView, ...]:
            manager, of_node = _require_manager_and_node(tx, call, key_manager, node)
            keys = call.within(among(page.within(key_manager=key_manager), COMMITTED_ONLY))
            return self._node_views(tx, call, manager, tx.page(Key, keys), of_node)

        return await self._store.read(read)

    async def node_key(self, call: Call, key_manager: str, node: str, key_id: str) -> NodeKeyView:
        """Return one committed key of a key manager, and if a node (uuid) can read it.

        Raises 65537125 (400) if there is no such key manager. Raises 4 (404) if there is no such node, or no committed
        key with this id that the call sees.
        """

        def read(tx: Rows) -> NodeKeyView:
            manager, of_node = _require_manager_and_node(tx, call, key_manager, node)
            key = tx.key_by_id(key_manager, key_id, within=call.within_svm)
            if key is None or key.state not in COMMITTED_ONLY:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
            return self._node_views(tx, call, manager, (key,), of_node)[0]

        return await self._store.read(read)

    def _node_views(
        self, tx: Rows, call: Call, key_manager: KeyManager, keys: Sequence[Key], node: Node
    ) -> tuple[NodeKeyView, ...]:
        """Return a view of each key that says whether ``node`` can read it.

        If ``node`` is this node, its memory counts. The memory of another node is unknown here: only its servers and
        the copies there count. Called for one key, and for a page of keys.
        """
        held = self._held if node.uuid == self._node else _never_held
        found = key_ids(tx, call, key_manager, keys, node.uuid, held)
        return tuple(NodeKeyView(each, key_manager, node) for each in found)

    async def check_volume_key(self, call: Call, key_manager: str, key_id: str) -> None:
        """Raise 4 (404) unless this is the id of a volume key that the call may use.

        Called before a volume key is retired or recovered.
        """
        await self.get(call, key_manager, key_id, KeyType.VEK)

    async def check_authentication_key(self, call: Call, key_manager: str, key_id: str) -> None:
        """Raise 65536860 if this is the id of a volume key. An unknown key id raises nothing.

        Called before an authentication key is retired. Retiring then raises 4 (404) for an unknown key id.
        """
        found = await self._store.read_few(lambda tx: tx.key_by_id(key_manager, key_id, within=call.within_svm))
        if found is not None and found.key_type is not KeyType.NSE_AK:
            raise OntapError(errors.NOT_AN_AUTH_KEY, target="key_id")

    async def check_clusters(self, call: Call, key_manager: str) -> None:
        """Raise unless this is the cluster's key manager and it is enabled: only that one has authentication keys.

        Raises 4 (404) for a key manager that the call does not see. Called before each request about authentication
        keys.
        """
        await self._store.read_few(lambda tx: _check_cluster_key_manager(tx, call, key_manager))


def _require_manager_and_node(tx: Rows, call: Call, key_manager: str, node: str) -> tuple[KeyManager, Node]:
    """Return the key manager and the node (uuid) of a ``key-ids`` request.

    Raises 65537125 (400) if the call may not use the key manager, and 4 (404) if there is no such node.
    """
    try:
        found = require_manager_of_keys(tx, call, key_manager)
    except OntapError:
        raise OntapError(errors.NOT_A_KEY_MANAGER, target="uuid") from None
    of_node = next((each for each in tx.nodes() if each.uuid == node), None)
    if of_node is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="node_uuid")
    return found, of_node


def _never_held(_: Key) -> bool:
    """Return False for every key, because the memory of another node is not known here.

    Used instead of :attr:`Keys._held` if a call asks about another node.
    """
    return False


def _check_cluster_key_manager(tx: KeyManagerRows, call: Call, key_manager: str) -> None:
    """Raise unless this is the cluster's key manager and it is enabled.

    For the key manager of an SVM, the error says whether the cluster has an enabled key manager. A call within an SVM
    is always told that it has one.
    """
    found = require_key_manager(tx, call, key_manager)
    if found.svm is not None:
        cluster_has_one = call.scope is not None or any(each.svm is None for each in tx.enabled_key_managers([]))
        raise OntapError(errors.NOT_CLUSTERS_KEY_MANAGER if cluster_has_one else errors.NO_CLUSTER_KEY_MANAGER)
    if not found.enabled:
        raise OntapError(errors.NOT_ENABLED)


def among(page: Page, states: Iterable[KeyState]) -> Page:
    """Return the query of a page, limited to keys in these states. Nothing is read."""
    clause = tuple(Condition("state", Op.EQUAL, state.value) for state in states)
    return replace(page, where=(*page.where, clause))


def views(tx: Rows, call: Call, key_manager: KeyManager, keys: Sequence[Key], wanted: Wanted) -> tuple[KeyView, ...]:
    """Return a view of each key. Copies and receipts are read only if ``wanted`` names fields of them.

    They name key servers. So they are left out if the call does not see the key manager. Copies of aborted attempts are
    always left out. Called for a page of keys and for one key.
    """
    incarnation = incarnation_of(tx)
    shown = [KeyView(key, purge_waits_for=purge_waits_for(key, incarnation)) for key in keys]
    about = {part for part in ("copies", "receipts") if any(name.startswith(f"{part}.") for name in wanted)}
    if not about or not keys or not call.sees(key_manager.svm):
        return tuple(shown)
    uuids = [key.uuid for key in keys]
    addresses = _addresses(tx, key_manager.uuid)
    detached = {each.server.uuid for each in tx.detached_key_servers(key_manager.uuid)}
    standing = without_aborted(tx.copies(uuids), tx.attempts(uuids)) if "copies" in about else ()
    copies = _by_key(standing, addresses, detached)
    receipts = _by_key(tx.receipts(uuids), addresses, detached) if "receipts" in about else {}
    return tuple(
        replace(view, copies=copies.get(view.key.uuid, ()), receipts=receipts.get(view.key.uuid, ())) for view in shown
    )


def _addresses(tx: Rows, key_manager: str) -> dict[str, str]:
    """Return the addresses of a key manager's servers by uuid, in their order, then those of detached servers."""
    detached = (each.server for each in tx.detached_key_servers(key_manager))
    return {server.uuid: str(server.address) for server in (*tx.key_servers(key_manager), *detached)}


def _by_key(
    found: Iterable[Copy | Receipt], addresses: Mapping[str, str], detached: Collection[str]
) -> dict[str, tuple[CopyView, ...]]:
    """Group copies or receipts by key (uuid), in the order of ``addresses``.

    Those on a server without an address come last. Their address is empty.
    """
    by_key: dict[str, list[CopyView]] = {}
    places = {server: place for place, server in enumerate(addresses)}
    for each in sorted(found, key=lambda each: places.get(each.key_server, len(places))):
        view = CopyView(each, addresses.get(each.key_server, ""), each.key_server in detached)
        by_key.setdefault(each.key, []).append(view)
    return {key: tuple(copies) for key, copies in by_key.items()}
