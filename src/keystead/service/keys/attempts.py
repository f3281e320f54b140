"""Attempts in transactions: store the intent before the first packet, and end the attempt once, by compare-and-set.

All functions work in the caller's transaction. Before a caller ends an attempt, it locks the key manager and then the
key. No function here destroys objects.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.model import Attempt, AttemptState, Copy, Presence
from keystead.core.keys.writing import still_counts, unknown_objects, with_new_state
from keystead.service.keys.topology import load_topology
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, TopologyRows
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


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, Protocol):
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
    """Store the intent to write a key to these servers (uuids). Register may be sent once the transaction commits."""
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
    """Store the row of one more copy if the attempt is still pending. Return True if the attempt is pending.

    It locks the key. A second call for the same copy changes nothing.
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

    Raises StoreError if the key manager or the key was deleted.
    """
    manager = tx.key_manager(key.key_manager, lock=True)
    now = tx.key(key.uuid, lock=True)
    if manager is None or now is None:
        raise StoreError(f"key {key.uuid} was deleted while it was written")
    return manager, load_topology(tx, manager), now


def same_identity(then: ServerTopology, now: ServerTopology) -> bool:
    """Return True if the incarnation and the client certificate are the same.

    The certificate matters because key servers tie objects to the client certificate that made them.
    """
    return (
        then.incarnation.uuid == now.incarnation.uuid
        and then.key_manager.client_certificate == now.key_manager.client_certificate
    )


def still_configured(copies: Iterable[Copy], then: ServerTopology, now: ServerTopology) -> bool:
    """Return True if :func:`same_identity` holds and each copy is at an address that is configured as it was."""
    before, after = ({server.uuid: server for server in topology.servers} for topology in (then, now))
    return same_identity(then, now) and all(still_counts(copy, before, after) for copy in copies)


def end(tx: Rows, attempt: Attempt, copies: Sequence[Copy], *, committed: bool) -> bool:
    """End an attempt and store its copies. Return False if another process has ended the attempt already.

    In that case only Unique Identifiers that the database lacks are stored, so that the objects can be destroyed.
    """
    if tx.end_attempt(attempt, AttemptState.COMMITTED if committed else AttemptState.ABORTED):
        tx.put_copies(copies, new=False)
        return True
    stored = [copy for copy in tx.copies([attempt.key]) if copy.attempt == attempt.number]
    tx.put_copies(unknown_objects(stored, copies), new=False)
    return False


def note_states(tx: Rows, key: Key, copies: Sequence[Copy]) -> None:
    """Store State and descriptor of copies if presence and identifiers are still the same. It locks the key."""
    tx.lock_key(key.uuid)
    tx.put_copies(with_new_state(tx.copies([key.uuid]), copies), new=False)
