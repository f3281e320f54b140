"""Ending keys: what may be destroyed, in which steps, and when that is over.

Pure. The one place that says that an object may be destroyed is :func:`may_destroy`; whoever is about to asks it with
rows of the transaction that permits it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.names import ObjectKind, object_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from keystead.core.keys.model import Attempt, Copy, Incarnation, Key
    from keystead.core.keys.names import ObjectName

WINDOW: Final = timedelta(days=7)
"""How long a retired key can be recovered."""

LATE: Final = timedelta(hours=1)
"""How long after an attempt's time its Register may still arrive: until then, what is not found is not absent."""

ENDING: Final = (KeyState.PURGING, KeyState.PURGED)

ACTIVE: Final = "Active"
PRE_ACTIVE: Final = "Pre-Active"
"""KMIP States of an object that was activated, and of one that was not yet."""

REVOKED: Final = "revoked"
DESTROYED: Final = "destroyed"
ABSENT: Final = "absent"
LEFT: Final = "left"
ABANDONED: Final = "abandoned"
"""Actions of receipts."""


# --- retire and recover ---


def plan_retire(key: Key | None, incarnation: Incarnation, now: datetime, window: timedelta) -> Key:
    """The key as it is once it is retired; one that is already, as it is. Raises 4 (404) for one that is none.

    What an earlier incarnation retired is retired anew: there it may have been recovered since.
    """
    if key is None or key.state not in (KeyState.COMMITTED, KeyState.RETIRED):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
    if key.state is KeyState.RETIRED and _retired_in(key, incarnation):
        return key
    return replace(
        key,
        state=KeyState.RETIRED,
        version=key.version + 1,
        retired=now,
        purge_after=now + window,
        retired_in=incarnation.uuid,
        overdue=False,
    )


def plan_recover(key: Key | None, incarnation: Incarnation) -> Key:
    """The key as it is once it is recovered; one in use, as it is. Raises 4 (404) for one whose end has begun.

    That is once the keeper has found that its window has ended, by a clock that it believes: no other clock takes it.
    """
    if key is None or key.state not in (KeyState.COMMITTED, KeyState.RETIRED) or _is_overdue(key, incarnation):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
    if key.state is KeyState.COMMITTED:
        return key
    return replace(
        key,
        state=KeyState.COMMITTED,
        version=key.version + 1,
        retired=None,
        purge_after=None,
        retired_in="",
        overdue=False,
    )


def is_due(key: Key, incarnation: Incarnation, now: datetime) -> bool:
    """Whether a key that this incarnation retired can be recovered no more."""
    due = key.purge_after is not None and key.purge_after <= now
    return key.state is KeyState.RETIRED and due and _retired_in(key, incarnation)


def is_past_recovery(key: Key, incarnation: Incarnation) -> bool:
    """Whether a key that is to be purged holds no key server any more, though that has not begun.

    Its undo has ended by a clock that is believed, and this incarnation may destroy it.
    """
    return incarnation.destroys and key.state is KeyState.RETIRED and _is_overdue(key, incarnation)


def _is_overdue(key: Key, incarnation: Incarnation) -> bool:
    return key.overdue and _retired_in(key, incarnation)


def _retired_in(key: Key, incarnation: Incarnation) -> bool:
    """By its uuid, not by time: a machine on which a database is restored may have another clock."""
    return key.retired_in == incarnation.uuid


def purging(key: Key) -> Key:
    """A retired key whose end begins, or a purged one of which something came back."""
    return replace(key, state=KeyState.PURGING, version=key.version + 1)


def is_over(attempts: Collection[Attempt], copies: Iterable[Copy], incarnation: Incarnation) -> bool:
    """Whether a purging key has come to its end: every copy has, and no attempt can bring another.

    What another incarnation's aborted attempt left is not waited for: this one never ends it.
    """
    never = {attempt.number for attempt in attempts if is_anothers(attempt, incarnation)}
    return all(attempt.state is not AttemptState.PENDING for attempt in attempts) and all(
        copy.presence is Presence.DESTROYED or copy.attempt in never for copy in copies
    )


def is_anothers(attempt: Attempt, incarnation: Incarnation) -> bool:
    """Whether another incarnation aborted an attempt: what it left may be in use by then."""
    return attempt.state is AttemptState.ABORTED and attempt.incarnation != incarnation.uuid


# --- what may be destroyed ---


def may_destroy(key: Key, attempt: Attempt, incarnation: Incarnation) -> bool:
    """Whether the objects that an attempt wrote may be destroyed, now, by this incarnation of the database.

    Nothing while an operator has not released it. Then what an aborted attempt of this incarnation left, and the
    copies of a key whose end has begun: that was past recovering, in whichever incarnation it began. What another
    incarnation's aborted attempt left is unclaimed, and may be another key's by now, whatever became of its own.
    """
    if not incarnation.destroys or is_anothers(attempt, incarnation):
        return False
    return attempt.state is AttemptState.ABORTED or key.state in ENDING


def is_absent(copy: Copy, attempt: Attempt, now: datetime, *, canary: bool) -> bool:
    """Whether a copy of which nothing is found has come to its end.

    The canary must be there, and nothing on its way: a Register whose answer never came may arrive late.
    """
    return canary and (bool(copy.unique_identifiers) or now >= attempt.expires + LATE)


class Step(StrEnum):
    """What is done to an object on its way to its end."""

    REVOKE = "revoke"
    DESTROY = "destroy"


def steps(state: str) -> tuple[Step, ...]:
    """What ends an object in this State (the KMIP name; empty where the server has none); nothing when it has ended."""
    if state in DESTROYED_STATES:
        return ()
    return (Step.REVOKE, Step.DESTROY) if state == ACTIVE else (Step.DESTROY,)


# --- whose an object is ---


class Ownership(StrEnum):
    """What the catalogue says of an object under one of our names that it does not list.

    ``known``: an attempt accounts for it, or it is a canary of this incarnation, or a fence, which keeps no key.
    ``ended``: it ought to be gone, and comes back or late. ``unclaimed``: nothing accounts for it. ``foreign``: it is
    not ours.
    """

    KNOWN = "known"
    ENDED = "ended"
    UNCLAIMED = "unclaimed"
    FOREIGN = "foreign"


def ownership(name: ObjectName | None, key: Key | None, attempt: Attempt | None, incarnation: Incarnation) -> Ownership:
    """Whose an object with this name is. Key and attempt are what the catalogue has under the ids in the name."""
    if name is None:
        return Ownership.FOREIGN
    if name.kind is ObjectKind.EPOCH_MARKER:
        return Ownership.KNOWN
    if name.kind is ObjectKind.CANARY:
        return Ownership.KNOWN if incarnation.uuid.startswith(name.incarnation) else Ownership.UNCLAIMED
    if key is None or attempt is None or replace(name, part=0) != object_name(attempt, name.kind):
        return Ownership.UNCLAIMED
    if attempt.state is AttemptState.ABORTED:
        return Ownership.ENDED if attempt.incarnation == incarnation.uuid else Ownership.UNCLAIMED
    return Ownership.ENDED if key.state in ENDING else Ownership.KNOWN
