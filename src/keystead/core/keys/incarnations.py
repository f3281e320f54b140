"""Incarnations: when a database is not the one that was served before, and so begins a new incarnation. Pure.

A database that was restored, cloned, or promoted from a replica may lack keys that were acknowledged. The former
database may still be in use. So objects of another incarnation are never destroyed. A new incarnation destroys nothing
until an operator confirms that this database is the only one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.keys.model import Incarnation

if TYPE_CHECKING:
    from datetime import datetime

VOUCHING_FOR: Final = timedelta(minutes=3)
"""How long nodes may take to vouch for a promoted database: the time of a restart, and of some looks."""

SEEN: Final = 64
"""How many incarnations a data directory remembers, the newest ones."""


class Reason(StrEnum):
    """Why an incarnation began."""

    RESTORED = "restored"
    CLONED = "cloned"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class Storage:
    """The place of a database. ``identity`` tells databases apart; ``branch`` tells histories of one database apart.

    SQLite: the id of the place, and the file. PostgreSQL: system identifier with database, and the timeline.
    """

    engine: str
    identity: str
    branch: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.identity}:{self.branch}"


@dataclass(frozen=True, slots=True)
class Witness:
    """What a node's data directory remembers of its database, outside of the database.

    ``epoch`` grows together with the node's row. The row is written first, so that its epoch is never lower than the
    one here, except in a database that is older than this node has seen. ``seen`` are the incarnations that this node
    served.
    """

    epoch: int = 0
    seen: tuple[str, ...] = ()

    def after(self, epoch: int, incarnation: str) -> Witness:
        """Return what the data directory remembers after this epoch and incarnation. The caller writes it there.

        Called at the end of each check for a new incarnation.
        """
        seen = self.seen if incarnation in self.seen else (*self.seen, incarnation)[-SEEN:]
        return Witness(epoch, seen)


def plan_begin(
    current: Incarnation,
    storage: Storage,
    epoch: int,
    witness: Witness,
    uuid: str,
    now: datetime,
    lost: int | None = None,
) -> Incarnation:
    """Return the incarnation of a database that is at ``storage``, given this node's ``epoch`` in it.

    That is the current incarnation (with its place added if it had none), or a new one that may not destroy. ``uuid``
    and ``now`` are for a new one. ``lost`` is how many audit records this process wrote that the database lacks; None
    if it cannot tell. A promoted database that lacks none stays in its incarnation, if all nodes find the same within
    :data:`VOUCHING_FOR`. Until then it destroys nothing. Called when a node starts, and every time it checks for a
    restored, cloned or promoted database.
    """
    reason = _reason(current, storage, epoch, witness, lost)
    if reason is Reason.PROMOTED and lost == 0 and _may_vouch(current, storage, now):
        since = current.vouching_since if current.vouching == str(storage) else now
        return replace(current, destroys=False, vouching=str(storage), vouching_since=since)
    if reason is not None:
        return next_incarnation(current, reason, str(storage), uuid, now)
    return current if current.storage else replace(current, storage=str(storage))


def vouched(current: Incarnation) -> Incarnation:
    """Return an incarnation for whose promoted database all nodes vouched: it goes on there as before."""
    return replace(current, destroys=True, storage=current.vouching, vouching="", vouching_since=None)


def _may_vouch(current: Incarnation, storage: Storage, now: datetime) -> bool:
    """Return True unless destruction is held anyway, or the nodes have had their time."""
    if current.vouching != str(storage):
        return current.destroys or bool(current.vouching)
    return current.vouching_since is None or now - current.vouching_since <= VOUCHING_FOR


def next_incarnation(current: Incarnation, reason: Reason, storage: str, uuid: str, now: datetime) -> Incarnation:
    """Return the incarnation that follows the current one. It may not destroy. The caller stores it.

    Called when a node notices another database, when a clone is found, and when a backup is restored.
    """
    return Incarnation(uuid, current.number + 1, now, reason.value, storage, destroys=False)


def _reason(current: Incarnation, storage: Storage, epoch: int, witness: Witness, lost: int | None) -> Reason | None:
    """Return why the database is not the one that was served, or None if it is.

    An epoch lower than the remembered one means that the database was restored, and lost audit records that it lacks
    its last commits. Both count only if this node knows the current incarnation. Otherwise a new incarnation has begun
    already, because another node noticed.
    """
    known = current.uuid in witness.seen
    if epoch < witness.epoch and known:
        return Reason.RESTORED
    if lost and known:
        return Reason.PROMOTED if storage.engine == "postgresql" else Reason.RESTORED
    if not current.storage or current.storage == str(storage):
        return None
    if current.storage.split(":")[:2] != [storage.engine, storage.identity]:
        return Reason.CLONED
    return Reason.PROMOTED if storage.engine == "postgresql" else Reason.RESTORED
