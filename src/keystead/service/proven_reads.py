"""Reads of rows that a commit proves to be those of the primary.

A former primary of PostgreSQL that is cut off from its standbys answers reads with old rows, and commits nothing. So a
caller is told that a key is absent or not readable only after a read in a transaction that committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from keystead.service.ports.store import AWAY, OutcomeUnknown, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports.cluster import NodeRows
    from keystead.service.ports.store import Store

T = TypeVar("T")
RowsT = TypeVar("RowsT", bound="NodeRows")


async def read_proven(store: Store[RowsT], node: str, work: Callable[[RowsT], T]) -> T:
    """Read rows in a transaction that commits. ``node`` is the uuid of this node, whose row it updates.

    Raises StorageError if the transaction may not have committed, and what else ``Store.write`` raises.
    """

    def read(tx: RowsT) -> T:
        tx.touch_node(node)
        return work(tx)

    try:
        return await store.write(read)
    except OutcomeUnknown as failure:
        raise StorageError(str(failure), AWAY) from None
