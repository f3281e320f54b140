"""Keeping copies: who keeps them, what a look at one says, how many may go missing at once, and where one is lacking.

Pure. A copy is proven by its bytes alone: nothing here decides on what Locate says. Looking and copying is the
service's.
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


KEPT: Final = (KeyState.COMMITTED, KeyState.RETIRED)
"""States of keys whose copies are kept: a retired key may be recovered."""

AT_ONCE: Final = 50
ONE_IN: Final = 20
"""So many keys, or one in so many, may go missing from a server in one sweep; more is the server's fault."""

DESTROYED_STATES: Final = frozenset({"Destroyed", "Destroyed Compromised"})
"""KMIP States of an object that is no more, though its attributes may be there."""


# --- what a look says of a copy ---


class CopyAnswer(StrEnum):
    """What a server answered about the object of a copy."""

    AGREES = "agrees"
    DIFFERS = "differs"
    ABSENT = "absent"
    REFUSED = "refused"


def looked_at(copy: Copy, look: CopyAnswer, attempt: Attempt, now: datetime, *, canary: bool) -> Copy:
    """The copy as it is known after a look.

    Absence says something only when the ``canary`` was found in the same session: a server that does not show what must
    be there (another role, another tenant, an index being rebuilt) says nothing about what it does not show. What was
    once proven goes missing by a whole :class:`Sweep` only, and what is still on its way does not at all.
    """
    if look is CopyAnswer.AGREES:
        return replace(copy, presence=Presence.PRESENT, proven=now)
    if look is CopyAnswer.DIFFERS:
        return replace(copy, presence=Presence.DIFFERENT)
    never_there = copy.proven is None and is_expired(attempt, now)
    if look is CopyAnswer.ABSENT and (copy.presence is Presence.MISSING or (canary and never_there)):
        return replace(copy, presence=Presence.MISSING)
    return replace(copy, presence=Presence.UNKNOWN)


# --- too many at once ---


def tolerated(total: int) -> int:
    """How many of a server's copies may go missing in one sweep: one in 20, at most 50; a single one always may."""
    return max(1, min(AT_ONCE, total // ONE_IN))


@dataclass(slots=True)
class Sweep:
    """One walk over all copies on a server: which that were proven are there no more. Decided at its end.

    ``lost`` are the first of the ``gone``: all that could go missing, and one more.
    """

    proven: int = 0
    gone: int = 0
    lost: list[Copy] = field(default_factory=list)

    def note(self, copy: Copy, look: CopyAnswer, *, canary: bool) -> None:
        """Count a look at a copy as it was known before."""
        if copy.proven is None or copy.presence is Presence.MISSING:
            return
        self.proven += 1
        if look is CopyAnswer.ABSENT and canary:
            self.gone += 1
            if len(self.lost) <= AT_ONCE:
                self.lost.append(copy)

    @property
    def stopped(self) -> bool:
        """At the end of the walk: whether so many are lost that none of them goes missing."""
        return self.gone > tolerated(self.proven)


# --- where a copy is lacking ---


def servers_to_fill(
    copies: Sequence[Copy], able: Iterable[str], domain_of: Mapping[str, str], servers: Sequence[KeyServer]
) -> tuple[tuple[str, ...], ...]:
    """The servers to which a key may be copied, by domain: that holds no proof, and nothing of the key is open there.

    A copy on one server of each domain is enough. ``able`` are those of the ``servers`` (uuids) that can keep the key.
    ``copies`` are its lasting ones: those of aborted attempts left out. What was sent, is unknown or differs is left
    alone until it is settled.
    """
    gone = (Presence.MISSING, Presence.DESTROYED)
    open_at = {copy.key_server for copy in copies if copy.presence not in gone}
    free = (server for server in able if server not in open_at)
    return tuple(map(tuple, _in_others(proven_domains(copies, domain_of, servers), free, domain_of)))


def _in_others(domains: Collection[str], servers: Iterable[str], domain_of: Mapping[str, str]) -> list[list[str]]:
    """Servers in other domains than these, by domain."""
    found: dict[str, list[str]] = {}
    for server in servers:
        if domain_of[server] not in domains:
            found.setdefault(domain_of[server], []).append(server)
    return list(found.values())


# --- what a proof is about ---


def to_be_proven(copies: Iterable[Copy], domain_of: Mapping[str, str]) -> list[Copy]:
    """Of a key's lasting copies, in order of their attempts, those that a proof asks its servers about.

    What went missing is no copy. Only where it is the last that was known of a domain it is asked about, since it may
    be there again. What was never sent has no identifier to ask for: see :func:`without_copy`.
    """
    known = [copy for copy in copies if copy.key_server in domain_of and copy.presence is not Presence.DESTROYED]
    there = [copy for copy in known if copy.presence is not Presence.MISSING]
    domains = {domain_of[copy.key_server] for copy in there}
    gone = [copy for copy in known if copy.unique_identifiers and domain_of[copy.key_server] not in domains]
    return there + list({copy.key_server: copy for copy in gone}.values())


def without_copy(copies: Iterable[Copy], servers: Iterable[str], domain_of: Mapping[str, str]) -> list[str]:
    """The first server of each domain in which a key has none of these copies: one is to be written there."""
    domains = {domain_of[copy.key_server] for copy in copies if copy.key_server in domain_of}
    return [first for first, *_ in _in_others(domains, servers, domain_of)]


@dataclass(slots=True)
class Tally:
    """Keys and copies of a key manager, counted. ``sole`` are keys with a proven copy in one domain only."""

    keys: int = 0
    sole: int = 0
    unproven: int = 0
    copies: Counter[tuple[str, Presence]] = field(default_factory=Counter)

    def count(self, copies: Collection[Copy], domain_of: Mapping[str, str], servers: Sequence[KeyServer]) -> None:
        """Count a key by its lasting copies: once for each server and presence."""
        domains = len(proven_domains(copies, domain_of, servers))
        self.keys += 1
        self.sole += domains == 1
        self.unproven += domains == 0
        self.copies.update({(copy.key_server, copy.presence) for copy in copies})
