"""Put the next fence on key servers: before anything is destroyed there, and now and then, so that a clone sees it;
soon after a key was recovered, which an older copy of this database would destroy.

Under the keeper's lease, durable step by step; see :mod:`keystead.core.keys.epoch_markers` for what is seen and what
follows. A database that turns out to have a twin begins a new incarnation, in which nothing is destroyed. A server on
which the fence cannot be put on now gets nothing destroyed in this round; one that does not find objects by name has no
fence.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys import epoch_markers as fencing
from keystead.core.keys.epoch_markers import ANCHOR, RANDOM_BYTES, Behind, EpochMarkerState, MarkersSeen, Verdict, Whose
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import KeyForm
from keystead.core.keys.names import epoch_marker_name
from keystead.core.secret import Secret
from keystead.service.cluster.incarnations import Cloned
from keystead.service.keys.context import topology_of
from keystead.service.keys.destroying.purge import ending_on, sites_of
from keystead.service.keys.looking.visit import visit
from keystead.service.loading import incarnation_of
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext, Site
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

EVERY_S: Final = 3600.0
"""How long a fence stands at most where nothing is destroyed: an original that only creates is seen by its clone."""

RETRY_S: Final = 300.0
"""How long a server that took no fence is left alone where nothing is to be destroyed: it may be dead."""

NOT_SEEN: Final = "fence_not_seen"
NOT_GONE: Final = "fence_not_gone"
OTHER_BYTES: Final = "fence_different"


class EpochMarkers:
    """Advances fences. The keeper calls it. ``on_cloned`` begins a new incarnation after the one that it is given."""

    def __init__(self, context: KeeperContext, on_cloned: Callable[[str], Awaitable[None]]) -> None:
        self._context = context
        self._on_cloned = on_cloned
        self._due: dict[str, float] = {}  # by server, when its fence is moved on whatever happens (monotonic)
        self._away: set[str] = set()  # servers on which it could not be moved on

    async def advance(self, holding: Holding, key_manager: str) -> frozenset[str]:
        """Move fences on where something is to be destroyed, or where it is time; return where one may destroy.

        Raises StoreError, LeaseLost.
        """
        read, clock = self._context.store.read, self._context.clock
        topology = await read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return frozenset()
        sites = await read(lambda tx: sites_of(tx, topology))
        fallen_due = await read(lambda tx: tx.due_epoch_markers(key_manager))
        wanted = fallen_due | await read(lambda tx: ending_on(tx, topology, clock.now(), self._away))
        passed: set[str] = set()
        for uuid, site in sites.items():
            if site.profile is not None and not site.profile.locate_by_name:
                passed.add(uuid)
            elif uuid in wanted or self._due.get(uuid, 0.0) <= clock.monotonic():
                self._due.pop(uuid, None)  # whatever comes of it, it is moved on in the next round unless it is now
                try:
                    if uuid in fallen_due:
                        await self._context.store.write(lambda tx: tx.note_epoch_marker_moves(uuid))  # noqa: B023 - awaited
                    await self._advance(holding, topology, site)
                except KeyServerFault as fault:
                    self._due[uuid] = clock.monotonic() + RETRY_S
                    self._away.add(uuid)
                    log.info("nothing is destroyed without a fence", address=str(site.server.address), why=fault.reason)
                except Cloned:
                    log.warning("another database goes on from this one's past", address=str(site.server.address))
                    await self._on_cloned(topology.incarnation.uuid)
                    return frozenset()
                else:
                    self._due[uuid] = clock.monotonic() + EVERY_S
                    self._away.discard(uuid)
                    passed.add(uuid)
        return frozenset(passed)

    async def _advance(self, holding: Holding, topology: ServerTopology, site: Site) -> None:
        """Put a fence with a token of now on a server. Raises KeyServerFault, Cloned.

        One that was sent before is settled first, and proves nothing: a clone would have the same.
        """
        uuid, incarnation = site.server.uuid, topology.incarnation.uuid
        marker = await self._context.store.read(lambda tx: tx.epoch_marker(uuid))
        async with visit(self._context, topology, site.server, profile=site.profile, exact=True) as at:
            if marker is None or marker.incarnation != incarnation:
                await self._held(holding, at, fencing.begun(uuid, incarnation, _token(at)), new=True)
                return
            if marker.state is EpochMarkerState.SENT:
                marker = await self._held(holding, at, marker)
            marker = await self._alone(holding, at, marker)
            marker = await self._held(holding, at, fencing.following(marker, _token(at)), new=True)
            await self._alone(holding, at, marker)

    async def _held(self, holding: Holding, at: Visit, marker: EpochMarker, *, new: bool = False) -> EpochMarker:
        """Have a fence on the server, alone there; a first one has its anchor beside it."""
        if new:
            await self._store(holding, marker)
        seen, ids = await _look(at, marker)
        verdict, refusal = fencing.judged(seen), None
        if verdict is Verdict.WRITE:
            refusal = await _written(holding, at, marker, marker.number)
            seen, ids = await _look(at, marker)
            verdict = fencing.judged(seen)
        if verdict is Verdict.CLONED:
            raise Cloned
        if verdict is Verdict.LOST:
            log.warning("a key server has lost its fences", key_server=at.key_server)
            again = fencing.begun(marker.key_server, marker.incarnation, _token(at))
            return await self._held(holding, at, again, new=True)
        if verdict is not Verdict.OURS:
            raise refusal or KeyServerFault(Fault.REFUSED, NOT_SEEN)
        if seen.behind is Behind.NONE and seen.anchor is Whose.NOBODYS:
            refusal = await _written(holding, at, marker, ANCHOR)
            if refusal is not None:
                raise refusal
        return await self._store(holding, fencing.held(marker, ids))

    async def _alone(self, holding: Holding, at: Visit, marker: EpochMarker) -> EpochMarker:
        """Have the fence before one that is held destroyed: that it is gone tells clones, so it must be."""
        if not marker.behind:
            return marker
        name = _name(marker, marker.number - 1)
        for id_ in marker.behind:
            if await _is_there(at, id_, name):
                holding.check_time()
                await _destroyed(at, id_, name)
        return await self._store(holding, replace(marker, behind=()))

    async def _store(self, holding: Holding, marker: EpochMarker) -> EpochMarker:
        def work(tx: Transaction) -> None:
            holding.check(tx)
            if incarnation_of(tx).uuid != marker.incarnation:
                raise Cloned
            tx.put_epoch_marker(marker)

        await self._context.store.write(work)
        return marker


def _token(at: Visit) -> bytes:
    return fencing.token(at.digest_key, at.key_server, secrets.token_bytes(RANDOM_BYTES))


def _name(marker: EpochMarker, number: int) -> str:
    return str(epoch_marker_name(marker.incarnation, marker.key_server, number))


async def _look(at: Visit, marker: EpochMarker) -> tuple[MarkersSeen, tuple[str, ...]]:
    """Look at what tells about a fence, in the order that :mod:`keystead.core.keys.epoch_markers` says; also its
    objects.
    """
    whose, ids = await _whose(at, marker, marker.number)
    behind = Behind.NONE
    if marker.behind:
        name = _name(marker, marker.number - 1)
        there = [await _is_there(at, id_, name) for id_ in marker.behind]
        behind = Behind.THERE if all(there) else Behind.GONE
    anchor, _ = await _whose(at, marker, ANCHOR)
    return MarkersSeen(whose, behind, anchor, at.canary), ids


async def _whose(at: Visit, marker: EpochMarker, number: int) -> tuple[Whose, tuple[str, ...]]:
    """Whose what stands under a fence's name is: ours if all of it has our token."""
    name = _name(marker, number)
    ids = await at.session.locate(name)
    ours = [await _has_token(at, id_, marker.token) for id_ in ids]
    if not ids:
        return Whose.NOBODYS, ()
    return (Whose.OURS if all(ours) else Whose.ANOTHERS), ids


async def _has_token(at: Visit, id_: str, token: bytes) -> bool:
    """Whether an object is ours; none that is destroyed is. Raises KeyServerFault when the server does not say.

    What nobody's database has made says nothing: the server returns other bytes than it was sent.
    """
    if (await at.session.get_attributes(id_)).state in DESTROYED_STATES:
        return False
    found = (await at.session.get([id_])).reveal()
    if not fencing.is_token(at.digest_key, at.key_server, found):
        raise KeyServerFault(Fault.REFUSED, OTHER_BYTES)
    return secrets.compare_digest(found, token)


async def _is_there(at: Visit, id_: str, name: str) -> bool:
    """Whether a fence is there: under its identifier, with its name. Raises KeyServerFault when that is not said."""
    try:
        facts = await at.session.get_attributes(id_)
    except KeyServerFault as fault:
        if fault.fault is Fault.NOT_FOUND:
            return False
        raise
    return facts.state not in DESTROYED_STATES and name in facts.names


async def _written(holding: Holding, at: Visit, marker: EpochMarker, number: int) -> KeyServerFault | None:
    """Register a fence; return why the server took it not, which may be that another has just come under its name."""
    form = KeyForm.SECRET_DATA if at.profile is None else at.profile.form
    single = KeyForm.SYMMETRIC_KEY if form is KeyForm.SYMMETRIC_KEY_PAIR else form
    holding.check_time()
    try:
        await at.session.register(_name(marker, number), Secret(marker.token), single, application_information=None)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return fault
    return None


async def _destroyed(at: Visit, id_: str, name: str) -> None:
    """Destroy a fence of ours; where objects are Active at once, after it was revoked. Raises when it stays."""
    for end in (at.session.destroy, at.session.revoke, at.session.destroy):
        try:
            await end(id_)
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
        if not await _is_there(at, id_, name):
            return
    raise KeyServerFault(Fault.REFUSED, NOT_GONE)
