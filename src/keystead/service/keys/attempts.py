"""Attempts in transactions: store the intent before the first packet, and end the attempt once, by compare-and-set.

All functions work in the caller's transaction. Before a caller ends an attempt, it locks the key manager and then the
key. No function here destroys objects.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.destroying import NOT_WRITTEN
from keystead.core.keys.model import Attempt, AttemptState, Copy, Presence, Receipt
from keystead.core.keys.writing import still_counts, unknown_objects, with_new_state
from keystead.service.keys.topology import load_topology
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, ReceiptRows, TopologyRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Key, Purpose
    from keystead.core.model import KeyManager
    from keystead.service.keys.topology import ServerTopology

EXPIRES: Final = timedelta(seconds=120)
"""How long an attempt is valid. After that time other processes may abort it.

It is longer than an attempt can take, and longer than the clocks of nodes differ.
"""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, ReceiptRows, Protocol):
    """The rows that this module reads and writes."""


def begin(
    tx: Rows,
    key: Key,
    number: int,
    purpose: Purpose,
    topology: ServerTopology,
    key_servers: Iterable[str],
    node: str,
    now: datetime,
) -> Attempt:
    """Store a pending attempt to write a key to these servers (uuids), and one ``sent`` copy for each server.

    Called before anything is sent, to create a key or to copy it. Register may be sent once the transaction commits.
    Return the attempt; it expires after :data:`EXPIRES`.
    """
    attempt = Attempt(
        key=key.uuid,
        number=number,
        purpose=purpose,
        incarnation=topology.incarnation.uuid,
        token=secrets.token_hex(16),
        node=node,
        state=AttemptState.PENDING,
        began=now,
        expires=now + EXPIRES,
    )
    tx.add_attempt(attempt)
    tx.put_copies([Copy(key.uuid, number, server, Presence.SENT) for server in key_servers], new=True)
    return attempt


def add_copy_row(tx: Rows, attempt: Attempt, copy: Copy) -> bool:
    """Store the row of one more copy, if the attempt is still pending. Return False if it is not.

    After False, the copy must not be sent. If the row exists already, nothing is stored and the answer is True. Locks
    the key. Called before a copy is sent to a secondary.
    """
    tx.lock_key(attempt.key)
    now = next((found for found in tx.attempts([attempt.key]) if found.number == attempt.number), None)
    if now is None or now.state is not AttemptState.PENDING:
        return False
    place = copy.attempt, copy.key_server, copy.host
    if all((known.attempt, known.key_server, known.host) != place for known in tx.copies([attempt.key])):
        tx.put_copies([copy], new=True)
    return True


def lock_current(tx: Rows, key: Key) -> tuple[KeyManager, ServerTopology, Key]:
    """Lock the key manager, then the key. Return the key manager, its topology and the key as they are now.

    Called before the intent to copy a key is stored, and before an attempt is ended. Raises StoreError if the key
    manager or the key was deleted.
    """
    manager = tx.key_manager(key.key_manager, lock=True)
    now = tx.key(key.uuid, lock=True)
    if manager is None or now is None:
        raise StoreError(f"key {key.uuid} was deleted while it was written")
    return manager, load_topology(tx, manager), now


def same_identity(then: ServerTopology, now: ServerTopology) -> bool:
    """Return True if both topologies have the same incarnation and the same client certificate.

    Called before an attempt is committed, and before a change of copies is stored. If False, what was written or seen
    meanwhile does not count: key servers tie objects to the client certificate that made them.
    """
    return (
        then.incarnation.uuid == now.incarnation.uuid
        and then.key_manager.client_certificate == now.key_manager.client_certificate
    )


def still_configured(copies: Iterable[Copy], then: ServerTopology, now: ServerTopology) -> bool:
    """Return True if incarnation and client certificate are the same, and each copy's address is configured as it was.

    See :func:`same_identity` and :func:`still_counts`. Called before copies of an adopted or imported key are stored.
    They were read while the topology was ``then``.
    """
    before, after = ({server.uuid: server for server in topology.servers} for topology in (then, now))
    return same_identity(then, now) and all(still_counts(copy, before, after) for copy in copies)


def end(tx: Rows, attempt: Attempt, copies: Sequence[Copy], now: datetime, *, committed: bool) -> bool:
    """Commit or abort a pending attempt, and store its copies. Return False if the attempt was ended already.

    In that case only Unique Identifiers that the database lacks are stored, so that the objects can be destroyed.
    Called by the writer, when all servers of the attempt were written to, or the time was over. It knows which copies
    are not on their servers: each gets a receipt, so that the key's purge need not wait for it.
    """
    if tx.end_attempt(attempt, AttemptState.COMMITTED if committed else AttemptState.ABORTED):
        tx.put_copies(copies, new=False)
        tx.add_receipts([_not_written(copy, attempt, now) for copy in copies if copy.presence is Presence.MISSING])
        return True
    stored = [copy for copy in tx.copies([attempt.key]) if copy.attempt == attempt.number]
    tx.put_copies(unknown_objects(stored, copies), new=False)
    return False


def _not_written(copy: Copy, attempt: Attempt, now: datetime) -> Receipt:
    return Receipt(
        copy.key, copy.attempt, copy.key_server, copy.host, "", NOT_WRITTEN, now, attempt.incarnation, attempt.node
    )


def note_states(tx: Rows, key: Key, copies: Sequence[Copy]) -> None:
    """Store the State and the descriptor of copies. Locks the key.

    A copy whose presence or identifiers have changed meanwhile is left out. Called after an attempt was committed, when
    its copies were activated and got their descriptors.
    """
    tx.lock_key(key.uuid)
    tx.put_copies(with_new_state(tx.copies([key.uuid]), copies), new=False)
