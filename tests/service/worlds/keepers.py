"""What tests of keeping keys share: everything that one process keeps keys with, over key servers that were learned."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core.availability import PRIMARY, AddressCheck, CheckResult, WatchedAddress
from keystead.core.errors import OntapError
from keystead.core.keys.model import Incarnation, KeyState
from keystead.keyservers.forms import material_of
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import close, first
from keystead.kmip.ttlv.enums import ObjectType, Operation, ResultReason
from keystead.service.announcing import add_events
from keystead.service.cluster.leases import Leases
from keystead.service.cluster.trusted_clock import TrustedClock
from keystead.service.keys.context import KeeperContext
from keystead.service.keys.destroying.epoch_markers import EpochMarkers
from keystead.service.keys.destroying.purge import KeyPurge, sites_of
from keystead.service.keys.destroying.retire import KeyRetirement
from keystead.service.keys.keeping.replicate_now import KeyReplicator
from keystead.service.keys.keeping.rounds import KeyRounds, RoundParts
from keystead.service.keys.keeping.settle import AttemptSettlement
from keystead.service.keys.keeping.sweep import CopySweep
from keystead.service.keys.looking.visible import KeyVisibility
from keystead.service.keys.orphans.adopt import Orphans
from keystead.service.keys.orphans.dismiss import OrphanDismissals
from keystead.service.keys.orphans.scan import OrphanScan
from keystead.service.probing.observations import Observations
from tests.service.worlds.keys import CALL, at_once
from tests.service.worlds.learning import learner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from keystead.core.jobs import JobOutcome
    from keystead.core.keys.keeping import Sweep
    from keystead.core.keys.model import Key
    from keystead.core.model import Event, KeyServer
    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.kmip.testing.server import Exchange, Fault
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.cluster.jobs import Progress
    from keystead.service.cluster.leases import Holding
    from keystead.service.context import Call
    from keystead.service.keys.keeping.sweep import Filled
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Store, Transaction
    from tests.service.worlds.keys import KeyNode, KeyWorld, ShiftedClock

WINDOW_S = 7 * 86_400
PAIRS = "pairs of keys"


class Pairs(Responder):
    """A server that takes AES keys of 256 bits and nothing else: a key of ours is two of them."""

    def respond(self, request: RequestMessage, client: str | None = None) -> ResponseMessage:
        """Refuse to register what is no such key."""
        payload: Any = request.batch_item[0].request_payload
        if request.batch_item[0].operation == Operation.REGISTER:
            taken = payload.object_type == ObjectType.SYMMETRIC_KEY
            taken = taken and len(material_of(payload.managed_object) or b"") == 32
            self.refusals = {} if taken else {Operation.REGISTER: ResultReason.INVALID_FIELD}
        return super().respond(request, client)


def of_kind(kind: str) -> Responder:
    """A server of one of the kinds of :data:`keystead.kmip.testing.profiles.PROFILES`, or one for :data:`PAIRS`."""
    return Pairs() if kind == PAIRS else Responder(profile=PROFILES[kind])


async def say_nothing(_: OntapError) -> None:
    """Progress that nobody reads."""


def believed(store: Store[Transaction], clock: ShiftedClock, node: str) -> TrustedClock:
    """Return the clock of a process that has been right for a while."""
    made = TrustedClock(store, clock, node)
    made._read = clock.now(), clock.monotonic()
    return made


class Keeping:
    """One process' keeper, part by part, on one key manager. What it does is done under the lease."""

    def __init__(self, world: KeyWorld, node: KeyNode, manager: str) -> None:
        self.world, self.node, self.manager = world, node, manager
        self.context = KeeperContext(
            node.store, node.objects, node.endpoints, world.clock, node.uuid, at_once, node.audit
        )
        self.leases = Leases(node.store, world.clock, node.uuid)
        self.learner = learner(world, node)
        self.settling = AttemptSettlement(self.context)
        self.keeping = CopySweep(self.context, node.writer)
        self.replicator = KeyReplicator(self.context, self.learner, self.keeping)
        self.cloned: list[str] = []
        self.epoch_markers = EpochMarkers(self.context, self.hold)
        self.clock = believed(node.store, world.clock, node.uuid)
        self.destroying = KeyPurge(self.context, self.clock, self.hold)
        self.scanning = OrphanScan(self.context)
        self.unclaimed = Orphans(self.context, node.audit)
        self.dismissals = OrphanDismissals(self.context, node.audit)
        self.ending = KeyRetirement(node.store, node.audit, world.clock)
        self.parts = RoundParts(
            self.settling, self.keeping, self.epoch_markers, self.destroying, self.scanning, self.learner
        )
        self.rounds = KeyRounds(self.context, self.leases, self.parts)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Holding]:
        """Hold the keeper's lease."""
        async with self.rounds.holding() as holding:
            assert holding is not None
            yield holding

    async def abort_expired(self) -> int:
        """Abort what is over."""
        async with self.lease() as holding:
            return await self.settling.abort_expired(holding)

    async def settle(self) -> int:
        """Look at what is open."""
        async with self.lease() as holding:
            return await self.settling.settle(holding, self.manager)

    async def sweep(self, server: int = 0) -> Sweep | None:
        """Look at all copies on a server."""
        uuid = (await self.world.servers(self.manager))[server].uuid
        async with self.lease() as holding:
            return await self.keeping.sweep(holding, self.manager, uuid)

    async def watch(self) -> None:
        """Look at the keys on all primaries, and store what is seen, as this node's monitor does."""
        places = await self.world.topology(self.manager)
        looks = [await self._watched(places, server) for server in places.servers]
        observing = Observations(self.world.clock, self.node.uuid)
        owners = {self.manager: places.key_manager.svm}
        await self.node.store.write(lambda tx: add_events(tx, observing.apply(tx, owners, places.servers, looks)))

    async def _watched(self, places: ServerTopology, server: KeyServer) -> AddressCheck:
        """Return what a look at the keys on one primary finds."""
        visibility = KeyVisibility(self.node.store, self.world.home.keyring, self.world.clock)
        endpoint = self.node.endpoints.primary(server, self.node.endpoints.identity(places))
        async with self.node.objects.session(endpoint, timeout_s=5) as session:
            seen = await visibility.sees_keys(session, server, "")
        place = WatchedAddress(server.uuid, PRIMARY)
        return AddressCheck(self.manager, place, CheckResult(keys_visible=seen), self.world.clock.now())

    async def fill(self) -> Filled:
        """Write what is lacking."""
        return await self.keeping.fill(self.manager)

    async def replicate(self, progress: Progress = say_nothing, call: Call = CALL) -> JobOutcome:
        """Write what is lacking, as a call does."""
        outcome = await (await self.replicator.replicate(call, self.manager)).work(progress)
        assert outcome is not None
        return outcome

    async def end(self) -> None:
        """Go on with what has to end."""
        async with self.lease() as holding:
            await self.destroying.end(holding, self.manager, await self.everywhere())

    async def everywhere(self) -> set[str]:
        """Return all servers, as if they were fenced."""
        places = await self.world.topology(self.manager)
        return set(await self.node.store.read(lambda tx: sites_of(tx, places)))

    async def hold(self, incarnation: str) -> None:
        """Hold what is to be destroyed, as another incarnation does."""
        self.cloned.append(incarnation)
        await set_incarnation(self.world, uuid=str(uuid4()), reason="cloned", destroys=False)

    async def scan(self) -> list[tuple[int, str]]:
        """Look for unclaimed objects; return server and name of those that are listed."""
        async with self.lease() as holding:
            await self.scanning.scan(holding, self.manager)
        order = [server.uuid for server in await self.world.servers(self.manager)]
        listed = await self.world.store.read(lambda tx: tx.orphans(self.manager))
        return sorted((order.index(each.key_server), each.name) for each in listed)

    async def events(self) -> list[tuple[str, dict[str, str]]]:
        """Name and parameters of all events that this node announced, in order."""
        names = ("km.key.different", "km.key.missing", "km.keys.masslost", "km.canary.notvisible", "km.key.solecopy")
        found: tuple[Event, ...] = await self.world.store.read(
            lambda tx: tx.events_named(self.node.uuid, (*names, "km.key.solecopy.cleared"))
        )
        return [(event.name, dict(event.parameters)) for event in sorted(found, key=lambda event: event.index)]

    async def receipts(self, key: Key) -> list[tuple[int, str]]:
        """Server and action of a key's receipts, by server and time."""
        order = [server.uuid for server in await self.world.servers(self.manager)]
        found = await self.world.store.read(lambda tx: tx.receipts([key.uuid]))
        return sorted([(order.index(each.key_server), each.action) for each in found], key=lambda each: each[0])


async def keeping(world: KeyWorld, *servers: KmipServer | str, min_copies: int = 0) -> Keeping:
    """Return a key manager with these servers, learned, and what one process keeps it with."""
    manager = await world.key_manager(*servers, know=False, min_copies=min_copies)
    made = Keeping(world, await world.node(), manager)
    await made.learner.ensure(manager)
    return made


async def retire_and_wait(kept: Keeping, key: Key) -> None:
    """Have a key's window end."""
    retired = await kept.ending.retire(CALL, kept.manager, key.key_id)
    assert retired.state is KeyState.RETIRED
    kept.world.clock.advance(WINDOW_S + 1)


def only(server: KmipServer, ids: Collection[str]) -> Fault:
    """Close the connection when another object than these is asked for. Answer otherwise."""
    known = frozenset(ids)

    async def fault(exchange: Exchange) -> None:
        asked_for: Any = server.requests[-1].batch_item[0].request_payload
        await (exchange.stream.send(exchange.answer) if asked_for.unique_identifier in known else close(exchange))

    return fault


async def aborted(kept: Keeping, *servers: KmipServer) -> Key:
    """Have a creation aborted whose objects lie on all servers, the first of which never told its identifier."""
    servers[0].faults[Operation.REGISTER] = first(1, close)
    servers[0].request_faults[Operation.LOCATE] = close
    for server in servers[1:]:
        server.request_faults[Operation.GET] = only(server, server.responder.objects.keys())
    with pytest.raises(OntapError):
        await kept.node.create(kept.manager)
    for server in servers:
        server.request_faults.clear()
    found = await kept.world.stored_keys(kept.manager)
    return await kept.world.key(found[-1][0])


async def set_incarnation(world: KeyWorld, **values: object) -> Incarnation:
    """Begin another incarnation, or change what may be destroyed in this one."""

    def work(tx: Transaction) -> Incarnation:
        current = tx.incarnation()
        assert current is not None
        changed = replace(current, **values)  # type: ignore[arg-type]
        tx.put_incarnation(changed)
        return changed

    return await world.store.write(work)


async def again(kept: Keeping, *, end: bool = True) -> None:
    """Reach servers as a process does that has just started: none of them is left alone because it failed lately."""
    node = await kept.world.node()
    kept.context = replace(kept.context, objects=node.objects, endpoints=node.endpoints)
    kept.destroying = KeyPurge(kept.context, kept.clock, kept.hold)
    kept.settling = AttemptSettlement(kept.context)
    kept.keeping = CopySweep(kept.context, node.writer)
    kept.scanning = OrphanScan(kept.context)
    kept.node = replace(kept.node, writer=node.writer)
    if end:
        await kept.end()
