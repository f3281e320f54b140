"""A whole system in one process: coordinators on one database, key servers, callers, and a look at what is left.

The coordinators are the real services with short times. Whatever callers are told goes into the history; at each
Destroy that reaches a scripted server the database is asked whether it says, at that moment, that this object may end.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from sqlalchemy import create_engine, select

from keystead.app.incarnation import DataDirectory
from keystead.core.errors import OntapError
from keystead.core.key_servers import AddRequest, NewKeyServer
from keystead.core.keys.creating import NewKey
from keystead.core.keys.destroying import LATE_REGISTER
from keystead.core.keys.epoch_markers import EpochMarkerState
from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.names import ObjectKind, ObjectName, parse
from keystead.core.model import ONTAP_LEVEL, KeyManager, KeyServer, Node, Role
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.gateway import Gateway
from keystead.keyservers.objects import Objects
from keystead.service.audit.log import AuditLog, begin
from keystead.service.audit.reads import ReadAudit
from keystead.service.audit.spool import ReadSpool
from keystead.service.cluster.incarnations import Incarnations
from keystead.service.cluster.leases import LeaseLost, Leases
from keystead.service.configuration.context import ConfigurationContext
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.context import Call, Caller
from keystead.service.keys.attempts import EXPIRES
from keystead.service.keys.context import KeeperContext
from keystead.service.keys.destroying.epoch_markers import EpochMarkers
from keystead.service.keys.destroying.purge import KeyPurge
from keystead.service.keys.destroying.retire import KeyRetirement
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.keeping.rounds import KeyRounds, RoundParts
from keystead.service.keys.keeping.settle import AttemptSettlement
from keystead.service.keys.keeping.sweep import CopySweep
from keystead.service.keys.learning.learn import ServerLearner
from keystead.service.keys.orphans.scan import OrphanScan
from keystead.service.keys.reading.cache import KeyCache
from keystead.service.keys.reading.fetch import Fetcher
from keystead.service.keys.reading.retrieve import KeyReader
from keystead.service.keys.topology import Endpoints
from keystead.service.keys.writing.create import KeyWriter
from keystead.service.keys.writing.descriptors import Describer
from keystead.service.offline import OfflineReads
from keystead.service.ports.store import StoreError
from keystead.service.probing.observations import Observations
from keystead.service.probing.prober import ServerProber
from keystead.service.probing.queue import ProbeQueue
from keystead.store import open_store, tables
from tests.peers.databases import set_clock
from tests.service.worlds.keepers import WINDOW_S, believed
from tests.service.worlds.keys import ShiftedClock, at_once, places_in
from tests.survival.history import History, Kind, Operation, check, short, told
from tests.survival.lives import Life, MortalObjects, MortalStore, note_tasks

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from pathlib import Path
    from random import Random

    from keystead.core.keys.model import Copy, Key
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction
    from tests.peers.homes import Home
    from tests.survival.servers import Held, Place

T = TypeVar("T")

ADMIN: Final = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test")
READER: Final = Call(Caller("reader", Role.KEY_READER, "192.0.2.1"), "POST", "/api/test")
TIMEOUT_S: Final = 2
GRACE_S: Final = 0.1
CACHED: Final = 2
OFFLINE_S: Final = 60
ROUNDS: Final = 12
"""After so many rounds a keeper that still changes something will not come to rest."""


@dataclass(frozen=True)
class Seat:
    """Where one node is served, by one process after the other."""

    uuid: str
    data: Path
    database: str


class Process:
    """One coordinator. ``born`` are the faults that its servers had had by then: it has met none of them."""

    def __init__(self, system: System, seat: Seat) -> None:
        home, clock = system.home, system.clock
        self.life = Life()
        self.seat = seat
        self.uuid, data, database = seat.uuid, seat.data, seat.database
        self.born = {place.address: place.faults for place in system.places}
        self._store = open_store(database)
        set_clock(clock, self._store)
        self._raw = Objects(rules := EgressRules.parse(("127.0.0.0/8", "::1/128"), ()))
        store: Any = MortalStore(self._store, self.life)
        objects = MortalObjects(self._raw, self.life)
        queue = ProbeQueue(per_account=16, per_svm=16, in_all=64, waiting=64)
        prover = ServerProber(Gateway(rules), home.keyring, queue, Observations(clock, self.uuid))
        endpoints = Endpoints(prover, home.keyring)
        self.audit = AuditLog(store, home.keyring, clock, self.uuid)
        self.incarnations = Incarnations(store, DataDirectory(data, self._store), self.audit, clock, self.uuid)
        self.learner = ServerLearner(store, objects, endpoints, home.keyring, clock, wait_s=TIMEOUT_S)
        context = KeeperContext(store, objects, endpoints, clock, self.uuid, at_once, self.audit)
        self.writer = KeyWriter(context, self.learner, self.audit, describe=Describer(endpoints), grace_s=GRACE_S)
        self.ending = KeyRetirement(store, self.audit, clock)
        self.keeping = CopySweep(context, self.writer)
        lives = self.incarnations
        epoch_markers = EpochMarkers(context, lives.cloned)
        destroying = KeyPurge(context, believed(store, clock, self.uuid), lives.cloned, lives.check)
        parts = RoundParts(
            AttemptSettlement(context), self.keeping, epoch_markers, destroying, OrphanScan(context), self.learner
        )
        self.rounds = KeyRounds(context, Leases(store, clock, self.uuid), parts)
        spool = ReadSpool(data / f"{self.uuid}.spool", home.keyring.mac)
        offline = OfflineReads(store, clock, self.uuid, OFFLINE_S)
        self.reads = ReadAudit(store, self.audit, spool, clock, self.uuid, offline)
        fetcher = Fetcher(store, objects, endpoints, clock, self.uuid)
        self.reader = KeyReader(store, fetcher, KeyCache(CACHED), self.reads)
        guard = RemovalGuard(store, objects, endpoints, clock)
        identity = RelocationGuard(store, objects, endpoints, clock)
        self.key_servers = KeyServers(ConfigurationContext(store, prover, home.keyring, self.audit, guard, identity))

    async def start(self) -> None:
        """Begin to serve."""
        await self.life.call(self.incarnations.begin())
        self.reads.start()

    async def close(self) -> None:
        """End it as a service is ended; one that was killed only leaves what it held."""
        self.life.resume()
        if not self.life.dead:
            await self.life.call(self._closed())
        self.life.kill()
        await self.life.ended()
        await self._raw.close()
        await self._store.close()

    async def _closed(self) -> None:
        await self.writer.close()
        await self.reader.close()
        await self.reads.close()
        await self.learner.close()
        await self.audit.close()

    async def round(self, key_manager: str) -> bool:
        """Keep a key manager's keys once, looking at everything; False while another process holds the lease."""
        async with self.rounds.holding() as holding:
            if holding is None:
                return False
            await self.rounds.abort_expired(holding)
            servers = await self._store.read(lambda tx: tx.key_servers(key_manager))
            await self.rounds.keep(holding, key_manager, [server.uuid for server in servers], scan=True)
        return True


@dataclass(frozen=True)
class Catalogue:
    """What the database says of a key manager's keys in the end."""

    keys: dict[str, Key]
    attempts: dict[tuple[str, int], Any]
    copies: tuple[Copy, ...]
    topology: ServerTopology
    incarnations: frozenset[str]
    unclaimed: frozenset[tuple[str, str]]

    def lists(self, address: str, name: str) -> bool:
        """Return True if an object is listed as unclaimed; on what is no key server now none is."""
        here = [server.uuid for server in self.topology.servers if str(server.address) == address]
        return not here or (here[0], name) in self.unclaimed

    def standing(self) -> tuple[object, ...]:
        """All of it but its times: it is the same when nothing was done."""
        copies = sorted(
            (
                copy.key,
                copy.attempt,
                copy.key_server,
                copy.host,
                copy.presence,
                copy.unique_identifiers,
                copy.descriptor,
            )
            for copy in self.copies
        )
        states = sorted((key.uuid, key.state.value) for key in self.keys.values())
        return copies, states, sorted((*place, each.state.value) for place, each in self.attempts.items())


class System:
    """One key manager with its servers, and the processes that serve it."""

    def __init__(self, home: Home, clock: ShiftedClock, folder: Path, database: str = "") -> None:
        note_tasks()
        self.home = home
        self.clock = clock
        self.history = History()
        self.places: list[Place] = []
        self.processes: list[Process] = []
        self.seats: list[Seat] = []
        self.wrong: list[str] = []
        self.refusal = ""  # the latest, for who reads a failure
        self.known: dict[str, Key] = {}
        self.manager = ""
        self.min_copies = 0
        self._database = database or home.database
        self._folder = folder
        self._engine = create_engine(home.store.database.writer.url)

    async def begin(self, places: Sequence[Place], *, nodes: int = 1, min_copies: int = 0) -> None:
        """Make the key manager on these servers, start a process of each node, and have the servers learned."""
        self.places, self.min_copies = list(places), min_copies
        home = self.home
        manager = KeyManager(
            str(uuid4()),
            await home.svm(),
            enabled=True,
            client_certificate=home.client_certificate,
            server_ca_certificates=(home.server_ca,),
            min_copies=min_copies,
        )
        rows = [
            KeyServer(
                *(str(uuid4()), manager.uuid, number, ServerAddress.parse(place.address)),
                *(TIMEOUT_S, TIMEOUT_S, "", place.secondaries),
            )
            for number, place in enumerate(places, 1)
        ]
        await home.store.write(lambda tx: (tx.add_key_manager(manager), tx.add_key_servers(rows)))
        self.manager = manager.uuid
        for _ in range(nodes):
            await self.start(await self._seat())
        await self.keep(self.processes[0])

    async def _seat(self) -> Seat:
        """One more node, in a data directory of its own."""
        seat = Seat(str(uuid4()), self._folder / uuid4().hex[:8], self._database)
        seat.data.mkdir()

        def work(tx: Transaction) -> None:
            tx.put_node(Node(seat.uuid, f"node-{seat.uuid[:8]}", ONTAP_LEVEL))
            begin(tx, self.home.keyring, self.clock, seat.uuid)

        await self.home.store.write(work)
        self.seats.append(seat)
        return seat

    async def start(self, seat: Seat) -> Process:
        """Start a process of a node."""
        made = Process(self, seat)
        await made.start()
        self.processes.append(made)
        return made

    async def end(self, process: Process) -> None:
        """End a process, as far as it is not dead."""
        self.processes.remove(process)
        await process.close()

    async def close(self) -> None:
        """End everything but the key servers."""
        for process in tuple(self.processes):
            await self.end(process)
        self._engine.dispose()

    # --- what processes do ---

    async def keep(self, process: Process) -> bool:
        """Have a process make a round; whether it did."""
        try:
            return await self._told(process, process.round(self.manager))
        except (StoreError, LeaseLost, asyncio.CancelledError):
            return False

    async def _told(self, process: Process, work: Coroutine[Any, Any, T]) -> T:
        """Return what a caller of a process is told; CancelledError when it dies."""
        task = process.life.call(work)
        await asyncio.wait([task])
        return task.result()

    async def _recorded(self, process: Process, operation: Operation, work: Coroutine[Any, Any, T]) -> T | None:
        """The same for the history: an answer, a refusal, or nothing."""
        try:
            return await self._told(process, work)
        except OntapError as error:
            operation.failed()
            self.refusal = f"{error.kind.code}: {error.message} {error.arguments}"
        except (StoreError, asyncio.CancelledError) as error:
            self.refusal = f"{type(error).__name__}: {error}"
        return None

    async def create(self, process: Process, name: str, material: bytes | None) -> Key | None:
        """Create a key."""
        new = NewKey(name, material=Secret(material) if material else None)
        with self.history.operation(Kind.CREATE, name, material=material) as operation:
            key = await self._recorded(process, operation, process.writer.create(ADMIN, self.manager, new))
            if key is not None:
                operation.ok(key=key.key_id)
                self.known[key.key_id] = key
        return key

    async def read(self, process: Process, key: Key, *, guaranteed: bool = False) -> bytes | None:
        """Read a key. It must be readable where the guarantee covers it, or when a test says so."""
        with self.history.operation(Kind.READ, key.name, key.key_id) as operation:
            before = await self._well(process, key)
            work = process.reader.retrieve(READER, self.manager, key.key_id)
            found = await self._recorded(process, operation, work)
            operation.alone = process.reads._away
            operation.guaranteed = guaranteed or bool(before & await self._well(process, key))
            if found is None:
                return None
            material: bytes = found.material.reveal()
            operation.ok(material=material)
        return material

    async def retire(self, process: Process, key: Key) -> None:
        """Retire a key."""
        with self.history.operation(Kind.RETIRE, key.name, key.key_id) as operation:
            if await self._recorded(process, operation, process.ending.retire(ADMIN, self.manager, key.key_id)):
                operation.ok()

    async def recover(self, process: Process, key: Key) -> None:
        """Take that back."""
        with self.history.operation(Kind.RECOVER, key.name, key.key_id) as operation:
            if await self._recorded(process, operation, process.ending.recover(ADMIN, self.manager, key.key_id)):
                operation.ok()

    async def pass_window(self) -> None:
        """Let so much time pass that what is retired cannot be recovered."""
        self.clock.advance(WINDOW_S + 1)
        self.history.window_passed()

    async def remove(self, process: Process, place: Place) -> bool:
        """Remove a server; whether it was."""
        address = ServerAddress.parse(place.address)

        async def work() -> bool:
            state = await process.key_servers.state(ADMIN, self.manager)
            await process.key_servers.remove(ADMIN, state, address)
            return True

        with self.history.operation(Kind.REMOVE_SERVER, place.address) as operation:
            if await self._recorded(process, operation, work()):
                operation.ok()
                return True
        return False

    async def add(self, process: Process, place: Place) -> bool:
        """Add a server; whether it was."""
        new = NewKeyServer(
            *(ServerAddress.parse(place.address), TIMEOUT_S, TIMEOUT_S),
            secondary_key_servers=place.secondaries,
        )

        async def work() -> bool:
            state = await process.key_servers.state(ADMIN, self.manager)
            await process.key_servers.add(ADMIN, state, AddRequest((new,)))
            return True

        with self.history.operation(Kind.ADD_SERVER, place.address) as operation:
            if await self._recorded(process, operation, work()):
                operation.ok()
                return True
        return False

    async def clone(self) -> Process:
        """Start a second system on a copy of the database, as it is now: it has the same servers and certificates."""
        seat = self.seats[0]
        folder = self._folder / f"clone-{uuid4().hex[:8]}"
        shutil.copytree(seat.data, folder)
        copy = folder / "keystead.db"
        source = str(self.home.store.database.writer.url.database)
        with closing(sqlite3.connect(source)) as from_, closing(sqlite3.connect(copy)) as to:
            from_.backup(to)
        made = Process(self, Seat(seat.uuid, folder, f"sqlite:///{copy}"))
        await made.start()
        return made

    @property
    def is_postgresql(self) -> bool:
        """Which database it is."""
        return self._engine.dialect.name == "postgresql"

    # --- what is guaranteed ---

    async def _well(self, process: Process, key: Key) -> set[tuple[str, str, int]]:
        """The proven copies of a key on servers with which nothing was ever wrong since the process began."""
        if process.life.disturbed:
            return set()

        def read(tx: Transaction) -> set[tuple[str, str]]:
            addresses = {server.uuid: str(server.address) for server in tx.key_servers(self.manager)}
            kept = without_aborted(tx.copies([key.uuid]), tx.attempts([key.uuid]))
            return {
                (addresses[copy.key_server], id_)
                for copy in kept
                if copy.presence is Presence.PRESENT and copy.key_server in addresses
                for id_ in copy.unique_identifiers
            }

        found = await self.home.store.read(read)
        places = {place.address: place for place in self.places}
        return {
            (address, id_, places[address].faults)
            for address, id_ in found
            if places[address].failing is None
            and id_ not in places[address].spoiled
            and places[address].faults == process.born.get(address)
        }

    # --- what is destroyed ---

    def witness(self, name: str) -> None:
        """An object of this name is about to be destroyed: the database must say, now, that it may be."""
        parsed = parse(name)
        assert parsed is not None
        if parsed.kind is ObjectKind.CANARY:
            self.wrong.append(f"a canary was destroyed: {name}")
            return
        if parsed.kind is ObjectKind.EPOCH_MARKER:
            self._witness_fence(name, parsed)
            return
        keys, attempts = tables.keys.c, tables.key_attempts.c
        wanted = (
            select(keys.state, attempts.state.label("attempt"), attempts.incarnation)
            .join_from(tables.keys, tables.key_attempts, attempts.key == keys.uuid)
            .where(keys.uuid.startswith(_prefix(parsed)), attempts.number == parsed.attempt)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        if not any(
            row.incarnation.startswith(parsed.incarnation)
            and (row.attempt == AttemptState.ABORTED or row.state in {KeyState.PURGING, KeyState.PURGED})
            for row in rows
        ):
            self.wrong.append(f"an object was destroyed that may not be: {name}, of {[tuple(row) for row in rows]}")

    def _witness_fence(self, name: str, marker: ObjectName) -> None:
        """Of fences only the one before that which is held is destroyed."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(tables.fences)).all()
        if not any(
            row.key_server.replace("-", "").startswith(marker.id)
            and row.incarnation.startswith(marker.incarnation)
            and (row.number, row.state) == (marker.attempt + 1, EpochMarkerState.HELD)
            for row in rows
        ):
            self.wrong.append(f"a fence was destroyed that may not be: {name}, of {[tuple(row) for row in rows]}")

    # --- the end ---

    async def verdict(self, random: Random) -> list[str]:
        """Lose what may be lost, have everything healed, wait until the keeper is quiet; return all that is wrong."""
        for place in self.places:
            await place.heal()
        for process in tuple(self.processes):
            await self.end(process)
        await self._survive(random)
        for place in self.places:
            await place.heal()
        self.clock.advance((EXPIRES + LATE_REGISTER).total_seconds() + 1)
        process = await self.start(self.seats[0])
        await self._until_quiet(process)
        found = await self.catalogue()
        for key in found.keys.values():
            if key.state in {KeyState.PURGING, KeyState.PURGED}:
                with self.history.operation(Kind.PURGED, key.name, key.key_id) as operation:
                    operation.ok()
            if key.key_id in self.known or key.state is KeyState.COMMITTED:
                await self.read(process, key, guaranteed=True)
        missing = self.known.keys() - {key.key_id for key in found.keys.values()}
        self.wrong += [f"an acknowledged key is not in the catalogue: {short(id_)}" for id_ in missing]
        return [*self.wrong, *check(self.history.operations), *self._objects_wrong(found)]

    async def _survive(self, random: Random) -> None:
        """Lose as many replication domains as the guarantee covers, and read every key that was acknowledged.

        It covers all but one of those that a key was acknowledged with, until a server is removed: then only that a
        copy is left. A domain in which something went bad is one of the lost.
        """
        if any(each.kind is Kind.REMOVE_SERVER and each.may_have_happened for each in self.history.operations):
            return
        found = await self.catalogue()
        domain_of = found.topology.domain_of
        of_address = {str(server.address): domain_of[server.uuid] for server in found.topology.servers}
        domains = [of_address[place.address] for place in self.places]
        bad = {domain for domain, place in zip(domains, self.places, strict=True) if place.spoiled}
        wanted = self.min_copies or len(set(domains)) // 2 + 1  # as it is promised, whatever is made of it
        well = sorted(set(domains) - bad)
        random.shuffle(well)
        hurting = self._fewest(found)
        well.sort(key=lambda domain: domain not in hurting)
        lost = bad | set(well[: max(wanted - 1 - len(bad), 0)])
        for domain, place in zip(domains, self.places, strict=True):
            if domain in lost:
                await place.fail("killed")
        process = await self.start(self.seats[0])
        for key in tuple(self.known.values()):
            await self.read(process, key, guaranteed=True)
        await self.end(process)

    def _fewest(self, found: Catalogue) -> set[str]:
        """The domains of the acknowledged key that has proven copies in the fewest: where a loss hurts most."""
        domains: dict[str, set[str]] = {key.uuid: set() for key in self.known.values()}
        for copy in without_aborted(found.copies, found.attempts.values()):
            live = copy.key in domains and found.keys[copy.key].state is KeyState.COMMITTED
            if live and copy.presence is Presence.PRESENT and copy.key_server in found.topology.domain_of:
                domains[copy.key].add(found.topology.domain_of[copy.key_server])
        return min((each for each in domains.values() if each), key=len, default=set())

    async def _until_quiet(self, process: Process) -> None:
        before: tuple[object, ...] = ()
        for _ in range(ROUNDS):
            if not await self.keep(process):
                self.wrong.append("the keeper did not make its round")
            now = (await self.catalogue()).standing()
            if now == before:
                return
            before = now
        self.wrong.append(f"the keeper is not quiet after {ROUNDS} rounds")

    async def catalogue(self) -> Catalogue:
        """Return what the database says now."""

        def read(tx: Transaction) -> Catalogue:
            keys = {key.uuid: key for key in tx.keys_in(self.manager, tuple(KeyState), "", 10_000)}
            attempts = {(each.key, each.number): each for each in tx.attempts(keys)}
            incarnation = tx.incarnation()
            assert incarnation is not None
            own = frozenset(each.incarnation for each in attempts.values()) | {incarnation.uuid}
            unclaimed = frozenset((each.key_server, each.name) for each in tx.orphans(self.manager))
            return Catalogue(keys, attempts, tx.copies(keys), places_in(tx, self.manager), own, unclaimed)

        return await self.home.store.read(read)

    def _objects_wrong(self, found: Catalogue) -> list[str]:
        """Return what lies on the servers, and should not; and what does not, and should."""
        materials = {
            each.key: each.material
            for each in self.history.operations
            if each.kind in {Kind.CREATE, Kind.READ} and each.key and each.material is not None
        }
        held = {place.address: place.held() for place in self.places}
        wrong = [
            f"{place.address}: {line}: {', '.join(each.names)}"
            for place in self.places
            for each in held[place.address]
            if each.identifier not in place.spoiled
            for name in each.names
            if (line := _object_wrong(found, place.address, name, each, materials)) is not None
        ]
        return wrong + self._copies_wrong(found, held)

    def _copies_wrong(self, found: Catalogue, held: dict[str, list[Held]]) -> list[str]:
        """Every key in use has a proven copy in every domain, and what is called proven is there."""
        addresses = {server.uuid: str(server.address) for server in found.topology.servers}
        spoiled = {place.address: place.spoiled for place in self.places}
        there = {(address, each.identifier) for address, objects in held.items() for each in objects}
        wrong = []
        domains: dict[str, set[str]] = {}
        for copy in without_aborted(found.copies, found.attempts.values()):
            if copy.presence is not Presence.PRESENT or copy.key_server not in addresses:
                continue
            domains.setdefault(copy.key, set()).add(found.topology.domain_of[copy.key_server])
            address = addresses[copy.key_server]
            for id_ in copy.unique_identifiers:
                live = found.keys[copy.key].state in {KeyState.COMMITTED, KeyState.RETIRED}
                if live and ((address, id_) not in there or id_ in spoiled[address]):
                    wrong.append(f"{address}: a copy that is called proven is not there: {copy}")
        all_domains = set(found.topology.domain_of.values())
        for key in found.keys.values():
            lacks = all_domains - domains.get(key.uuid, set())
            if key.state is KeyState.COMMITTED and lacks and not self._rotten(found, key, lacks):
                wrong.append(f"key {short(key.key_id)} has no proven copy in {len(lacks)} domains")
        return wrong

    def _rotten(self, found: Catalogue, key: Key, lacks: set[str]) -> bool:
        """Return True if a key's copies in these domains went bad: those are never written over."""
        bad = {copy.key_server for copy in found.copies if copy.key == key.uuid and copy.presence is Presence.DIFFERENT}
        return lacks <= {found.topology.domain_of[uuid] for uuid in bad if uuid in found.topology.domain_of}

    def report(self, wrong: Sequence[str]) -> str:
        """Return what is wrong, and all that happened."""
        return "\n".join([*wrong, told(self.history.operations)])


def _object_wrong(found: Catalogue, address: str, named: str, held: Held, materials: Mapping[str, bytes]) -> str | None:
    """Return what is wrong with an object that is there; None when it is accounted for."""
    name = parse(named)
    if name is None or name.kind in {ObjectKind.CANARY, ObjectKind.EPOCH_MARKER}:
        return None
    if not any(uuid.startswith(name.incarnation) for uuid in found.incarnations):
        return None  # a clone's
    attempt = next(
        (
            each
            for (uuid, number), each in found.attempts.items()
            if uuid.startswith(_prefix(name)) and number == name.attempt
        ),
        None,
    )
    if attempt is None:
        return "an object that no attempt accounts for"
    key = found.keys[attempt.key]
    if attempt.state is AttemptState.ABORTED and not attempt.incarnation:  # it may have been committed
        listed = name.kind is not ObjectKind.KEY or found.lists(address, named)
        return None if listed else "what may have been committed is not listed as unclaimed"
    if attempt.state is AttemptState.ABORTED or key.state is KeyState.PURGED:
        return f"an object is left of an {attempt.state} attempt, of a {key.state} key"
    expected = materials.get(key.key_id)
    if name.kind is ObjectKind.KEY and expected is not None and held.material != _part(expected, name):
        return "an object is not what its key is"
    return None


def _part(material: bytes, name: ObjectName) -> bytes:
    """Return what of a key's material an object is."""
    middle = len(material) // 2
    return {0: material, 1: material[:middle], 2: material[middle:]}[name.part]


def _prefix(name: ObjectName) -> str:
    """How the uuid of the key begins that an object's name is about."""
    digits = name.id
    return "-".join((digits[:8], digits[8:12], digits[12:16]))
