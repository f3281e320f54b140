"""Prevent the loss of keys when key servers are removed: a removal that would lose a key is refused.

Copies are proven outside of any transaction, page by page, and the proofs are stored with them. So a removal that was
cut off goes on from there. The transaction that removes the server counts the proofs again under the key manager's
lock. So two removals at the same time cannot rely on each other's server. A stored proof counts only at an address that
has answered in this call: it showed its canary, or a copy was read there. A copy in doubt does not permit a removal:
each address to be removed is asked for it once more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.guarding import Removal, RemovalFindings, sole_copy
from keystead.core.keys.model import Detached, Presence
from keystead.core.keys.proving import (
    ENOUGH,
    NEVER,
    NO_PROOFS,
    Moment,
    NeededProofs,
    ProvingAttempt,
    needed_proofs,
)
from keystead.service.keys.guarding.pages import copies_on, departure_of, page_at_risk, staying
from keystead.service.keys.guarding.readings import PageProving, RemovalReadings
from keystead.service.keys.guarding.showing import SERVER
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.probing.queue import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.guarding import KeyAtRisk
    from keystead.core.keys.model import Copy
    from keystead.core.model import KeyServer
    from keystead.service.context import Call
    from keystead.service.keys.guarding.pages import PageAtRisk
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

PROVING_S: Final = 25.0
"""How long the last reading may take: the first proof must still count when the last one is made."""

LOOKING_S: Final = 3.0
"""How long a look at the canaries of all other servers may take. A server not seen by then does not answer."""

TRIES: Final = 3
"""How often a page is read for which there was no free connection, and how often the last reading begins."""

NOT_IN_TIME: Final = "not_proven_in_time"
LAST_READING: Final = "last_reading_too_long"
"""Reasons of a removal that could not be proven in time: the call ended, or proofs were too old at its end."""

Report = Callable[[int, int], Awaitable[None]]
"""A function that is told how many keys of how many are proven, after each page."""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, RemovalRows, DetachedRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(slots=True)
class _Proving:
    """The proving of one removal by one call: what was found since ``began``, and how far it is.

    ``kept`` is True once the proving attempt is stored, so that later calls go on with it. ``done`` of ``keys`` keys
    are proven; both are counted only if there is more than one page.
    """

    call: Call
    removal: Removal
    ends: float
    report: Report
    began: datetime
    found: RemovalFindings
    kept: bool = False
    done: int = 0
    keys: int = 0


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk over the keys at risk that still lack proofs.

    ``domains`` is in how many replication domains a key is proven: one in the last reading, before it :data:`ENOUGH`.
    ``until`` is when the walk must end (loop time), and ``last`` the time at which its proofs must still count.
    """

    domains: int
    until: float
    last: datetime | None = None

    def needed(self, began: datetime, now: datetime) -> NeededProofs:
        """Return which proofs a key must have not to be read in this walk."""
        if self.last is not None:
            return needed_proofs(began, now, self.last - now)
        return NeededProofs(NEVER, needed_proofs(began, now).attempt)


async def nobody(_done: int, _keys: int) -> None:
    """Tell nobody how far a removal is."""


class RemovalGuard:
    """The guard to ask before a key server is removed, and in the transaction that removes it."""

    def __init__(self, store: Store[Rows], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._readings = RemovalReadings(store, objects, endpoints, clock)
        self._clock = clock

    async def prove(self, call: Call, removal: Removal, ends: float, report: Report = nobody) -> RemovalFindings:
        """Prove copies elsewhere of the keys at risk. Return what was found, for :meth:`check`.

        Called before a key server or secondaries are removed, and before a detached server is given up. Proofs are
        stored. If all keys can be read while the first proof is fresh, one proof of each is enough. Otherwise each key
        is proven in two domains, and keys that have copies in only one are read again last.

        Raises 65536700 for keys that cannot be proven elsewhere. Only accounts of the cluster get the reason, because
        accounts of an SVM choose the addresses. Raises 262145 (503) when the call ends first (``ends``, loop time), or
        if the last reading takes longer than proofs are fresh. Another call goes on from there.
        """
        begun = self._moment()
        proving = _Proving(call, removal, ends, report, begun.now, RemovalFindings())
        for _ in range(TRIES):
            begun = await self._begin(proving, begun)
            if await self._read_last(proving):
                return proving.found
            await self._keep(proving)
            if not await self._prove_pages(proving, _Walk(ENOUGH, ends)):
                break
        raise await self._unfinished(proving)

    def check(self, tx: Rows, removal: Removal, found: RemovalFindings) -> bool:
        """Return True if the removal loses no key now.

        Call it in the transaction that holds the key manager and removes the server. ``found`` is what this call has
        found. False means that others have changed something since, or that the proofs are too old. Then prove again.
        """
        moment, needed = self._moment(), NO_PROOFS
        if found.began is not None and found.moment is not None and found.moment.is_fresh(moment):
            needed = needed_proofs(found.began, moment.now)
        cursor: str | None = ""
        while cursor is not None:
            _, at_risk, cursor = page_at_risk(tx, removal, needed, found, cursor)
            if at_risk:
                return False
        return True

    def keys_on(self, tx: RemovalRows, server: KeyServer) -> int:
        """Return how many keys the removal of a server has to prove, at most."""
        return tx.count_at_risk(server.key_manager, [server.uuid], (), NO_PROOFS)

    def detach(self, tx: Rows, server: KeyServer) -> None:
        """Store a removed server as detached if it has copies that are not destroyed; else delete its server profile.

        Called in the transaction that removes the server. The caller deletes the server itself.
        """
        if any(copy.presence is not Presence.DESTROYED for copy in copies_on(tx, server)):
            tx.add_detached_key_server(Detached(server, self._clock.now()))
        else:
            tx.delete_profile(server.uuid)

    async def detached(self, call: Call, key_manager: str) -> tuple[Detached, ...]:
        """Return the detached key servers of a key manager.

        Raises 4 (404) if the call does not see the key manager. Called to list detached servers.
        """

        def read(tx: Rows) -> tuple[Detached, ...]:
            return tx.detached_key_servers(require_key_manager(tx, call, key_manager).uuid)

        return await self._store.read(read)

    # --- proving ---

    async def _read_last(self, proving: _Proving) -> bool:
        """Prove the keys that are not safe, within :data:`PROVING_S`. Return False if that takes longer.

        An address counts only if it shows its canary now, or if a copy is read there.
        """
        loop, removal, found = asyncio.get_running_loop(), proving.removal, proving.found
        until = min(loop.time() + PROVING_S, proving.ends)
        topology, at_risk, _ = await self._store.read(lambda tx: page_at_risk(tx, removal, NO_PROOFS, found, ""))
        if not at_risk:
            return True
        looks_end = min(loop.time() + LOOKING_S, until)
        departure = departure_of(topology, removal, found)
        found.answering.update(await self._readings.answering(topology, departure, looks_end))
        last = self._clock.now() + timedelta(seconds=PROVING_S)
        return await self._prove_pages(proving, _Walk(1, until, last)) is not None

    async def _prove_pages(self, proving: _Proving, walk: _Walk) -> int | None:
        """Prove the keys of a walk, page by page. Return how many proofs were made; None if time was over."""
        loop, removal, found = asyncio.get_running_loop(), proving.removal, proving.found
        made, tries, cursor = 0, TRIES, ""

        def read(tx: Rows) -> PageAtRisk:
            return page_at_risk(tx, removal, walk.needed(proving.began, self._clock.now()), found, cursor, walk.domains)

        while True:
            topology, at_risk, rest = await self._store.read(read)
            if rest is not None and not cursor:
                await self._count(proving, walk)
            page = await self._prove_page(proving, walk, topology, at_risk)
            made += page.made
            if page.late:
                tries -= 1
                if tries and loop.time() < walk.until:
                    continue
                return None
            proving.done += len(at_risk)
            if proving.keys:
                await proving.report(min(proving.done, proving.keys), proving.keys)
            if rest is None:
                return made
            cursor = rest

    async def _prove_page(
        self, proving: _Proving, walk: _Walk, topology: ServerTopology, at_risk: Sequence[KeyAtRisk]
    ) -> PageProving:
        """Prove a page of keys. Raises 65536700 for keys that may be lost, unless only time was lacking."""
        removal, found = proving.removal, proving.found
        attempt = walk.needed(proving.began, self._clock.now()).attempt if walk.last is None else NEVER
        page = PageProving(topology, at_risk, found.answering, attempt, walk.domains)
        await self._readings.prove(page, walk.until, partial(self._note, proving=proving))
        if page.unproven:
            departure = departure_of(topology, removal, found)
            lost, undecided = await self._readings.may_be_lost(
                topology, departure, removal.server, page.unproven, found, walk.until
            )
            sole = [key for key in lost if key.uuid not in page.late | undecided]
            if sole:
                raise sole_copy(sole, page.reason if proving.call.caller.svm is None else "")
            denied = {each.key.uuid for each in page.unproven} - {key.uuid for key in lost}
            page.late = page.late - denied | undecided
        return page

    async def _count(self, proving: _Proving, walk: _Walk) -> None:
        """Count the keys and those that are proven already, because there is more than one page. Keep the attempt."""
        removal, found = proving.removal, proving.found

        def read(tx: Rows) -> tuple[int, int]:
            needed = walk.needed(proving.began, self._clock.now())
            stay = staying(load_topology(tx, removal.key_manager), removal, found, walk.domains)
            going = [removal.server.uuid]
            left = tx.count_at_risk(removal.key_manager.uuid, going, stay, needed)
            return self.keys_on(tx, removal.server), left

        proving.keys, left = await self._store.read(read)
        proving.done = proving.keys - left
        await self._keep(proving)

    async def _unfinished(self, proving: _Proving) -> OntapError:
        """Return the error 262145 (503) for a removal that ran out of time: how far it is, and why."""
        reason = NOT_IN_TIME if asyncio.get_running_loop().time() >= proving.ends else LAST_READING
        keys = proving.keys or await self._store.read(lambda tx: self.keys_on(tx, proving.removal.server))
        arguments = [("keys", str(keys)), ("proven", str(min(proving.done, keys))), ("reason", reason)]
        return OntapError(errors.KEYS_UNPROVEN, target=SERVER, arguments=arguments, retry_after=RETRY_AFTER_S)

    # --- the proving attempt ---

    def _moment(self) -> Moment:
        return Moment(self._clock.now(), monotonic())

    async def _begin(self, proving: _Proving, begun: Moment) -> Moment:
        """Begin a reading: go on with the stored attempt if its proofs count. Return when this call's proofs began.

        After a jump of the clock, nothing that was proven before counts.
        """
        moment, what = self._moment(), proving.removal.what
        stored = await self._store.read(lambda tx: tx.proving_attempt(what))
        jumped = not begun.agrees(moment)
        proving.kept = stored is not None and stored.goes_on(moment.now) and not jumped
        begun = moment if jumped else begun
        proving.began = stored.began if stored is not None and proving.kept else begun.now
        proving.found = RemovalFindings(proving.began, moment)
        return begun

    async def _keep(self, proving: _Proving) -> None:
        """Store the proving attempt, so that a later call goes on with it."""
        proving.kept = True
        await self._store.write(lambda tx: self._note(tx, (), self._clock.now(), proving))

    def _note(self, tx: RemovalRows, copies: Sequence[Copy], time: datetime, proving: _Proving) -> None:
        """Store proofs, and that the attempt went on."""
        tx.note_proven(copies, time)
        if proving.kept:
            removal = proving.removal
            tx.put_proving_attempt(ProvingAttempt(removal.what, removal.key_manager.uuid, proving.began, time))
