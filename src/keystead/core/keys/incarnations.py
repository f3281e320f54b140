"""Lives of a database: when a database is another than the one that was served, and so begins a new incarnation.

Pure. A database that was restored from a backup, cloned, or promoted from a replica may lack what the former one has
acknowledged, and the former one may go on to live: what was written by another incarnation is never destroyed, and
nothing is until an operator says that this one is the only one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.keys.model import Incarnation

if TYPE_CHECKING:
    from datetime import datetime

SEEN: Final = 64
"""Incarnations that a data directory remembers at most, the newest."""


class Reason(StrEnum):
    """Why an incarnation began."""

    RESTORED = "restored"
    CLONED = "cloned"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a database stands. ``identity`` tells databases apart; ``branch`` the ways that one of them has taken.

    SQLite: the id of its place, and the file there. PostgreSQL: system identifier and database, and timeline.
    """

    engine: str
    identity: str
    branch: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.identity}:{self.branch}"


@dataclass(frozen=True, slots=True)
class Witness:
    """What a node's data directory remembers of its database, outside of it: how far it has come.

    ``epoch`` grows with the row of the node: the row is written first, so it is never behind, but in a database that is
    older than what this node has seen. ``seen`` are incarnations that this node has served.
    """

    epoch: int = 0
    seen: tuple[str, ...] = ()

    def after(self, epoch: int, incarnation: str) -> Witness:
        """What it remembers from then on."""
        seen = self.seen if incarnation in self.seen else (*self.seen, incarnation)[-SEEN:]
        return Witness(epoch, seen)


def plan_begin(
    current: Incarnation, storage: Storage, epoch: int, witness: Witness, uuid: str, now: datetime
) -> Incarnation:
    """The incarnation that a database is in when it stands in ``storage`` and says that a node's epoch is ``epoch``.

    The current one, also with its place noted when it had none yet; or a new one that may not destroy.
    """
    reason = _reason(current, storage, epoch, witness)
    if reason is not None:
        return begun(current, reason, str(storage), uuid, now)
    return current if current.storage else replace(current, storage=str(storage))


def begun(current: Incarnation, reason: Reason, storage: str, uuid: str, now: datetime) -> Incarnation:
    """The incarnation after the current one."""
    return Incarnation(uuid, current.number + 1, now, reason.value, storage, destroys=False)


def _reason(current: Incarnation, storage: Storage, epoch: int, witness: Witness) -> Reason | None:
    """Why a new incarnation begins, if it does.

    That a node remembers more than its row says means nothing once an incarnation began that it does not know:
    somebody else has noticed.
    """
    if epoch < witness.epoch and current.uuid in witness.seen:
        return Reason.RESTORED
    if not current.storage or current.storage == str(storage):
        return None
    if current.storage.split(":")[:2] != [storage.engine, storage.identity]:
        return Reason.CLONED
    return Reason.PROMOTED if storage.engine == "postgresql" else Reason.RESTORED
