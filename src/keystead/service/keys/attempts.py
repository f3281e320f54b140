"""Attempts in transactions: a durable intent before the first packet, and one end, by compare-and-set.

Functions of a transaction. Whoever ends an attempt holds the key manager's lock, then the key's. What an ended attempt
left is not destroyed here.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keystead.core.keys.model import Attempt, AttemptState, Copy, Presence
from keystead.core.keys.writing import brought_up_to_date, still_counts, with_state
from keystead.service.keys.topology import load_topology
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Key, Purpose
    from keystead.core.model import KeyManager
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction

EXPIRES: Final = timedelta(seconds=120)
"""After this an attempt may be aborted by others: more than it can take, and than clocks of nodes differ."""


def begin(
    tx: Transaction,
    key: Key,
    number: int,
    purpose: Purpose,
    topology: ServerTopology,
    key_servers: Iterable[str],
    node: str,
    now: datetime,
) -> Attempt:
    """Store the intent to write a key to these servers (uuids): from its commit on, Register may be sent to them."""
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


def announce(tx: Transaction, attempt: Attempt, copy: Copy) -> bool:
    """Store the row of one more copy if the attempt is still pending; whether it is. Done twice, it is done once."""
    tx.lock_key(attempt.key)
    now = next((found for found in tx.attempts([attempt.key]) if found.number == attempt.number), None)
    if now is None or now.state is not AttemptState.PENDING:
        return False
    place = copy.attempt, copy.key_server, copy.host
    if all((known.attempt, known.key_server, known.host) != place for known in tx.copies([attempt.key])):
        tx.put_copies([copy], new=True)
    return True


def standing(tx: Transaction, key: Key) -> tuple[KeyManager, ServerTopology, Key]:
    """Lock the key manager, then the key; return both as they are now, and where keys are kept now."""
    manager = tx.key_manager(key.key_manager, lock=True)
    now = tx.key(key.uuid, lock=True)
    if manager is None or now is None:
        raise StoreError(f"key {key.uuid} was deleted while it was written")
    return manager, load_topology(tx, manager), now


def unchanged(then: ServerTopology, now: ServerTopology) -> bool:
    """Whether it is still this database's life, and we are the same to the servers, who own by certificate."""
    return (
        then.incarnation.uuid == now.incarnation.uuid
        and then.key_manager.client_certificate == now.key_manager.client_certificate
    )


def count_still(copies: Iterable[Copy], then: ServerTopology, now: ServerTopology) -> bool:
    """Whether copies stand where they were read, and we are still who has read them."""
    before, after = ({server.uuid: server for server in topology.servers} for topology in (then, now))
    return unchanged(then, now) and all(still_counts(copy, before, after) for copy in copies)


def end(tx: Transaction, attempt: Attempt, copies: Sequence[Copy], *, committed: bool) -> bool:
    """End an attempt and store what became of its copies; False when somebody else had ended it.

    Even then objects that nobody else knows of are noted, or nothing would ever clean them up.
    """
    if tx.end_attempt(attempt, AttemptState.COMMITTED if committed else AttemptState.ABORTED):
        tx.put_copies(copies, new=False)
        return True
    stored = [copy for copy in tx.copies([attempt.key]) if copy.attempt == attempt.number]
    tx.put_copies(brought_up_to_date(stored, copies), new=False)
    return False


def note_states(tx: Transaction, key: Key, copies: Sequence[Copy]) -> None:
    """Store that copies were activated and described, as far as they are still what they were."""
    tx.lock_key(key.uuid)
    tx.put_copies(with_state(tx.copies([key.uuid]), copies), new=False)
