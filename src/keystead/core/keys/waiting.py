"""Work on copies that waits: what, since when, and for what. Pure; the keeper does the work once nothing hinders it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from keystead.core.keys.model import Attempt, Copy, Key


class Work(StrEnum):
    """What is to be done with a copy.

    ``settle``: find out whether the server took it. ``destroy``: destroy what a failed creation left. ``purge``:
    destroy the copy of a deleted key.
    """

    SETTLE = "settle"
    DESTROY = "destroy"
    PURGE = "purge"


class WaitsFor(StrEnum):
    """What must happen first.

    ``server``: the server must answer and show our keys. ``other_server``: another server of the attempt must, because
    it may show that the attempt was committed. ``release``: an operator must release destruction. ``late_register``:
    the hour must end in which a Register that was not answered may still arrive. ``epoch_marker``: the server must
    store our next epoch marker, and did not; it may be full. ``next_round``: nothing, the keeper does it in one of its
    next rounds.
    """

    SERVER = "server"
    OTHER_SERVER = "other_server"
    RELEASE = "release"
    LATE_REGISTER = "late_register"
    EPOCH_MARKER = "epoch_marker"
    NEXT_ROUND = "next_round"


@dataclass(frozen=True, slots=True)
class Hindrances:
    """The hindrances of work, besides the copy itself. ``away`` and ``unmarked`` are key servers (uuids).

    ``away``: it cannot be asked. ``unmarked``: it has not stored our next epoch marker, which must be there before
    anything is destroyed. ``destroys`` is False while destruction is held.
    """

    away: Collection[str]
    unmarked: Collection[str]
    destroys: bool


@dataclass(frozen=True, slots=True)
class WaitingCopy:
    """A copy with work that waits, since ``since``."""

    copy: Copy
    key: Key
    work: Work
    waits_for: WaitsFor
    since: datetime


def settling(copy: Copy, key: Key, attempt: Attempt, away: Collection[str]) -> WaitingCopy:
    """Return a copy of which it is not known whether its server took it. ``away`` are servers (uuids)."""
    waits_for = WaitsFor.SERVER if copy.key_server in away else WaitsFor.NEXT_ROUND
    return WaitingCopy(copy, key, Work.SETTLE, waits_for, attempt.began)


def destroying(
    copy: Copy, key: Key, attempt: Attempt, others: Collection[str], hindrances: Hindrances, *, arriving: bool
) -> WaitingCopy:
    """Return a copy of an aborted attempt. ``others`` are the servers (uuids) of the attempt's other copies.

    A timed-out attempt may have been committed, so all its servers are asked first. ``arriving`` is True if the object
    may still be written.
    """
    waits_for = _hindrance(copy, hindrances, arriving=arriving)
    answers = hindrances.destroys and copy.key_server not in hindrances.away
    if answers and attempt.expired and not set(others).isdisjoint(hindrances.away):
        waits_for = WaitsFor.OTHER_SERVER
    return WaitingCopy(copy, key, Work.DESTROY, waits_for, attempt.began)


def purging(copy: Copy, key: Key, hindrances: Hindrances, *, arriving: bool) -> WaitingCopy:
    """Return a copy of a key whose recovery window is over. The rest is as in :func:`destroying`."""
    since = key.purge_after or key.retired or key.created
    return WaitingCopy(copy, key, Work.PURGE, _hindrance(copy, hindrances, arriving=arriving), since)


def _hindrance(copy: Copy, hindrances: Hindrances, *, arriving: bool) -> WaitsFor:
    """Return what hinders the destruction of a copy; of several hindrances the first in the order of this function.

    The arguments are those of :func:`destroying`. Other servers of the attempt are not considered here.
    """
    if not hindrances.destroys:
        return WaitsFor.RELEASE
    if copy.key_server in hindrances.away:
        return WaitsFor.SERVER
    if arriving:
        return WaitsFor.LATE_REGISTER
    return WaitsFor.EPOCH_MARKER if copy.key_server in hindrances.unmarked else WaitsFor.NEXT_ROUND
