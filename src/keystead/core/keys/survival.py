"""Key survival: which keys survive the loss of which replication domains. Pure; the store counts the proven copies.

Every set of domains could fail together; with four domains there are fifteen sets. A key is unreadable if all of its
proven copies are in domains that failed. Copies at an address that several servers share count as lost if any of their
domains fails.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Final

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.domains import domains_at, min_hitting_set
from keystead.core.keys.model import Presence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.domains import DomainSet
    from keystead.core.keys.model import Copy
    from keystead.core.model import KeyServer

MAX_KEY_IDS: Final = 100
"""How many ids a :class:`KeyGroup` or a :class:`Loss` has at most. It counts all of its keys."""


Holders = frozenset[str]
"""The servers (uuids) of a copy: the copy counts as lost if any of them is lost. Several share the copy's address."""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """All keys that have proven copies at exactly these places, and nowhere else.

    ``keys`` is their number. ``key_ids`` are the ids of the first of them, at most :data:`MAX_KEY_IDS`. ``oldest`` maps
    each place to the time of the oldest proof there.
    """

    places: frozenset[Holders]
    keys: int
    oldest: Mapping[Holders, datetime]
    key_ids: tuple[str, ...]


def has_shared_addresses(servers: Iterable[KeyServer]) -> bool:
    """Return True if an address is used twice: as a secondary of two servers, or as a primary and a secondary.

    Then the servers that hold a key do not tell how many copies survive.
    """
    addresses = [address for server in servers for address in (server.address, *secondary_addresses(server))]
    return len(set(addresses)) < len(addresses)


@dataclass(slots=True)
class KeyGroupCounter:
    """The count of keys by the places with their proven copies: for each group its key ids and its oldest proofs.

    Each domain is represented by the server that names it.
    """

    ids: defaultdict[frozenset[Holders], list[str]] = field(default_factory=partial(defaultdict, list))
    oldest: defaultdict[frozenset[Holders], dict[Holders, datetime]] = field(default_factory=partial(defaultdict, dict))

    def count(
        self, key_id: str, copies: Iterable[Copy], domain_of: Mapping[str, str], servers: Sequence[KeyServer]
    ) -> None:
        """Count a key. ``copies`` are its copies of attempts that were not aborted."""
        proven = [((each.key_server, each.host), each.proven) for each in copies if each.presence is Presence.PRESENT]
        places = domains_at((at for at, _ in proven), domain_of, servers)
        latest: dict[Holders, datetime | None] = {}
        for place, when in ((places[at], when) for at, when in proven if at in places):
            latest[place] = max(filter(None, (when, latest.get(place))), default=None)
        holders = frozenset(latest)
        self.ids[holders].append(key_id)
        oldest = self.oldest[holders]
        for place, when in latest.items():
            if when is not None:
                oldest[place] = min(when, oldest.get(place, when))

    @property
    def groups(self) -> list[KeyGroup]:
        """The groups, in a fixed order."""
        groups = sorted(self.ids.items(), key=lambda group: sorted(map(sorted, group[0])))
        return [
            KeyGroup(holders, len(ids), self.oldest[holders], tuple(sorted(ids)[:MAX_KEY_IDS]))
            for holders, ids in groups
        ]


@dataclass(frozen=True, slots=True)
class Domain:
    """A replication domain. ``uuid`` is that of its first server, which names it; ``servers`` are addresses."""

    uuid: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """The keys that are lost if these domains (uuids) fail together.

    ``oldest_proof`` is the oldest of the proofs that the remaining keys rely on, None if there is none.
    """

    domains: tuple[str, ...]
    keys: int
    key_ids: tuple[str, ...]
    oldest_proof: datetime | None


@dataclass(frozen=True, slots=True)
class Survival:
    """What the keys of a key manager survive: those in use and those that can be recovered.

    ``now`` is the loss without any failure: the keys without a proven copy. ``sole`` counts keys with proven copies in
    one domain only. ``losses`` are sorted by the number of failed domains. ``survives`` is how many domains may fail
    together, whichever they are, without a loss.
    """

    domains: tuple[Domain, ...]
    keys: int
    now: Loss
    sole: int
    losses: tuple[Loss, ...]
    survives: int


def survival(servers: Sequence[KeyServer], domain_of: Mapping[str, str], groups: Collection[KeyGroup]) -> Survival:
    """Return the key survival. No two of the ``groups`` have the same places; their order is fixed."""
    members: dict[str, list[str]] = {}
    for server in servers:
        members.setdefault(domain_of[server.uuid], []).append(str(server.address))
    held = [({_in_domains(place, domain_of) for place in group.places}, group) for group in groups]
    losses = [
        _loss(failed, held, domain_of) for number in range(len(members) + 1) for failed in combinations(members, number)
    ]
    return Survival(
        domains=tuple(Domain(uuid, tuple(addresses)) for uuid, addresses in members.items()),
        keys=sum(group.keys for group in groups),
        now=losses[0],
        sole=sum(group.keys for copies, group in held if len(min_hitting_set(copies)) == 1),
        losses=tuple(losses[1:]),
        survives=_survives(losses),
    )


def _survives(losses: Sequence[Loss]) -> int:
    """Return how many domains may fail. ``losses`` are of all sets of domains, the empty one first, sorted by size."""
    first = next((loss for loss in losses if loss.keys), None)
    return len(losses[-1].domains) if first is None else max(len(first.domains) - 1, 0)


def _in_domains(place: Holders, domain_of: Mapping[str, str]) -> DomainSet:
    return frozenset(domain_of[server] for server in place)


def _loss(
    failed: tuple[str, ...], held: Sequence[tuple[set[DomainSet], KeyGroup]], domain_of: Mapping[str, str]
) -> Loss:
    lost = [group for copies, group in held if all(of.intersection(failed) for of in copies)]
    proofs = [
        time
        for _, group in held
        for place, time in group.oldest.items()
        if not _in_domains(place, domain_of).intersection(failed)
    ]
    return Loss(
        domains=failed,
        keys=sum(group.keys for group in lost),
        key_ids=tuple(key_id for group in lost for key_id in group.key_ids)[:MAX_KEY_IDS],
        oldest_proof=min(proofs, default=None),
    )
