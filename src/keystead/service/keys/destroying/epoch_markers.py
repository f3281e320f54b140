"""Replace epoch markers on key servers, to detect a clone of the database before objects are destroyed.

A marker is replaced before objects are destroyed on its server, and also from time to time so that a clone sees it. It
is replaced soon after a key was recovered, because an older copy of this database would destroy that key.

The work needs the keeper's lease, and each step is stored. The rules are in :mod:`keystead.core.keys.epoch_markers`.
A database that has a clone begins a new incarnation, in which destruction is held. Nothing is destroyed in this round
on a server whose marker cannot be replaced. A server that does not find objects by name has no marker.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core.keys import epoch_markers as marker_rules
from keystead.core.keys.epoch_markers import (
    ANCHOR,
    RANDOM_BYTES,
    EpochMarkerState,
    MarkerOwner,
    MarkersSeen,
    PreviousMarker,
    Verdict,
)
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import KeyForm
from keystead.core.keys.names import epoch_marker_name
from keystead.core.secret import Secret
from keystead.service.cluster.incarnations import CloneFound
from keystead.service.keys.context import topology_of
from keystead.service.keys.destroying.purge import servers_to_destroy_on, sites_of
from keystead.service.keys.looking.visit import visit
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import (
    AttemptRows,
    CopyRows,
    DetachedRows,
    EpochMarkerRows,
    KeyRows,
    ReceiptRows,
    TopologyRows,
)
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext, Site
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology

log = structlog.get_logger(__name__)

EVERY_S: Final = 3600.0
"""How many seconds a marker stays at most where nothing is destroyed.

So a clone also detects an original database that only creates keys.
"""

RETRY_S: Final = 300.0
"""How many seconds pass before the marker is tried again on a server that failed, if nothing is to be destroyed there.

The server may be dead.
"""

NOT_SEEN: Final = "fence_not_seen"
NOT_GONE: Final = "fence_not_gone"
OTHER_BYTES: Final = "fence_different"


class Rows(
    TopologyRows,
    KeyManagerRows,
    LeaseRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReceiptRows,
    EpochMarkerRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class EpochMarkers:
    """The step that replaces epoch markers. ``on_cloned`` begins a new incarnation after the given one (uuid)."""

    def __init__(self, context: KeeperContext, on_cloned: Callable[[str], Awaitable[None]]) -> None:
        self._context = context
        self._on_cloned = on_cloned
        self._replace_at: dict[str, float] = {}  # by server (uuid), monotonic: when to replace its marker in any case
        self._failed: set[str] = set()  # servers (uuids) where replacing failed

    async def advance(self, holding: Holding, key_manager: str) -> frozenset[str]:
        """Replace the markers that are due. Return the servers (uuids) on which objects may be destroyed in this round.

        Called in each round of the keeper, before anything is destroyed. A marker is due if objects are to be destroyed
        on its server, if the database flags it because a key was recovered, or if its time (``_replace_at``) has come.
        In the first round of a process that time has come for all markers.

        A server is returned if its marker was replaced now, or if it has none because it does not find objects by name.
        When a clone is found, a new incarnation begins and no server is returned. Raises StoreError, LeaseLost.
        """
        read, clock = self._context.store.read, self._context.clock
        topology = await read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return frozenset()
        sites = await read(lambda tx: sites_of(tx, topology))
        flagged = await read(lambda tx: tx.due_epoch_markers(key_manager))
        # An attempt that timed out waits for all its servers, so it needs no marker while one of them fails.
        wanted = flagged | await read(lambda tx: servers_to_destroy_on(tx, topology, clock.now(), self._failed))
        passed: set[str] = set()
        for uuid, site in sites.items():
            if site.profile is not None and not site.profile.locate_by_name:
                passed.add(uuid)
            elif uuid in wanted or self._replace_at.get(uuid, 0.0) <= clock.monotonic():
                self._replace_at.pop(uuid, None)  # so the next round tries again if this one is cut off
                try:
                    if uuid in flagged:
                        await self._context.store.write(lambda tx: tx.clear_epoch_marker_due(uuid))  # noqa: B023 - awaited
                    await self._replace(holding, topology, site)
                except KeyServerFault as fault:
                    self._replace_at[uuid] = clock.monotonic() + RETRY_S
                    self._failed.add(uuid)
                    log.info(
                        "nothing is destroyed: epoch marker not replaced",
                        address=str(site.server.address),
                        why=fault.reason,
                    )
                except CloneFound:
                    log.warning("a clone of the database is found", address=str(site.server.address))
                    await self._on_cloned(topology.incarnation.uuid)
                    return frozenset()
                else:
                    self._replace_at[uuid] = clock.monotonic() + EVERY_S
                    self._failed.discard(uuid)
                    passed.add(uuid)
        return frozenset(passed)

    async def _replace(self, holding: Holding, topology: ServerTopology, site: Site) -> None:
        """Write a marker with a new token to a server, then destroy the previous marker.

        If this incarnation has no marker there, write a first one and end. If an earlier round did not finish, first
        finish its work: settle a marker in state ``sent``, and destroy the marker before it. Then replace the marker
        all the same. The settled marker proves nothing, because a clone may have the same token in its database. Called
        when a marker is due. Raises KeyServerFault, CloneFound, LeaseLost.
        """
        uuid, incarnation = site.server.uuid, topology.incarnation.uuid
        marker = await self._context.store.read(lambda tx: tx.epoch_marker(uuid))
        async with visit(self._context, topology, site.server, profile=site.profile, exact=True) as at:
            if marker is None or marker.incarnation != incarnation:
                await self._ensure_held(holding, at, marker_rules.first_marker(uuid, incarnation, _token(at)), new=True)
                return
            if marker.state is EpochMarkerState.SENT:
                marker = await self._ensure_held(holding, at, marker)
            marker = await self._destroy_previous(holding, at, marker)
            marker = await self._ensure_held(holding, at, marker_rules.next_marker(marker, _token(at)), new=True)
            await self._destroy_previous(holding, at, marker)

    async def _ensure_held(self, holding: Holding, at: Visit, marker: EpochMarker, *, new: bool = False) -> EpochMarker:
        """Write a marker unless it is on the server. Store it as held with its identifiers, and return it.

        Raises CloneFound if the server shows that there is a clone. A first marker also gets its anchor. If the server
        lost all its markers, begin with a first marker again, and return that one.

        ``new``: store the marker as ``sent`` first. Without it, the marker was stored as ``sent`` in an earlier round.
        Raises KeyServerFault.
        """
        if new:
            await self._store(holding, marker)
        seen, ids = await _look(at, marker)
        verdict, refusal = marker_rules.verdict_of(seen), None
        if verdict is Verdict.WRITE:
            refusal = await _register(holding, at, marker, marker.number)
            seen, ids = await _look(at, marker)
            verdict = marker_rules.verdict_of(seen)
        if verdict is Verdict.CLONED:
            raise CloneFound
        if verdict is Verdict.LOST:
            log.warning("a key server has lost its epoch markers", key_server=at.key_server)
            again = marker_rules.first_marker(marker.key_server, marker.incarnation, _token(at))
            return await self._ensure_held(holding, at, again, new=True)
        if verdict is not Verdict.OURS:
            raise refusal or KeyServerFault(Fault.REFUSED, NOT_SEEN)
        if seen.previous is PreviousMarker.NEVER_WRITTEN and seen.anchor is MarkerOwner.NONE_THERE:
            refusal = await _register(holding, at, marker, ANCHOR)
            if refusal is not None:
                raise refusal
        return await self._store(holding, marker_rules.as_held(marker, ids))

    async def _destroy_previous(self, holding: Holding, at: Visit, marker: EpochMarker) -> EpochMarker:
        """Destroy the previous marker if it is still on the server. Return the marker without ``previous_identifiers``.

        That marker is stored, too. ``marker`` is in state ``held``, and ``previous_identifiers`` are those of the
        previous marker. Called before a new marker is written, if an earlier round did not do it, and after that.

        A clone of this database still expects the previous marker, finds that it is gone, and so knows of us. Raises
        KeyServerFault, LeaseLost.
        """
        if not marker.previous_identifiers:
            return marker
        name = _name(marker, marker.number - 1)
        for id_ in marker.previous_identifiers:
            if await _is_there(at, id_, name):
                holding.check_time()
                await _destroy_marker(at, id_, name)
        return await self._store(holding, replace(marker, previous_identifiers=()))

    async def _store(self, holding: Holding, marker: EpochMarker) -> EpochMarker:
        """Store a marker, and return it unchanged.

        Raises LeaseLost, and CloneFound if another incarnation than the marker's is current now.
        """

        def work(tx: Rows) -> None:
            holding.check(tx)
            if incarnation_of(tx).uuid != marker.incarnation:
                raise CloneFound
            tx.put_epoch_marker(marker)

        await self._context.store.write(work)
        return marker


def _token(at: Visit) -> bytes:
    """Return a new token for a marker on the visited server: random bytes and their digest."""
    return marker_rules.token(at.digest_key, at.key_server, secrets.token_bytes(RANDOM_BYTES))


def _name(marker: EpochMarker, number: int) -> str:
    """Return the object name of the marker with this ``number``, in the incarnation and on the server of ``marker``."""
    return str(epoch_marker_name(marker.incarnation, marker.key_server, number))


async def _look(at: Visit, marker: EpochMarker) -> tuple[MarkersSeen, tuple[str, ...]]:
    """Look for the marker, the previous marker and the anchor, in this order. Also return the marker's identifiers.

    The order matters, see :mod:`keystead.core.keys.epoch_markers`. Called before a marker is written, and again after
    that. Raises KeyServerFault.
    """
    whose, ids = await _owner_of(at, marker, marker.number)
    previous = PreviousMarker.NEVER_WRITTEN
    if marker.previous_identifiers:
        name = _name(marker, marker.number - 1)
        there = [await _is_there(at, id_, name) for id_ in marker.previous_identifiers]
        previous = PreviousMarker.PRESENT if all(there) else PreviousMarker.GONE
    anchor, _ = await _owner_of(at, marker, ANCHOR)
    return MarkersSeen(whose, previous, anchor, at.canary), ids


async def _owner_of(at: Visit, marker: EpochMarker, number: int) -> tuple[MarkerOwner, tuple[str, ...]]:
    """Return who owns the objects under the marker's name with this number, and their identifiers.

    They are ours if all of them have our token. If there is none, they are nobody's, and the identifiers are empty.
    """
    name = _name(marker, number)
    ids = await at.session.locate(name)
    ours = [await _has_token(at, id_, marker.token) for id_ in ids]
    if not ids:
        return MarkerOwner.NONE_THERE, ()
    return (MarkerOwner.OURS if all(ours) else MarkerOwner.OTHER), ids


async def _has_token(at: Visit, id_: str, token: bytes) -> bool:
    """Return True if an object has this token; False also if the object is destroyed.

    Raises KeyServerFault if the server does not return the object. It is raised also for bytes that are no token of
    any database, because then the server returns other bytes than it was sent.
    """
    if (await at.session.get_attributes(id_)).state in DESTROYED_STATES:
        return False
    found = (await at.session.get([id_])).reveal()
    if not marker_rules.is_token(at.digest_key, at.key_server, found):
        raise KeyServerFault(Fault.REFUSED, OTHER_BYTES)
    return secrets.compare_digest(found, token)


async def _is_there(at: Visit, id_: str, name: str) -> bool:
    """Return True if an object with this identifier and name is on the server and is not destroyed.

    Raises KeyServerFault if the server does not answer, or refuses in another way than ``not_found``.
    """
    try:
        facts = await at.session.get_attributes(id_)
    except KeyServerFault as fault:
        if fault.fault is Fault.NOT_FOUND:
            return False
        raise
    return facts.state not in DESTROYED_STATES and name in facts.names


async def _register(holding: Holding, at: Visit, marker: EpochMarker, number: int) -> KeyServerFault | None:
    """Register a marker, or its anchor, under this number. Return the fault if the server refused it, else None.

    The server may refuse because another database has just registered an object with that name. Raises KeyServerFault
    if the server does not answer, LeaseLost.
    """
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


async def _destroy_marker(at: Visit, id_: str, name: str) -> None:
    """Destroy a previous marker of ours. If it is still there after Destroy, revoke it and try again.

    It may be Active, although nobody activated it. Refusals are ignored. Raises KeyServerFault if the marker is still
    there in the end, or if the server does not answer.
    """
    for end in (at.session.destroy, at.session.revoke, at.session.destroy):
        try:
            await end(id_)
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
        if not await _is_there(at, id_, name):
            return
    raise KeyServerFault(Fault.REFUSED, NOT_GONE)
