"""Which keys would survive the loss of which replication domains. Pure: what is proven is counted by the store.

Every set of domains could fail together; with at most four there are fifteen. A key is unreadable when the set takes
every proven copy of it. What an address has that several servers share is lost with any of them.
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

    from keystead.core.keys.domains import Domains
    from keystead.core.keys.model import Copy
    from keystead.core.model import KeyServer

MOST_NAMED: Final = 100
"""How many keys are named of those that a set of domains would take along; all are counted."""


LostWith = frozenset[str]
"""The servers (uuids) with which a copy is lost, if any of them is: one; or all that share the address that has it."""


@dataclass(frozen=True, slots=True)
class Cover:
    """The keys of which proven copies are at exactly the same places, counted.

    ``oldest`` is, by place, when the copy there was proven whose proof is the oldest; ``key_ids`` are the first.
    """

    places: frozenset[LostWith]
    keys: int
    oldest: Mapping[LostWith, datetime]
    key_ids: tuple[str, ...]


def share_addresses(servers: Iterable[KeyServer]) -> bool:
    """Whether a secondary is another's secondary, too, or a primary: which servers hold a key does not say enough."""
    addresses = [address for server in servers for address in (server.address, *secondary_addresses(server))]
    return len(set(addresses)) < len(addresses)


@dataclass(slots=True)
class Counted:
    """Keys, counted one by one by the places that hold them; of each group, their ids and its oldest proofs.

    For each domain stands the server that it is named by.
    """

    ids: defaultdict[frozenset[LostWith], list[str]] = field(default_factory=partial(defaultdict, list))
    oldest: defaultdict[frozenset[LostWith], dict[LostWith, datetime]] = field(
        default_factory=partial(defaultdict, dict)
    )

    def count(
        self, key_id: str, copies: Iterable[Copy], domain_of: Mapping[str, str], servers: Sequence[KeyServer]
    ) -> None:
        """Count a key by its lasting copies."""
        proven = [((each.key_server, each.host), each.proven) for each in copies if each.presence is Presence.PRESENT]
        places = domains_at((at for at, _ in proven), domain_of, servers)
        latest: dict[LostWith, datetime | None] = {}
        for place, when in ((places[at], when) for at, when in proven if at in places):
            latest[place] = max(filter(None, (when, latest.get(place))), default=None)
        holders = frozenset(latest)
        self.ids[holders].append(key_id)
        oldest = self.oldest[holders]
        for place, when in latest.items():
            if when is not None:
                oldest[place] = min(when, oldest.get(place, when))

    @property
    def covers(self) -> list[Cover]:
        """The groups."""
        groups = sorted(self.ids.items(), key=lambda group: sorted(map(sorted, group[0])))
        return [
            Cover(holders, len(ids), self.oldest[holders], tuple(sorted(ids)[:MOST_NAMED])) for holders, ids in groups
        ]


@dataclass(frozen=True, slots=True)
class Domain:
    """A replication domain: its name is the uuid of its first server; ``servers`` are addresses."""

    uuid: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """What the failure of some domains (uuids), all at once, would take along.

    ``oldest_proof`` is the oldest of all the proofs that the other keys would rest on; None when none would be left.
    """

    domains: tuple[str, ...]
    keys: int
    key_ids: tuple[str, ...]
    oldest_proof: datetime | None


@dataclass(frozen=True, slots=True)
class Survival:
    """A key manager's keys, those in use and those that can be recovered, by what they would survive.

    ``now`` is the loss without any failure: keys of which no copy is proven. ``sole`` are keys with a proven copy in
    one domain only. ``losses`` are in order of how many domains fail. ``survives`` is the number of domains any of
    which may fail together without a loss.
    """

    domains: tuple[Domain, ...]
    keys: int
    now: Loss
    sole: int
    losses: tuple[Loss, ...]
    survives: int


def survival(servers: Sequence[KeyServer], domain_of: Mapping[str, str], covers: Collection[Cover]) -> Survival:
    """Work out what would survive. ``covers`` have no two groups of the same places, in a fixed order."""
    members: dict[str, list[str]] = {}
    for server in servers:
        members.setdefault(domain_of[server.uuid], []).append(str(server.address))
    held = [({_in_domains(place, domain_of) for place in cover.places}, cover) for cover in covers]
    losses = [
        _loss(failed, held, domain_of) for number in range(len(members) + 1) for failed in combinations(members, number)
    ]
    return Survival(
        domains=tuple(Domain(uuid, tuple(addresses)) for uuid, addresses in members.items()),
        keys=sum(cover.keys for cover in covers),
        now=losses[0],
        sole=sum(cover.keys for copies, cover in held if len(min_hitting_set(copies)) == 1),
        losses=tuple(losses[1:]),
        survives=_survives(losses),
    )


def _survives(losses: Sequence[Loss]) -> int:
    """The losses are of all sets of domains, the empty one too, and in order of their size."""
    first = next((loss for loss in losses if loss.keys), None)
    return len(losses[-1].domains) if first is None else max(len(first.domains) - 1, 0)


def _in_domains(place: LostWith, domain_of: Mapping[str, str]) -> Domains:
    return frozenset(domain_of[server] for server in place)


def _loss(failed: tuple[str, ...], held: Sequence[tuple[set[Domains], Cover]], domain_of: Mapping[str, str]) -> Loss:
    lost = [cover for copies, cover in held if all(of.intersection(failed) for of in copies)]
    proofs = [
        time
        for _, cover in held
        for place, time in cover.oldest.items()
        if not _in_domains(place, domain_of).intersection(failed)
    ]
    return Loss(
        domains=failed,
        keys=sum(cover.keys for cover in lost),
        key_ids=tuple(key_id for cover in lost for key_id in cover.key_ids)[:MOST_NAMED],
        oldest_proof=min(proofs, default=None),
    )
