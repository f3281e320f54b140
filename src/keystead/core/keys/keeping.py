"""The rules of keeping copies: what a look says about a copy, how many may be missing, and where to fill. Pure.

Only the bytes of a copy prove it: nothing here relies on Locate. The service reads and writes the copies.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.keys.attempts import is_expired
from keystead.core.keys.domains import proven_domains
from keystead.core.keys.model import KeyState, Presence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Attempt, Copy
    from keystead.core.model import KeyServer


KEPT_STATES: Final = (KeyState.COMMITTED, KeyState.RETIRED)
"""States of keys whose copies the keeper checks and completes. Retired keys are included: they may be recovered."""

MAX_MISSING: Final = 50
MISSING_RATIO: Final = 20
"""The limit for copies of a server that one sweep may mark missing: 50, or one in 20. More are the server's fault."""

DESTROYED_STATES: Final = frozenset({"Destroyed", "Destroyed Compromised"})
"""KMIP States of an object that is destroyed, although the server may still show its attributes."""


# --- what a look says about a copy ---


class CopyAnswer(StrEnum):
    """What a server answered when it was asked for the object of a copy."""

    AGREES = "agrees"
    DIFFERS = "differs"
    ABSENT = "absent"
    REFUSED = "refused"


def after_look(copy: Copy, look: CopyAnswer, attempt: Attempt, now: datetime, *, canary: bool) -> Copy:
    """Return the copy with the presence that follows from a look.

    A server that does not show its ``canary`` in the same session may have another role or tenant, or may be rebuilding
    an index. Then an absent copy proves nothing and becomes ``unknown``. A copy that was ever proven becomes
    ``missing`` only at the end of a whole :class:`Sweep`. A copy that may still arrive does not become ``missing``. A
    refusal makes a copy ``unknown``, too. Called for each copy that the keeper or a verification looked at.
    """
    if look is CopyAnswer.AGREES:
        return replace(copy, presence=Presence.PRESENT, proven=now)
    if look is CopyAnswer.DIFFERS:
        return replace(copy, presence=Presence.DIFFERENT)
    never_there = copy.proven is None and is_expired(attempt, now)
    if look is CopyAnswer.ABSENT and (copy.presence is Presence.MISSING or (canary and never_there)):
        return replace(copy, presence=Presence.MISSING)
    return replace(copy, presence=Presence.UNKNOWN)


# --- how many copies may be missing ---


def tolerated(total: int) -> int:
    """Return how many copies of a server one sweep may mark missing: one in 20, at least one and at most 50."""
    return max(1, min(MAX_MISSING, total // MISSING_RATIO))


@dataclass(slots=True)
class Sweep:
    """One walk over all copies on a server. It counts proven copies that are no longer there, and decides at the end.

    ``gone`` counts these copies. ``lost`` are the first of them: as many as may be marked missing, and one more.
    """

    proven: int = 0
    gone: int = 0
    lost: list[Copy] = field(default_factory=list)

    def note(self, copy: Copy, look: CopyAnswer, *, canary: bool) -> None:
        """Count a look at a copy. ``copy`` is as it was known before the look.

        A copy that was never proven, or was ``missing`` already, is not counted. An absent copy is gone only with
        ``canary``: the address showed its canary, and did not stand in for a secondary. Called by the sweep of a server
        after each look.
        """
        if copy.proven is None or copy.presence is Presence.MISSING:
            return
        self.proven += 1
        if look is CopyAnswer.ABSENT and canary:
            self.gone += 1
            if len(self.lost) <= MAX_MISSING:
                self.lost.append(copy)

    @property
    def stopped(self) -> bool:
        """True if too many copies are gone, so that none of them is marked missing. Valid at the end of the walk.

        Then an event is added instead.
        """
        return self.gone > tolerated(self.proven)


# --- where to fill ---


def servers_to_fill(
    copies: Sequence[Copy], able: Iterable[str], domain_of: Mapping[str, str], servers: Sequence[KeyServer]
) -> tuple[tuple[str, ...], ...]:
    """Return the servers to which the key may be copied, grouped by domain. One copy in each group is enough.

    These are servers in domains without a proven copy, and without any open copy of the key on the server itself. A
    copy that was sent, is unknown or differs is open until it is settled. ``able`` are the uuids of those ``servers``
    that can hold the key. ``copies`` are those of attempts that were not aborted. Called by the keeper for each
    committed or retired key.
    """
    gone = (Presence.MISSING, Presence.DESTROYED)
    open_at = {copy.key_server for copy in copies if copy.presence not in gone}
    free = (server for server in able if server not in open_at)
    return tuple(map(tuple, _outside(proven_domains(copies, domain_of, servers), free, domain_of)))


def _outside(domains: Collection[str], servers: Iterable[str], domain_of: Mapping[str, str]) -> list[list[str]]:
    """Return the servers that are not in these domains, grouped by domain."""
    found: dict[str, list[str]] = {}
    for server in servers:
        if domain_of[server] not in domains:
            found.setdefault(domain_of[server], []).append(server)
    return list(found.values())


# --- what a proof reads ---


def to_be_proven(copies: Iterable[Copy], domain_of: Mapping[str, str]) -> list[Copy]:
    """Return the copies of a key that a proof must read: first those that are not missing, then missing ones.

    ``copies`` are those of committed attempts. Leave out destroyed copies, and copies on servers that are not in
    ``domain_of``. Copies that are not missing keep the given order. A missing copy may be back, but it is read only if
    all known copies in its domain are missing. Leave out missing copies without identifiers: they were never written
    (see :func:`without_copy`). If several missing copies are on one server, return only the last of them. Called for
    each key of a verification.
    """
    known = [copy for copy in copies if copy.key_server in domain_of and copy.presence is not Presence.DESTROYED]
    there = [copy for copy in known if copy.presence is not Presence.MISSING]
    domains = {domain_of[copy.key_server] for copy in there}
    gone = [copy for copy in known if copy.unique_identifiers and domain_of[copy.key_server] not in domains]
    return there + list({copy.key_server: copy for copy in gone}.values())


def without_copy(copies: Iterable[Copy], servers: Iterable[str], domain_of: Mapping[str, str]) -> list[str]:
    """Return the first server of each domain that has none of these copies: a copy should be written there.

    Called by a verification, which reports such a server as a missing copy. Nothing is written.
    """
    domains = {domain_of[copy.key_server] for copy in copies if copy.key_server in domain_of}
    return [first for first, *_ in _outside(domains, servers, domain_of)]


@dataclass(slots=True)
class Tally:
    """The numbers of keys and copies of a key manager. ``sole`` counts keys with proven copies in one domain only."""

    keys: int = 0
    sole: int = 0
    unproven: int = 0
    copies: Counter[tuple[str, Presence]] = field(default_factory=Counter)

    def count(self, copies: Collection[Copy], domain_of: Mapping[str, str], servers: Sequence[KeyServer]) -> None:
        """Count a key: each server once for each presence. ``copies`` are those of attempts that were not aborted.

        Called for each key while the keeper walks over the keys to fill missing copies.
        """
        domains = len(proven_domains(copies, domain_of, servers))
        self.keys += 1
        self.sole += domains == 1
        self.unproven += domains == 0
        self.copies.update({(copy.key_server, copy.presence) for copy in copies})
