"""Key survival: which keys survive the loss of which replication domains. Pure; the store counts the copies.

Every set of domains could fail together; with four domains there are fifteen sets. A key is unreadable if all of its
proven copies are in domains that failed. Copies at an address that several servers share count as lost if any of their
domains fails. The same is counted from the present on: servers that cannot be read now have failed already.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import combinations
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.away import Away
from keystead.core.keys.domains import domains_at, min_hitting_set
from keystead.core.keys.model import Presence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyServer

MAX_NAMED: Final = 100
"""How many keys a :class:`KeyGroup` or a :class:`Loss` names at most. It counts all of its keys."""

NAMED_IN_PATTERN: Final = 10
"""How many keys a :class:`Pattern` names at most."""


class CopyMark(StrEnum):
    """What is known of a key's copies on one server, the worst first.

    ``proven_away``: the copy is proven, and the server cannot be read now. ``missing`` also means that no copy was ever
    sent there.
    """

    MISSING = "missing"
    UNKNOWN = "unknown"
    DIFFERENT = "different"
    PROVEN_AWAY = "proven_away"
    PROVEN = "proven"


MARK_OF: Final = {
    Presence.PRESENT: CopyMark.PROVEN,
    Presence.DIFFERENT: CopyMark.DIFFERENT,
    Presence.SENT: CopyMark.UNKNOWN,
    Presence.UNKNOWN: CopyMark.UNKNOWN,
    Presence.MISSING: CopyMark.MISSING,
    Presence.DESTROYED: CopyMark.MISSING,
}
"""The mark of a copy on a server that can be read, by what is known of the copy."""

MARKS: Final = tuple(CopyMark)
"""The marks, the worst first. Of several copies on a server the best counts."""


Holders = frozenset[str]
"""The servers (uuids) of a copy: the copy counts as lost if any of them is lost. Several share the copy's address."""


class KeyName(NamedTuple):
    """A key as a report names it: its id and its name."""

    key_id: str
    name: str


_BY_NAME: Final = attrgetter("name", "key_id")
"""The order of keys in reports."""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """All keys whose copies lie alike: proven at exactly these places, and the same is known of all other servers.

    ``keys`` is their number. ``named`` are the first of them by name, at most :data:`MAX_NAMED`. ``oldest`` maps each
    place to the time of the oldest proof there. ``unproven`` has the servers (uuids) without a proven copy.
    """

    places: frozenset[Holders]
    keys: int
    oldest: Mapping[Holders, datetime]
    named: tuple[KeyName, ...]
    unproven: Mapping[str, CopyMark] = field(default_factory=dict)


def has_shared_addresses(servers: Iterable[KeyServer]) -> bool:
    """Return True if an address is used twice: as a secondary of two servers, or as a primary and a secondary.

    Then the servers that hold a key do not tell how many copies survive. So the keys are counted here, not by the
    database.
    """
    addresses = [address for server in servers for address in (server.address, *secondary_addresses(server))]
    return len(set(addresses)) < len(addresses)


class _Places(NamedTuple):
    """What the keys of one group have in common."""

    proven: frozenset[Holders]
    unproven: frozenset[tuple[str, CopyMark]]


@dataclass(slots=True)
class KeyGroupCounter:
    """The count of keys by the places of their copies: for each group its keys and its oldest proofs."""

    names: defaultdict[_Places, list[KeyName]] = field(default_factory=partial(defaultdict, list))
    oldest: defaultdict[_Places, dict[Holders, datetime]] = field(default_factory=partial(defaultdict, dict))

    def count(self, key: Key, copies: Collection[Copy], servers: Sequence[KeyServer]) -> None:
        """Count a key. ``copies`` are its copies of attempts that were not aborted.

        Called for each committed or retired key when servers share addresses: see :func:`has_shared_addresses`.
        """
        proven = [((each.key_server, each.host), each.proven) for each in copies if each.presence is Presence.PRESENT]
        holders = domains_at((at for at, _ in proven), {each.uuid: each.uuid for each in servers}, servers)
        latest: dict[Holders, datetime | None] = {}
        for place, when in ((holders[at], when) for at, when in proven if at in holders):
            latest[place] = max(filter(None, (when, latest.get(place))), default=None)
        marks = {server.uuid: _mark(server, copies) for server in servers}
        unproven = frozenset((uuid, mark) for uuid, mark in marks.items() if mark is not CopyMark.PROVEN)
        places = _Places(frozenset(latest), unproven)
        self.names[places].append(KeyName(key.key_id, key.name))
        oldest = self.oldest[places]
        for place, when in latest.items():
            if when is not None:
                oldest[place] = min(when, oldest.get(place, when))

    @property
    def groups(self) -> list[KeyGroup]:
        """The groups, in a fixed order."""
        groups = sorted(self.names.items(), key=lambda group: (sorted(map(sorted, group[0].proven)), group[1]))
        return [
            KeyGroup(
                places.proven,
                len(names),
                self.oldest[places],
                tuple(sorted(names, key=_BY_NAME)[:MAX_NAMED]),
                dict(places.unproven),
            )
            for places, names in groups
        ]


def _mark(server: KeyServer, copies: Iterable[Copy]) -> CopyMark:
    """Return the best that is known of a key's copies on a server."""
    marks = (MARK_OF[copy.presence] for copy in copies if copy.key_server == server.uuid)
    return max(marks, key=MARKS.index, default=CopyMark.MISSING)


def copy_mark(server: KeyServer, copies: Iterable[Copy], away: Collection[str]) -> CopyMark:
    """Return the mark of a key's copies on a server. ``away`` are the servers (uuids) that cannot be read now.

    Called to show one key's copies.
    """
    mark = _mark(server, copies)
    return CopyMark.PROVEN_AWAY if mark is CopyMark.PROVEN and server.uuid in away else mark


@dataclass(frozen=True, slots=True)
class Domain:
    """A replication domain. ``uuid`` is that of its first server, which names it; ``servers`` are addresses."""

    uuid: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """The keys that are lost if these domains (uuids) fail together.

    ``named`` are the first of them, at most :data:`MAX_NAMED`. ``oldest_proof`` is the oldest of the proofs that the
    remaining keys rely on, None if there is none.
    """

    domains: tuple[str, ...]
    keys: int
    named: tuple[KeyName, ...]
    oldest_proof: datetime | None


@dataclass(frozen=True, slots=True)
class Now:
    """What the keys survive from the present on.

    ``away`` are the servers (uuids) that cannot be read now, and why. ``domains`` are those with another server.
    ``unreadable`` are the keys that cannot be read from any server now. ``losses`` are those if more domains fail, for
    every set of ``domains``, smaller sets first. ``survives`` is how many more domains may fail, whichever they are,
    without a loss. ``at_risk`` is how many keys are unreadable if one more than these fails, in the worst case.
    """

    away: Mapping[str, Away]
    domains: tuple[str, ...]
    unreadable: Loss
    losses: tuple[Loss, ...]
    survives: int
    at_risk: int

    @property
    def is_known(self) -> bool:
        """False if no node has looked at any server yet. Then nobody knows which keys can be read."""
        return not self.away or bool(self.domains) or any(why is not Away.UNKNOWN for why in self.away.values())


@dataclass(frozen=True, slots=True)
class Pattern:
    """The keys whose copies lie alike. ``marks`` say what is known on each server (uuid), in the servers' order.

    ``named`` are at most :data:`NAMED_IN_PATTERN`. ``readable`` is in how many domains a proven copy can be read now.
    So many must fail before the keys are lost. ``oldest_proof`` is the oldest of all their proofs.
    """

    keys: int
    named: tuple[KeyName, ...]
    readable: int
    marks: tuple[tuple[str, CopyMark], ...]
    oldest_proof: datetime | None


@dataclass(frozen=True, slots=True)
class Survival:
    """What the keys of a key manager survive: those in use and those that can be recovered.

    ``addresses`` are those of its primaries, by the server's uuid. ``unproven`` is the loss without any failure: the
    keys without a proven copy. ``sole`` counts keys with proven copies in one domain only, and ``sole_named`` are the
    first of them. ``losses`` are sorted by the number of failed domains. ``survives`` is how many domains may fail
    together, whichever they are, without a loss, while all servers answer. ``patterns`` are sorted by how many domains
    hold a proven copy, the fewest first. ``groups`` are the keys that were counted.
    """

    addresses: Mapping[str, str]
    domains: tuple[Domain, ...]
    keys: int
    unproven: Loss
    sole: int
    sole_named: tuple[KeyName, ...]
    losses: tuple[Loss, ...]
    survives: int
    now: Now
    patterns: tuple[Pattern, ...]
    groups: tuple[KeyGroup, ...]

    def without(self, servers: frozenset[str]) -> Loss:
        """Return the keys that cannot be read if just these servers (uuids) fail, and all others answer.

        Called when a user asks what would survive.
        """
        return _loss((), servers, self.groups)


def survival(
    servers: Sequence[KeyServer],
    domain_of: Mapping[str, str],
    groups: Collection[KeyGroup],
    away: Mapping[str, Away],
) -> Survival:
    """Return which keys are lost if domains fail, for every set of domains that can fail together.

    The order of ``groups`` is fixed. ``away`` are the servers that cannot be read now. Called when the key survival of
    a key manager is shown. No server is asked.
    """
    members: dict[str, list[KeyServer]] = {}
    for server in servers:
        members.setdefault(domain_of[server.uuid], []).append(server)
    uuids = {domain: frozenset(each.uuid for each in of) for domain, of in members.items()}
    held = [_domain_count(group.places, domain_of) for group in groups]
    losses = _losses(uuids, groups, frozenset())
    sole = [group for domains, group in zip(held, groups, strict=True) if domains == 1]
    return Survival(
        addresses={each.uuid: str(each.address) for each in servers},
        domains=tuple(Domain(uuid, tuple(str(each.address) for each in of)) for uuid, of in members.items()),
        keys=sum(group.keys for group in groups),
        unproven=losses[0],
        sole=sum(group.keys for group in sole),
        sole_named=_named(sole),
        losses=tuple(losses[1:]),
        survives=_survives(losses),
        now=_now(uuids, groups, away, losses),
        patterns=tuple(
            _pattern(group, servers, domain_of, away)
            for _, group in sorted(zip(held, groups, strict=True), key=lambda each: (each[0], -each[1].keys))
        ),
        groups=tuple(groups),
    )


def _now(
    members: Mapping[str, frozenset[str]],
    groups: Collection[KeyGroup],
    away: Mapping[str, Away],
    losses: list[Loss],
) -> Now:
    """Return what the keys survive while these servers are away. ``members`` are the servers (uuids) of each domain.

    ``losses`` are those while all servers answer.
    """
    answering = {domain: of for domain, of in members.items() if not of <= away.keys()}
    if away:
        losses = _losses(answering, groups, frozenset(away))
    survives = _survives(losses)
    return Now(
        away=away,
        domains=tuple(answering),
        unreadable=losses[0],
        losses=tuple(losses[1:]),
        survives=survives,
        at_risk=max((loss.keys for loss in losses if len(loss.domains) == survives + 1), default=losses[0].keys),
    )


def _domain_count(places: Iterable[Holders], domain_of: Mapping[str, str]) -> int:
    """Return how many domains must fail before the copies at these places are lost."""
    return len(min_hitting_set(frozenset(domain_of[server] for server in place) for place in places))


def _pattern(
    group: KeyGroup, servers: Sequence[KeyServer], domain_of: Mapping[str, str], away: Mapping[str, Away]
) -> Pattern:
    """Return how the copies of a group's keys lie on the servers."""
    proven = {
        uuid: CopyMark.PROVEN_AWAY if uuid in away else CopyMark.PROVEN for uuid in (each.uuid for each in servers)
    }
    return Pattern(
        keys=group.keys,
        named=group.named[:NAMED_IN_PATTERN],
        readable=_domain_count([place for place in group.places if not place & away.keys()], domain_of),
        marks=tuple((each.uuid, group.unproven.get(each.uuid, proven[each.uuid])) for each in servers),
        oldest_proof=min(group.oldest.values(), default=None),
    )


def _survives(losses: Sequence[Loss]) -> int:
    """Return how many domains may fail, whichever they are, before a key is lost.

    ``losses`` are of all sets of domains, the empty one first, sorted by size. The result is 0 if a key is lost
    already.
    """
    first = next((loss for loss in losses if loss.keys), None)
    return len(losses[-1].domains) if first is None else max(len(first.domains) - 1, 0)


def _losses(members: Mapping[str, frozenset[str]], groups: Collection[KeyGroup], failed: frozenset[str]) -> list[Loss]:
    """Return the loss for each set of domains that can fail, smaller sets first, the empty one among them.

    ``failed`` are servers (uuids) that failed already.
    """
    return [
        _loss(domains, failed.union(*(members[domain] for domain in domains)), groups)
        for number in range(len(members) + 1)
        for domains in combinations(members, number)
    ]


def _loss(domains: tuple[str, ...], failed: frozenset[str], groups: Collection[KeyGroup]) -> Loss:
    """Return the keys that are lost if these domains, and with them these servers, fail.

    Each of their proven copies is on one of the servers. A key without a proven copy is always among them.
    """
    lost = [group for group in groups if all(place & failed for place in group.places)]
    proofs = [time for group in groups for place, time in group.oldest.items() if not place & failed]
    return Loss(
        domains=domains,
        keys=sum(group.keys for group in lost),
        named=_named(lost),
        oldest_proof=min(proofs, default=None),
    )


def _named(groups: Iterable[KeyGroup]) -> tuple[KeyName, ...]:
    """Return the first keys of these groups, by name."""
    return tuple(sorted((name for group in groups for name in group.named), key=_BY_NAME)[:MAX_NAMED])
