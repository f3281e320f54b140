"""Use cases of keys that only look: list and read what is known of them and of their copies. Never material."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Copy, Key, KeyState, Receipt
from keystead.core.query_where import Condition, Op
from keystead.service.key_access import require_manager_of_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.model import KeyType
    from keystead.core.model import KeyManager
    from keystead.core.query import Wanted
    from keystead.service.context import Call
    from keystead.service.ports import Page, Store, Transaction

SHOWN = tuple(state for state in KeyState if state is not KeyState.ABORTED)
"""States in which there is a key to show. One whose creation failed was never there."""

ACKNOWLEDGED = (KeyState.COMMITTED,)
"""States that ONTAP's own resources know: a key is there, or it is not."""


@dataclass(frozen=True, slots=True)
class CopyView:
    """A copy, or a receipt for one, with the primary's address; ``server`` is empty once that is forgotten."""

    of: Copy | Receipt
    server: str


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key with its copies and receipts, as far as they are wanted and the call may see them."""

    key: Key
    copies: tuple[CopyView, ...] = ()
    receipts: tuple[CopyView, ...] = ()


class Keys:
    """The keys of key managers. Those of a call's SVM only, whatever else the key manager keeps."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
    copies = _by_key(_standing(tx, uuids), addresses) if "copies" in about else {}
    receipts = _by_key(tx.receipts(uuids), addresses) if "receipts" in about else {}
    return tuple(KeyView(key, copies.get(key.uuid, ()), receipts.get(key.uuid, ())) for key in keys)


def _standing(tx: Transaction, keys: Sequence[str]) -> list[Copy]:
    """The copies of keys but for what attempts left that came to nothing: that counts for no key."""
    aborted = {(each.key, each.number) for each in tx.attempts(keys) if each.state is AttemptState.ABORTED}
    return [copy for copy in tx.copies(keys) if (copy.key, copy.attempt) not in aborted]


def _addresses(tx: Transaction, key_manager: str) -> dict[str, str]:
    """The addresses of a key manager's servers by uuid, of those too that were removed and are not forgotten."""
    detached = (each.server for each in tx.detached_key_servers(key_manager))
    return {server.uuid: str(server.address) for server in (*detached, *tx.key_servers(key_manager))}


def _by_key(found: Iterable[Copy | Receipt], addresses: Mapping[str, str]) -> dict[str, tuple[CopyView, ...]]:
    by_key: dict[str, list[CopyView]] = {}
    for each in found:
        by_key.setdefault(each.key, []).append(CopyView(each, addresses.get(each.key_server, "")))
    return {key: tuple(copies) for key, copies in by_key.items()}
