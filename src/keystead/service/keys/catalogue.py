"""Use cases of keys that only look: list and read what is known of them and of their copies. Never material."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.model import Copy, Key, KeyState, KeyType, Receipt
from keystead.core.query.where import Condition, Op
from keystead.service.keys.access import require_manager_of_keys
from keystead.service.keys.ids import KeyIdView, key_ids
from keystead.service.loading import require_key_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from keystead.core.model import KeyManager, Node, Svm
    from keystead.core.query.query import Wanted
    from keystead.service.context import Call
    from keystead.service.ports.store import Page, Store, Transaction

SHOWN = tuple(state for state in KeyState if state is not KeyState.ABORTED)
"""States in which there is a key to show. One whose creation failed was never there."""

ACKNOWLEDGED = (KeyState.COMMITTED,)
"""States that ONTAP's own resources know: a key is there, or it is not."""


@dataclass(frozen=True, slots=True)
class CopyView:
    """A copy, or a receipt for one, with the primary's address; ``server`` is empty once that is forgotten.

    ``detached``: that server was removed.
    """

    of: Copy | Receipt
    server: str
    detached: bool


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key with its copies and receipts, as far as they are wanted and the call may see them."""

    key: Key
    copies: tuple[CopyView, ...] = ()
    receipts: tuple[CopyView, ...] = ()


class NodeKeyView(NamedTuple):
    """A key id of a key manager, as a node has it."""

    id: KeyIdView
    key_manager: KeyManager
    node: Node


class Keys:
    """The keys of key managers. Those of a call's SVM only, whatever else the key manager keeps."""

    def __init__(self, store: Store, held: Callable[[Key], bool], node: str) -> None:
        """``held`` tells whether this node has a key in memory."""
        self._store = store
        self._held = held
        self._node = node

    async def owner(self, call: Call, key_manager: str) -> Svm | None:
        """Return the SVM that work with a key manager's keys is about, None for the cluster; 4 (404) for none such."""
        found = await self._store.glance(lambda tx: require_manager_of_keys(tx, call, key_manager))
        return found.svm or call.scope

    async def key_servers(self, call: Call, key_manager: str) -> dict[str, str]:
        """Return the addresses of a key manager's servers by uuid, of removed ones too, to those who see it."""

        def read(tx: Transaction) -> dict[str, str]:
            return _addresses(tx, require_key_manager(tx, call, key_manager).uuid)

        return await self._store.read(read)

    async def page(
        self,
        call: Call,
        key_manager: str,
        page: Page,
        key_type: KeyType,
        states: Collection[KeyState] = SHOWN,
    ) -> tuple[KeyView, ...]:
        """Return a slice of a key manager's keys, by key id."""

        def read(tx: Transaction) -> tuple[KeyView, ...]:
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
        states: Collection[KeyState] = SHOWN,
    ) -> KeyView:
        """Return one key, or raise 4 (404) with the target ``uuid`` or ``key_id``."""

        def read(tx: Transaction) -> KeyView:
            manager = require_manager_of_keys(tx, call, key_manager)
            key = tx.key_by_id(key_manager, key_id, within=call.within_svm)
            if key is None or key.key_type is not key_type or key.state not in states:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
            return views(tx, call, manager, (key,), wanted)[0]

        return await self._store.read(read)

    async def key_ids(self, call: Call, key_manager: str, node: str, page: Page) -> tuple[NodeKeyView, ...]:
        """Return a slice of the keys of all types that are there, by key id, as a node (uuid) has them.

        Raises 65537125 for what is no key manager, 4 (404) for what is no node.
        """

        def read(tx: Transaction) -> tuple[NodeKeyView, ...]:
            manager, of_node = _of_key_ids(tx, call, key_manager, node)
            keys = call.within(among(page.within(key_manager=key_manager), ACKNOWLEDGED))
            return self._as_ids(tx, call, manager, tx.page(Key, keys), of_node)

        return await self._store.read(read)

    async def key_id(self, call: Call, key_manager: str, node: str, key_id: str) -> NodeKeyView:
        """Return one of them; 4 (404), too, for what is no such key."""

        def read(tx: Transaction) -> NodeKeyView:
            manager, of_node = _of_key_ids(tx, call, key_manager, node)
            key = tx.key_by_id(key_manager, key_id, within=call.within_svm)
            if key is None or key.state not in ACKNOWLEDGED:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
            return self._as_ids(tx, call, manager, (key,), of_node)[0]

        return await self._store.read(read)

    def _as_ids(
        self, tx: Transaction, call: Call, key_manager: KeyManager, keys: Sequence[Key], node: Node
    ) -> tuple[NodeKeyView, ...]:
        held = self._held if node.uuid == self._node else _nothing
        found = key_ids(tx, call, key_manager, keys, node.uuid, held)
        return tuple(NodeKeyView(each, key_manager, node) for each in found)

    async def check_volume_key(self, call: Call, key_manager: str, key_id: str) -> None:
        """Raise 4 (404) for what is no key of a volume."""
        await self.get(call, key_manager, key_id, KeyType.VEK)

    async def check_authentication_key(self, call: Call, key_manager: str, key_id: str) -> None:
        """Raise 65536860 for a volume's key."""
        found = await self._store.glance(lambda tx: tx.key_by_id(key_manager, key_id, within=call.within_svm))
        if found is not None and found.key_type is not KeyType.NSE_AK:
            raise OntapError(errors.NOT_AN_AUTH_KEY, target="key_id")

    async def check_clusters(self, call: Call, key_manager: str) -> None:
        """Raise what forbids authentication keys in a key manager: they are in the cluster's, which is in use."""
        await self._store.glance(lambda tx: _check_clusters(tx, call, key_manager))


def _of_key_ids(tx: Transaction, call: Call, key_manager: str, node: str) -> tuple[KeyManager, Node]:
    """The key manager, and a node that there is; or what ``key-ids`` answers where there is none."""
    try:
        found = require_manager_of_keys(tx, call, key_manager)
    except OntapError:
        raise OntapError(errors.NOT_A_KEY_MANAGER, target="uuid") from None
    of_node = next((each for each in tx.nodes() if each.uuid == node), None)
    if of_node is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="node_uuid")
    return found, of_node


def _nothing(_: Key) -> bool:
    """What another node has in its memory is not known here."""
    return False


def _check_clusters(tx: Transaction, call: Call, key_manager: str) -> None:
    found = require_key_manager(tx, call, key_manager)
    if found.svm is not None:
        cluster_has_one = call.scope is not None or any(each.svm is None for each in tx.enabled_key_managers([]))
        raise OntapError(errors.NOT_CLUSTERS_KEY_MANAGER if cluster_has_one else errors.NO_CLUSTER_KEY_MANAGER)
    if not found.enabled:
        raise OntapError(errors.NOT_ENABLED)


def among(page: Page, states: Iterable[KeyState]) -> Page:
    """The part of a list of keys that is in one of these states."""
    clause = tuple(Condition("state", Op.EQUAL, state.value) for state in states)
    return replace(page, where=(*page.where, clause))


def views(
    tx: Transaction, call: Call, key_manager: KeyManager, keys: Sequence[Key], wanted: Wanted
) -> tuple[KeyView, ...]:
    """Keys with what is wanted of them. Key servers are named to those who see the key manager."""
    about = {part for part in ("copies", "receipts") if any(name.startswith(f"{part}.") for name in wanted)}
    if not about or not keys or not call.sees(key_manager.svm):
        return tuple(map(KeyView, keys))
    uuids = [key.uuid for key in keys]
    addresses = _addresses(tx, key_manager.uuid)
    detached = {each.server.uuid for each in tx.detached_key_servers(key_manager.uuid)}
    standing = without_aborted(tx.copies(uuids), tx.attempts(uuids)) if "copies" in about else ()
    copies = _by_key(standing, addresses, detached)
    receipts = _by_key(tx.receipts(uuids), addresses, detached) if "receipts" in about else {}
    return tuple(KeyView(key, copies.get(key.uuid, ()), receipts.get(key.uuid, ())) for key in keys)


def _addresses(tx: Transaction, key_manager: str) -> dict[str, str]:
    """The addresses of a key manager's servers by uuid, in their order; then of those that were removed of late."""
    detached = (each.server for each in tx.detached_key_servers(key_manager))
    return {server.uuid: str(server.address) for server in (*tx.key_servers(key_manager), *detached)}


def _by_key(
    found: Iterable[Copy | Receipt], addresses: Mapping[str, str], detached: Collection[str]
) -> dict[str, tuple[CopyView, ...]]:
    """Group by key, in the order of the servers."""
    by_key: dict[str, list[CopyView]] = {}
    places = {server: place for place, server in enumerate(addresses)}
    for each in sorted(found, key=lambda each: places.get(each.key_server, len(places))):
        view = CopyView(each, addresses.get(each.key_server, ""), each.key_server in detached)
        by_key.setdefault(each.key, []).append(view)
    return {key: tuple(copies) for key, copies in by_key.items()}
