"""Looking at copies on one key server: in one session, its canary first, and what follows of each look.

Nothing is decided on what Locate names: an object is a copy when its bytes agree with the key's digest. What is stored
of a look is stored by compare-and-set, under the keeper's lease.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys import digests
from keystead.core.keys.guarding import is_elsewhere
from keystead.core.keys.keeping import DESTROYED_STATES, CopyAnswer, looked_at, object_names
from keystead.core.keys.model import Presence
from keystead.core.secret import Secret
from keystead.service.keys.attempts import unchanged
from keystead.service.keys.looking.canaries import Sight, sight
from keystead.service.keys.topology import load_topology
from keystead.service.ports.keys import Fault, KeyServerFault, ObjectAttributes
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Attempt, Copy, Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.keys import Endpoint, KeyObjects, ObjectSession
    from keystead.service.ports.store import Clock, Store, Transaction

log = structlog.get_logger(__name__)

COPIES_PER_READ: Final = 256
"""Copies that are read from the database at a time."""

PATIENCE: Final = 3
"""Copies in a row about which a server that answers otherwise may fall silent."""

RECONNECT_S: Final = 1.1
"""How long an address that was silent once is left alone by :class:`~keystead.service.ports.keys.KeyObjects`."""

_NO_FACTS: Final = ObjectAttributes((), "", None)


@dataclass(frozen=True, slots=True)
class KeeperContext:
    """What keeping works with. ``turn`` waits until one more key may be asked about: it caps the rate."""

    store: Store
    objects: KeyObjects
    endpoints: Endpoints
    clock: Clock
    node: str
    turn: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Site:
    """A server, configured or detached, and what is known of it."""

    server: KeyServer
    profile: ServerProfile | None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A copy, the attempt that wrote it, and its key.

    ``primary`` is what the same attempt left on the server itself, if both rows were read.
    """

    copy: Copy
    attempt: Attempt
    key: Key
    primary: Copy | None = None


def topology_of(tx: Transaction, key_manager: str) -> ServerTopology | None:
    """Where a key manager's keys are kept; None for one that is gone."""
    manager = tx.key_manager(key_manager)
    return None if manager is None else load_topology(tx, manager)


def tracked(tx: Transaction, copies: Sequence[Copy]) -> list[Tracked]:
    """Copies with what they belong to."""
    uuids = {copy.key for copy in copies}
    keys = {key.uuid: key for key in tx.keys(uuids)}
    attempts = {(attempt.key, attempt.number): attempt for attempt in tx.attempts(uuids)}
    primaries = {(copy.key, copy.attempt, copy.key_server): copy for copy in copies if not copy.host}
    return [
        Tracked(
            copy,
            attempts[copy.key, copy.attempt],
            keys[copy.key],
            primaries.get((copy.key, copy.attempt, copy.key_server)),
        )
        for copy in copies
    ]


def by_host(rows: Iterable[Tracked]) -> dict[str, list[Tracked]]:
    """Copies by the address through which they were written."""
    found: dict[str, list[Tracked]] = {}
    for row in rows:
        found.setdefault(row.copy.host, []).append(row)
    return found


@dataclass(frozen=True, slots=True)
class Visit:
    """A session on one address of a key server (uuid). ``canary``: the server shows what must be there.

    ``stands_in``: it is the primary, looked at for a secondary that failed lately. ``host`` is empty for the primary.
    """

    session: ObjectSession
    key_server: str
    address: str
    profile: ServerProfile | None
    canary: bool
    digest_key: Secret = field(repr=False)
    stands_in: bool = False
    host: str = ""

    @property
    def absence_counts(self) -> bool:
        """Whether a copy that is not here is nowhere: the secondary that was sent it may not have replicated it yet."""
        return self.canary and not self.stands_in


@asynccontextmanager
async def visit(
    context: KeeperContext,
    topology: ServerTopology,
    server: KeyServer,
    host: str = "",
    profile: ServerProfile | None = None,
    *,
    fresh: bool = False,
    exact: bool = False,
    failed: bool = False,
) -> AsyncIterator[Visit]:
    """Have a session on a server, or on one of its secondaries, its canary looked for first. Raises KeyServerFault.

    A secondary that is none any more, or that ``failed`` just now or lately, is looked at through its primary: they are
    one domain. With ``exact`` it is not: what one of them does not show, the other may still hold where they do not
    replicate. ``profile`` is that of a detached server.
    """
    profile = profile or topology.profiles.get(server.uuid)
    if exact and host not in server.secondary_key_servers:
        server = replace(server, secondary_key_servers=(host,) * bool(host))
    endpoint = endpoint_of(context, topology, server, host)
    stands_in = bool(endpoint.host) and not exact and (failed or context.objects.slow_or_dead(endpoint))
    if stands_in:
        endpoint = endpoint_of(context, topology, server, "")
    try:
        digest_key = context.endpoints.digest_key(topology)
    except NO_IDENTITY:
        raise KeyServerFault(Fault.UNREACHABLE, "digest_key") from None
    async with context.objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=fresh) as session:
        known = profile if profile is not None and profile.canary else None
        seen = known is not None and await sight(session, known, digest_key) is Sight.SEEN
        yield Visit(session, server.uuid, str(endpoint.server), profile, seen, digest_key, stands_in, endpoint.host)


async def visit_each(
    context: KeeperContext,
    topology: ServerTopology,
    site: Site,
    rows: Sequence[Tracked],
    work: Callable[[Visit, Tracked], Awaitable[None]],
) -> bool:
    """Do something about each copy at one address; False when it does not answer: at all, or to several in a row.

    A copy about which it falls silent (``work`` raises KeyServerFault) holds up no other: they have another connection.
    """
    waiting, host, silent = deque(rows), rows[0].copy.host, 0
    while waiting:
        before = len(waiting)
        try:
            async with visit(context, topology, site.server, host, site.profile, exact=True) as at:
                while waiting:
                    await context.turn()
                    await work(at, waiting.popleft())
                    silent = 0
        except KeyServerFault as fault:
            server = str(site.server.address)
            log.info("objects to be destroyed wait for a key server", address=server, host=host, why=fault.reason)
            silent += 1
            if len(waiting) == before or silent == PATIENCE:
                return False
            await asyncio.sleep(RECONNECT_S)
    return True


def endpoint_of(context: KeeperContext, topology: ServerTopology, server: KeyServer, host: str) -> Endpoint:
    """How an address is reached. Raises KeyServerFault (``unreachable``) when our own certificate cannot be used."""
    try:
        found = {
            endpoint.host: endpoint for endpoint in context.endpoints.each(server, context.endpoints.identity(topology))
        }
    except NO_IDENTITY as error:
        log.error("a key server cannot be reached", address=str(server.address), why=type(error).__name__)  # noqa: TRY400
        raise KeyServerFault(Fault.UNREACHABLE, "identity") from None
    return found.get(host) or found[""]


@dataclass(frozen=True, slots=True)
class CopyObservation:
    """What was seen of a copy: which objects it is made of, and the State of the first.

    ``whole``: each object that may be the copy said something; else it may be one that did not.
    """

    look: CopyAnswer
    unique_identifiers: tuple[str, ...] = ()
    state: str = ""
    whole: bool = True


_TELLING: Final = (CopyAnswer.AGREES, CopyAnswer.DIFFERS, CopyAnswer.REFUSED, CopyAnswer.ABSENT)
"""Which of several looks at a copy counts: the first of these."""


async def look(at: Visit, row: Tracked, *, thorough: bool = False) -> CopyObservation:
    """Look at a copy: its attributes, then its bytes; under its identifiers, else under its attempt's name.

    There each object is looked at until one agrees. Where Locate returns whatever is there, each object would be asked
    for its attributes: a known copy is looked for so only by a ``thorough`` look. Raises KeyServerFault when the server
    does not answer.
    """
    known = row.copy.unique_identifiers
    seen = [await _look(at, row, known) if known else CopyObservation(CopyAnswer.ABSENT)]
    by_name = thorough or not known or at.profile is None or at.profile.locate_by_name
    if seen[0].look in {CopyAnswer.AGREES, CopyAnswer.REFUSED} or not by_name:
        return seen[0]
    try:
        async for ids in located(at.session, row.attempt):
            if ids != known:
                seen.append(await _look(at, row, ids))
            if seen[-1].look is CopyAnswer.AGREES:
                break
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        seen.append(CopyObservation(CopyAnswer.REFUSED, known))
    best = min(seen, key=lambda each: _TELLING.index(each.look))
    return replace(best, whole=all(each.look is not CopyAnswer.REFUSED for each in seen))


async def _look(at: Visit, row: Tracked, ids: tuple[str, ...]) -> CopyObservation:
    try:
        facts = [await attributes_of(at.session, id_) for id_ in ids]
        if any(each.state in DESTROYED_STATES for each in facts):
            return CopyObservation(CopyAnswer.ABSENT)
        material = await at.session.get(ids)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return CopyObservation(CopyAnswer.ABSENT if fault.fault is Fault.NOT_FOUND else CopyAnswer.REFUSED, ids)
    if agrees(at, row.key, material):
        return CopyObservation(CopyAnswer.AGREES, ids, facts[0].state)
    if any(each.names and not is_named(each, row.attempt) for each in facts):
        return CopyObservation(CopyAnswer.ABSENT)  # the server has given the identifier to another object
    return CopyObservation(CopyAnswer.DIFFERS, ids, facts[0].state)


def agrees(at: Visit, key: Key, material: Secret) -> bool:
    """Whether material is a key's."""
    return digests.agrees(at.digest_key, key.uuid, material, key.digest)


async def attributes_of(session: ObjectSession, unique_identifier: str) -> ObjectAttributes:
    """What a server says of an object, nothing where it does not say. Raises KeyServerFault: not there, no answer."""
    try:
        return await session.get_attributes(unique_identifier)
    except KeyServerFault as fault:
        if fault.fault is Fault.NOT_FOUND or not fault.fault.answered:
            raise
        return _NO_FACTS


def is_named(facts: ObjectAttributes, attempt: Attempt) -> bool:
    """Whether an object bears one of the names under which an attempt writes."""
    return any(name in facts.names for names in object_names(attempt) for name in names)


async def located(session: ObjectSession, attempt: Attempt) -> AsyncIterator[tuple[str, ...]]:
    """What may be the copy under an attempt's names: each whole, then each pair that its parts make."""
    for names in object_names(attempt):
        found = [await session.locate(name) for name in names]
        for ids in product(*found):
            yield ids


async def look_at_many(at: Visit, rows: Sequence[Tracked]) -> list[CopyObservation]:
    """Look at copies whose identifiers are known, in order: at their bytes, in batches; in doubt, at each alone."""
    answers = await at.session.get_many([row.copy.unique_identifiers for row in rows])
    found = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Secret) and agrees(at, row.key, answer):
            found.append(CopyObservation(CopyAnswer.AGREES, row.copy.unique_identifiers, row.copy.object_state))
        elif isinstance(answer, KeyServerFault) and not answer.fault.answered:
            raise answer
        else:
            found.append(await look(at, row))
    return found


CopyChange = tuple["Copy", "Copy"]
"""A copy as it was when it was looked at, and as it is now."""


def changes_of(at: Visit, row: Tracked, seen: CopyObservation, now: datetime) -> list[CopyChange]:
    """What a look at a copy changes.

    What is read on the primary is there: where the primary's row names no object, it is that one from now on. Of a
    secondary for which the primary stands in that says nothing.
    """
    after = with_seen(looked_at(row.copy, seen.look, row.attempt, now, canary=at.absence_counts), seen)
    primary = row.primary
    if seen.look is not CopyAnswer.AGREES or at.host == row.copy.host or primary is None:
        return [(row.copy, after)]
    none_there = primary.presence is Presence.MISSING and not primary.unique_identifiers
    there = [(primary, replace(after, host=primary.host))] if none_there else []
    return there if at.stands_in else [(row.copy, after), *there]


def store_changes(
    tx: Transaction, holding: Holding, changes: Sequence[CopyChange], *, seen_in: ServerTopology | None = None
) -> list[CopyChange]:
    """Store changes while the lease is held; see :func:`put_changes`."""
    holding.check(tx)
    return put_changes(tx, changes, seen_in=seen_in)


def put_changes(
    tx: Transaction, changes: Sequence[CopyChange], *, seen_in: ServerTopology | None = None
) -> list[CopyChange]:
    """Store copies that are in the database still as they were; return what was stored. Locks the keys.

    What was ``seen_in`` places is stored only while servers are where they were, and know us as who has seen it; that
    locks the key manager before.
    """
    standing = None if seen_in is None else _standing(tx, seen_in)
    uuids = sorted({before.key for before, _ in changes})
    for uuid in uuids:
        tx.lock_key(uuid)
    now = {copy for copy in tx.copies(uuids) if standing is None or copy.key_server in standing}
    stored = [(before, after) for before, after in changes if before in now and before != after]
    tx.put_copies([after for _, after in stored], new=False)
    return stored


def _standing(tx: Transaction, then: ServerTopology) -> set[str]:
    """The servers (uuids) of which holds what was seen then."""
    manager = tx.key_manager(then.key_manager.uuid, lock=True)
    now = None if manager is None else load_topology(tx, manager)
    if now is None or not unchanged(then, now):
        return set()
    after = {server.uuid: server for server in now.servers}
    return {each.uuid for each in then.servers if each.uuid in after and not is_elsewhere(each, after[each.uuid])}


def with_seen(copy: Copy, seen: CopyObservation) -> Copy:
    """A copy with the identifiers and the State that were seen."""
    return replace(
        copy,
        unique_identifiers=seen.unique_identifiers or copy.unique_identifiers,
        object_state=seen.state or copy.object_state,
    )


def slices(rows: Sequence[Tracked], size: int) -> Iterator[Sequence[Tracked]]:
    """Rows, so many at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
