"""The rules of destroying keys: what may be destroyed, in which steps, and when it is done. Pure.

Only :func:`may_destroy` decides whether an object may be destroyed. Call it with rows of the transaction that permits
the destruction.
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

    from keystead.core.keys.model import Attempt, Copy, Incarnation, Key, Receipt
    from keystead.core.keys.names import ObjectName

Place = tuple[str, int, str, str]
"""Where a copy is: its key (uuid), its attempt (number), its key server (uuid), and its secondary or empty."""

UNCONFIRMED_KEYS: Final = 10
"""How many keys a call may delete at once without a recovery window and without saying how many."""

LATE_REGISTER: Final = timedelta(hours=1)
"""How long after the end of an attempt its Register may still arrive. Until then a missing object may still appear."""


class PurgeWait(StrEnum):
    """What an operator must do before a retired key is purged."""

    RELEASE = "release"
    """Release destruction."""

    RETIREMENT = "retirement"
    """Retire the key again, because an earlier incarnation retired it."""


ENDING: Final = (KeyState.PURGING, KeyState.PURGED)

ACTIVE: Final = "Active"
PRE_ACTIVE: Final = "Pre-Active"
"""KMIP States of an object that was activated, and of an object that was not activated yet."""

REVOKED: Final = "revoked"
DESTROYED: Final = "destroyed"
ABSENT: Final = "absent"
LEFT: Final = "left"
ABANDONED: Final = "abandoned"
NOT_WRITTEN: Final = "not_written"
"""Actions of receipts."""


# --- retire and recover ---


def check_retired_count(count: int, recovery_days: int, confirmed: int | None) -> None:
    """Raise 262185 if a call would destroy many keys at once without a recovery window, and does not say how many."""
    if not recovery_days and count > UNCONFIRMED_KEYS and confirmed != count:
        reason = f"the keys could not be recovered, as key_recovery_days is 0: confirm_count={count} confirms it"
        raise OntapError(errors.INVALID_VALUE, target="confirm_count", field="confirm_count", reason=reason)


def plan_retire(key: Key | None, incarnation: Incarnation, now: datetime, window: timedelta) -> Key:
    """Return the key as retired, with a new recovery window. Raise 4 (404) unless it is committed or retired.

    None, for a key that was not found, also raises 4 (404). A key that this incarnation has retired is returned
    unchanged. A key that an earlier incarnation retired is retired again: in that incarnation it may have been
    recovered since. Called when a caller deletes a key; the caller of this function stores the result.
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
    """Return the key as committed again; a committed key is returned unchanged. Raise 4 (404) if that is not possible.

    A key cannot be recovered if it is None, or neither committed nor retired. It also cannot be recovered once the
    keeper has found, by the trusted clock, that its recovery window has ended. No other clock ends the window. Called
    when a caller recovers a deleted key; the caller of this function stores the result.
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


def is_recoverable(key: Key, incarnation: Incarnation) -> bool:
    """Return True if a deleted key can be recovered. Called to show a key."""
    return key.state is KeyState.RETIRED and not _is_overdue(key, incarnation)


def recovery_ends(key: Key, incarnation: Incarnation) -> datetime | None:
    """Return when the recovery window of a deleted key ends, None if it has no end.

    It has none if an earlier incarnation retired the key: this one destroys the key only if it is deleted again. Called
    to show a key.
    """
    return key.purge_after if _retired_in(key, incarnation) else None


def purge_waits_for(key: Key, incarnation: Incarnation) -> PurgeWait | None:
    """Return what the purge of a retired key waits for, besides the end of its recovery window. None for other keys.

    Called to show a key.
    """
    if key.state is not KeyState.RETIRED:
        return None
    if not _retired_in(key, incarnation):
        return PurgeWait.RETIREMENT
    return None if incarnation.destroys else PurgeWait.RELEASE


def is_due(key: Key, incarnation: Incarnation, now: datetime) -> bool:
    """Return True if the recovery window of a key that this incarnation retired has ended at ``now``.

    Called by the keeper: before it begins the purge of a retired key, and to find the servers where it will destroy
    objects.
    """
    due = key.purge_after is not None and key.purge_after <= now
    return key.state is KeyState.RETIRED and due and _retired_in(key, incarnation)


def is_past_recovery(key: Key, incarnation: Incarnation) -> bool:
    """Return True if a retired key is marked as overdue, and destruction is released in this incarnation.

    The keeper sets the mark when the recovery window has ended by the trusted clock and the purge waits for key
    servers. The mark counts only if this incarnation retired the key. Until the key is marked, the result is False,
    although the window may have ended. Called when key servers are to be removed or moved, or certificates are to be
    replaced. Such a key does not prevent that any more.
    """
    return incarnation.destroys and key.state is KeyState.RETIRED and _is_overdue(key, incarnation)


def _is_overdue(key: Key, incarnation: Incarnation) -> bool:
    """Return True if a retired key has a mark that counts: it cannot be recovered, although its purge has not begun.

    The keeper sets the mark, ``overdue``, when the recovery window has ended and the purge must wait for key servers.
    The clock alone sets no mark. A mark counts only on a key that this incarnation retired.
    """
    return key.overdue and _retired_in(key, incarnation)


def _retired_in(key: Key, incarnation: Incarnation) -> bool:
    """Return True if this incarnation retired the key.

    The time of the retirement cannot show this, because after a restore the clock may differ. Called by the rules that
    say whether a key can be recovered, or is due for its purge.
    """
    return key.retired_in == incarnation.uuid


def as_purging(key: Key) -> Key:
    """Return the key in state ``purging``. Nothing is stored here.

    Called when the keeper begins to purge a retired key, and when the orphan scan finds an object of a purged key
    again.
    """
    return replace(key, state=KeyState.PURGING, version=key.version + 1)


def is_purged(attempts: Collection[Attempt], copies: Iterable[Copy], incarnation: Incarnation) -> bool:
    """Return True if the purge is complete: every copy is destroyed, and no pending attempt can bring another.

    Copies of an attempt that another incarnation aborted do not count: this incarnation never destroys them. Called by
    the keeper, which then marks the purging key as purged.
    """
    never = {attempt.number for attempt in attempts if aborted_elsewhere(attempt, incarnation)}
    return all(attempt.state is not AttemptState.PENDING for attempt in attempts) and all(
        copy.presence is Presence.DESTROYED or copy.attempt in never for copy in copies
    )


def aborted_elsewhere(attempt: Attempt, incarnation: Incarnation) -> bool:
    """Return True if the attempt is aborted, and another incarnation began it. Its objects may be in use there by now.

    Which incarnation aborted it does not matter. An attempt that was disowned names no incarnation, so it counts, too.
    """
    return attempt.state is AttemptState.ABORTED and attempt.incarnation != incarnation.uuid


# --- what may be destroyed ---


def may_destroy(key: Key, attempt: Attempt, incarnation: Incarnation) -> bool:
    """Return True if this incarnation of the database may now destroy the objects that the attempt wrote.

    Nothing may be destroyed until an operator has released destruction. Then two kinds of objects may be destroyed:
    those of aborted attempts of this incarnation, and those of a key in state purging or purged. The purge may have
    begun in another incarnation: the key was past recovery there, too. Objects of an attempt that another incarnation
    aborted are orphans. They may belong to another key by now, so they are never destroyed. Called by the keeper in a
    transaction, before it destroys the objects of each copy.
    """
    if not incarnation.destroys or aborted_elsewhere(attempt, incarnation):
        return False
    return attempt.state is AttemptState.ABORTED or key.state in ENDING


def not_written(receipts: Iterable[Receipt]) -> set[Place]:
    """Return the places of the copies that were never written: not sent, or refused by the server."""
    found = (each for each in receipts if each.action == NOT_WRITTEN)
    return {(each.key, each.attempt, each.key_server, each.host) for each in found}


def may_arrive(copy: Copy, attempt: Attempt, absent: Collection[Place], now: datetime) -> bool:
    """Return True if the object of a copy may still be written, because its Register was not answered.

    That may happen until :data:`LATE_REGISTER` after the end of the attempt. ``absent`` are places where it cannot
    happen: see :func:`not_written`. Called when the keeper wants to destroy a copy, and to show what waits.
    """
    place = copy.key, copy.attempt, copy.key_server, copy.host
    settled = copy.unique_identifiers or place in absent
    return not settled and now < attempt.expires + LATE_REGISTER


class Step(StrEnum):
    """A step in destroying an object."""

    REVOKE = "revoke"
    DESTROY = "destroy"


def steps(state: str) -> tuple[Step, ...]:
    """Return the steps that destroy an object in this State (the KMIP name); none if it is destroyed already.

    ``state`` is empty if the server has no States. Called before an object is destroyed. Only an active object is
    revoked first.
    """
    if state in DESTROYED_STATES:
        return ()
    return (Step.REVOKE, Step.DESTROY) if state == ACTIVE else (Step.DESTROY,)


# --- who owns an object ---


class Ownership(StrEnum):
    """What the catalogue says about an object under our names that it does not list.

    ``known``: an attempt accounts for the object; or it is a canary of this incarnation, or an epoch marker, which
    holds no key. ``ended``: the object should be destroyed, but it was found again, or was written late. ``unclaimed``:
    it is an orphan. ``foreign``: its name is not ours.
    """

    KNOWN = "known"
    ENDED = "ended"
    UNCLAIMED = "unclaimed"
    FOREIGN = "foreign"


def ownership(name: ObjectName | None, key: Key | None, attempt: Attempt | None, incarnation: Incarnation) -> Ownership:
    """Return how the catalogue accounts for the object with this name: see :class:`Ownership`.

    ``name`` is None if it is not one of our names. ``key`` and ``attempt`` are what the catalogue has for the ids in
    the name, or None. An aborted attempt accounts for its object only if this incarnation began it. Called by the
    orphan scan, before an orphan is adopted, and during a rebuild.
    """
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
