"""Which keys would survive the loss of which replication domains. Pure: what is proven is counted by the store.

Every set of domains could fail together; with at most four there are fifteen. A key is unreadable when all domains
that hold a proven copy of it are in the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from keystead.core.model import KeyServer

MOST_NAMED: Final = 100
"""How many keys are named of those that a set of domains would take along; all are counted."""


@dataclass(frozen=True, slots=True)
class Cover:
    """The keys of which exactly the same servers (uuids) hold a proven copy, counted.

    ``oldest`` is, by server, when the copy there was proven whose proof is the oldest; ``key_ids`` are the first.
    """

    servers: frozenset[str]
    keys: int
    oldest: Mapping[str, datetime]
    key_ids: tuple[str, ...]


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
    """Work out what would survive. ``covers`` have no two groups of the same servers, in a fixed order."""
    members: dict[str, list[str]] = {}
    for server in servers:
        members.setdefault(domain_of[server.uuid], []).append(str(server.address))
    held = [(frozenset(domain_of[server] for server in cover.servers), cover) for cover in covers]
    losses = [
        _loss(failed, held, domain_of) for number in range(len(members) + 1) for failed in combinations(members, number)
    ]
    return Survival(
        domains=tuple(Domain(uuid, tuple(addresses)) for uuid, addresses in members.items()),
        keys=sum(cover.keys for cover in covers),
        now=losses[0],
        sole=sum(cover.keys for domains, cover in held if len(domains) == 1),
        losses=tuple(losses[1:]),
        survives=_survives(losses),
    )


def _survives(losses: Sequence[Loss]) -> int:
    """The losses are of all sets of domains, the empty one too, and in order of their size."""
    first = next((loss for loss in losses if loss.keys), None)
    return len(losses[-1].domains) if first is None else max(len(first.domains) - 1, 0)


def _loss(failed: tuple[str, ...], held: Sequence[tuple[frozenset[str], Cover]], domain_of: Mapping[str, str]) -> Loss:
    lost = [cover for domains, cover in held if domains.issubset(failed)]
    proofs = [time for _, cover in held for server, time in cover.oldest.items() if domain_of[server] not in failed]
    return Loss(
        domains=failed,
        keys=sum(cover.keys for cover in lost),
        key_ids=tuple(key_id for cover in lost for key_id in cover.key_ids)[:MOST_NAMED],
        oldest_proof=min(proofs, default=None),
    )
