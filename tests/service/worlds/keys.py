"""Worlds for the services of keys: an installation on each engine, its nodes, and key servers that do as they are told.

The key servers are the library's own, on the test's loop (``world.start``), or real ones (``pykmip_group``): a key
manager takes the addresses of either. A node is what one process has; several share a database, and each may reach it
through a network that fails.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import pytest
import pytest_asyncio

from keystead.core.errors import OntapError
from keystead.core.keys import digests
from keystead.core.keys.creating import NewKey
from keystead.core.keys.model import AttemptState, KeyForm, KeyState, Presence, ServerProfile
from keystead.core.keys.names import canary_name
from keystead.core.model import ONTAP_LEVEL, KeyManager, KeyServer, Node, Observation, Role, State, Svm
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.forms import material_of, new_objects
from keystead.keyservers.gateway import Gateway
from keystead.keyservers.objects import Objects
from keystead.kmip.server.responder import Responder
from keystead.kmip.server.storage import Stored
from keystead.kmip.testing.server import KeyServer as KmipServer
from keystead.kmip.ttlv.enums import Operation
from keystead.service.audit.log import AuditLog, begin
from keystead.service.context import Call, Caller
from keystead.service.keys.context import KeeperContext
from keystead.service.keys.learning.learn import ServerLearner
from keystead.service.keys.topology import Endpoints, ServerTopology, digest_key_context, load_topology
from keystead.service.keys.writing.create import KeyWriter
from keystead.service.probing.observations import Observations
from keystead.service.probing.prober import ServerProber
from keystead.service.probing.queue import ProbeQueue
from keystead.store import SqlStore, open_store
from tests.peers.certificates import server_context
from tests.peers.databases import set_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from keystead.core.keys.model import Attempt, Copy, Key
    from keystead.kmip.messages.connection import ServerConnection
    from keystead.kmip.messages.messages import RequestMessage
    from keystead.kmip.testing.server import Exchange
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Transaction
    from tests.peers.fixtures import Pki
    from tests.peers.homes import Home

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test")
SECONDARY = "::1"
"""A secondary's host, as tests may connect to: its primary's port, on the other loopback address."""


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests of what depends on key servers only: one engine is enough."""


STANDBY: Final[Mapping[str, Any]] = {"secondary_key_servers": (SECONDARY,), "tls_server_name": "localhost"}
"""What key servers have whose secondary is the one of :meth:`KeyWorld.start_with_standby`."""


class WorldServer(KmipServer):
    """A key server that also shows the canaries that :meth:`KeyWorld.know` puts there, outside of faults and counts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.canaries = Responder()

    async def _receive(self, request: RequestMessage, exchange: Exchange) -> None:
        if self._is_for_canary(request):
            await exchange.stream.send(exchange.answer)
        else:
            await super()._receive(request, exchange)

    def _perform(self, connection: ServerConnection, request: RequestMessage, client: str | None) -> bytes:
        if self._is_for_canary(request):
            return connection.send_response(self.canaries.respond(request))
        return super()._perform(connection, request, client)

    def _is_for_canary(self, request: RequestMessage) -> bool:
        (item, *more) = request.batch_item
        asked_for = getattr(item.request_payload, "unique_identifier", None)
        return not more and item.operation == Operation.GET and asked_for in self.canaries.objects

    def show(self, server: KeyServer, material: Secret) -> tuple[str, ...]:
        """Show the canary of a server; return its identifiers."""
        (new,) = new_objects(server.uuid, material, KeyForm.SECRET_DATA, None)
        identifier = f"canary-{server.uuid}"
        self.canaries.objects[identifier] = Stored(new.object_type, new.managed_object, [])
        return (identifier,)


class ShiftedClock:
    """The real time, moved on by what a test says; or a clock that is set wrong."""

    def __init__(self) -> None:
        self._shift = self._wrong = timedelta()

    def now(self) -> datetime:
        """Return the wall clock."""
        return datetime.now(UTC) + self._shift + self._wrong

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return (datetime.now(UTC) + self._shift).timestamp()

    def set(self, seconds: float) -> None:
        """Set the wall clock, so many seconds ahead of the time."""
        self._wrong = timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._shift += timedelta(seconds=seconds)


async def at_once() -> None:
    """The turn of tests: they wait for nothing."""


def places_in(tx: Transaction, key_manager: str) -> ServerTopology:
    """Where a key manager's keys are kept."""
    found = tx.key_manager(key_manager)
    assert found is not None
    return load_topology(tx, found)


@dataclass
class KeyNode:
    """What one process has: its own connections to the database and to key servers."""

    uuid: str
    store: SqlStore
    audit: AuditLog
    objects: Objects
    endpoints: Endpoints
    learner: ServerLearner
    writer: KeyWriter

    async def create(self, key_manager: str, name: str = "a key", *, call: Call = CALL, **fields: Any) -> Key:
        """Create a key, as a call does."""
        return await self.writer.create(call, key_manager, NewKey(name, **fields))

    async def learn(self, key_manager: str) -> None:
        """Learn all servers. A real one on a busy machine may not answer in time at first."""
        async with asyncio.timeout(60):
            while not (await self.learner.ensure(key_manager)).learned:
                self.learner.retry(key_manager)
                await asyncio.sleep(0.2)

    async def refused(self, key_manager: str, name: str = "a key", **fields: Any) -> OntapError:
        """Return the error of a creation."""
        with pytest.raises(OntapError) as raised:
            await self.create(key_manager, name, **fields)
        return raised.value


def key_node(
    stack: AsyncExitStack, store: SqlStore, sealer: Sealer, audit: AuditLog, clock: Clock, uuid: str, **options: Any
) -> KeyNode:
    """One process' services, closed by the stack; ``options`` are the writer's."""
    rules = EgressRules.parse(("127.0.0.0/8", "::1/128"), ())
    queue = ProbeQueue(per_account=16, per_svm=16, in_all=64, waiting=64)
    endpoints = Endpoints(ServerProber(Gateway(rules), sealer, queue, Observations(clock, uuid)), sealer)
    objects = Objects(rules)
    stack.push_async_callback(objects.close)
    learner = ServerLearner(store, objects, endpoints, sealer, clock)
    stack.push_async_callback(learner.close)
    writer = KeyWriter(KeeperContext(store, objects, endpoints, clock, uuid, at_once, audit), learner, audit, **options)
    stack.push_async_callback(writer.close)
    return KeyNode(uuid, store, audit, objects, endpoints, learner, writer)


class KeyWorld:
    """An installation, what is around it, and a look into it from outside. ``clock`` is its and the database's."""

    def __init__(self, home: Home, pki: Pki, stack: AsyncExitStack) -> None:
        self.home = home
        self.store = home.store
        self.pki = pki
        self.clock = ShiftedClock()
        set_clock(self.clock, self.store)
        self._stack = stack
        self._servers: dict[tuple[str, int], WorldServer] = {}

    # --- what it is made of ---

    async def start(self, count: int = 4, responders: Sequence[Responder] = ()) -> list[KmipServer]:
        """Start so many key servers; the first of them answer with these responders."""
        given = [*responders, *([None] * (count - len(responders)))]
        return [await self._started(WorldServer(self._context(), each)) for each in given]

    async def _started(self, server: WorldServer) -> WorldServer:
        """Start a server, and remember it by its address."""
        await self._stack.enter_async_context(server)
        self.show_canary_of(server)
        return server

    def show_canary_of(self, server: WorldServer) -> None:
        """Have :meth:`know` put a canary on a running server, whoever started it."""
        self._servers[server.host, server.port] = server

    async def start_secondary(
        self, primary: KmipServer, responder: Responder | None = None, host: str = SECONDARY
    ) -> KmipServer:
        """Start a secondary of a server, or another on its port; it keeps what that keeps unless it has its own."""
        made = WorldServer(self._context(), responder or primary.responder, host=host, port=primary.port)
        return await self._started(made)

    async def start_with_standby(self) -> tuple[list[KmipServer], list[str]]:
        """Start two servers and one on their port, a secondary of both (:data:`STANDBY`) that replicates with neither.

        Also returns the addresses of the two.
        """
        (first,) = await self.start(1)
        second = await self.start_secondary(first, Responder(), "127.0.0.2")
        standby = await self.start_secondary(first, Responder())
        return [first, second, standby], [f"127.0.0.1:{first.port}", f"127.0.0.2:{first.port}"]

    async def node(self, database: str | None = None, **options: Any) -> KeyNode:
        """Open one more process' services; ``options`` are the writer's, ``database`` another way to the same one."""
        uuid = str(uuid4())
        store = open_store(database or self.home.database)
        self._stack.push_async_callback(store.close)
        set_clock(self.clock, store)

        def initialise(tx: Transaction) -> None:
            tx.put_node(Node(uuid, f"node-{uuid[:8]}", ONTAP_LEVEL))
            begin(tx, self.home.keyring, self.clock, uuid)

        await self.store.write(initialise)
        audit = AuditLog(store, self.home.keyring, self.clock, uuid)
        self._stack.push_async_callback(audit.close)
        return key_node(self._stack, store, self.home.keyring, audit, self.clock, uuid, **({"grace_s": 1.0} | options))

    async def key_manager(
        self,
        *servers: KmipServer | str,
        svm: Svm | None = None,
        of_cluster: bool = False,
        min_copies: int = 0,
        each: Mapping[int, Mapping[str, Any]] | None = None,
        know: bool = True,
        **fields: Any,
    ) -> str:
        """Make a key manager with these servers, without proving them; return its uuid.

        ``fields`` are of all servers, ``each`` of single ones by index; with ``know`` all is known of them at once.
        """
        owner = None if of_cluster else svm or await self.home.svm()
        home = self.home
        manager = KeyManager(
            str(uuid4()), owner, True, home.client_certificate, (home.server_ca,), min_copies=min_copies
        )
        plain: dict[str, Any] = {"timeout": 5, "create_remove_timeout": 5, "username": "", "secondary_key_servers": ()}
        rows = [
            KeyServer(
                uuid=str(uuid4()),
                key_manager=manager.uuid,
                position=number + 1,
                address=ServerAddress.parse(server if isinstance(server, str) else f"127.0.0.1:{server.port}"),
                **(plain | fields | dict((each or {}).get(number, {}))),
            )
            for number, server in enumerate(servers)
        ]

        def work(tx: Transaction) -> None:
            tx.add_key_manager(manager)
            tx.add_key_servers(rows)

        await self.store.write(work)
        if know:
            await self.know(manager.uuid)
        return manager.uuid

    async def know(
        self, key_manager: str, *, sees: Mapping[int, Sequence[int]] | None = None, **profile: Any
    ) -> tuple[ServerProfile, ...]:
        """Store what learning would find out: plain servers that take Secret Data, and show their canaries.

        ``sees`` says whose canaries a server shows, both by index; ``profile`` are other values of all profiles.
        """
        servers = await self.servers(key_manager)
        secret = Secret(bytes(range(digests.DIGEST_KEY_BYTES)))
        values: dict[str, Any] = {
            "form": KeyForm.SECRET_DATA,
            "canary_name": "",
            "canary": (),
            "canary_digest": b"",
            "learned": self.clock.now(),
        }

        def seen(number: int) -> tuple[str, ...]:
            return tuple(servers[other].uuid for other in (sees or {}).get(number, ()))

        made = tuple(
            ServerProfile(server.uuid, **(values | {"sees": seen(number)} | self._canary(server, secret) | profile))
            for number, server in enumerate(servers)
        )

        def work(tx: Transaction) -> None:
            for each in made:
                tx.put_profile(each)
            if tx.digest_key(key_manager) is None:
                tx.add_digest_key(key_manager, self.home.keyring.seal(secret, digest_key_context(key_manager)))

        await self.store.write(work)
        return made

    def _canary(self, server: KeyServer, digest_key: Secret) -> dict[str, Any]:
        """Have all running addresses of a server show its canary; return the profile's part of it."""
        hosts = (server.address.host, *server.secondary_key_servers)
        there = [found for host in hosts if (found := self._servers.get((host, server.address.port)))]
        material = Secret(server.uuid.encode())
        ids = [found.show(server, material) for found in there]
        name = str(canary_name(server.uuid, server.uuid, 1))
        known = {"canary_name": name, "canary": ids[0]} if ids else {}
        return known | {"canary_digest": digests.digest(digest_key, server.uuid, material)}

    def _context(self) -> Any:
        return server_context(self.pki.server, client_ca=self.pki.client_ca)

    async def set_recovery_days(self, days: int) -> None:
        """Set how long keys can be recovered that are retired from now on."""
        await self.store.write(lambda tx: tx.put_options(replace(tx.options(), key_recovery_days=days)))

    async def abort(self, key: str) -> bool:
        """Abort a key's first attempt, as others may once its time is over; whether it was pending."""

        def work(tx: Transaction) -> bool:
            now = tx.key(key, lock=True)
            assert now is not None
            (attempt, *_) = tx.attempts([key])
            aborted = tx.end_attempt(attempt, AttemptState.ABORTED)
            return aborted and tx.change_key(replace(now, state=KeyState.ABORTED), KeyState.PENDING)

        return await self.store.write(work)

    # --- what is stored ---

    async def servers(self, key_manager: str) -> tuple[KeyServer, ...]:
        """Return the stored servers, in order."""
        return await self.store.read(lambda tx: tx.key_servers(key_manager))

    async def topology(self, key_manager: str) -> ServerTopology:
        """Where a key manager's keys are kept."""
        return await self.store.read(lambda tx: places_in(tx, key_manager))

    async def key(self, uuid: str) -> Key:
        """Return a stored key."""
        found = await self.store.read(lambda tx: tx.key(uuid))
        assert found is not None
        return found

    async def named(self, key_manager: str, name: str = "a key") -> Key | None:
        """Return the key that holds a name."""
        return await self.store.read(lambda tx: tx.key_named(key_manager, name))

    async def attempts(self, key: str) -> tuple[Attempt, ...]:
        """Return a key's attempts, in order."""
        return await self.store.read(lambda tx: tx.attempts([key]))

    async def messages(self) -> list[str]:
        """Return the messages of the audit records, node by node."""

        def read(tx: Transaction) -> list[str]:
            return [each.message for node in tx.audit_nodes() for each in tx.audit_records(node, 0, 10_000)]

        return await self.store.read(read)

    async def copies(self, key: str) -> tuple[Copy, ...]:
        """Return a key's copies, in the order of their servers' creation, primaries before their secondaries."""
        found = await self.store.read(lambda tx: tx.copies([key]))
        keys = await self.key(key)
        order = [server.uuid for server in await self.servers(keys.key_manager)]
        topology = {uuid: number for number, uuid in enumerate(order)}
        return tuple(
            sorted(found, key=lambda copy: (copy.attempt, topology.get(copy.key_server, len(order)), copy.host))
        )

    async def only_on_secondary(self, key: str, presence: Presence = Presence.PRESENT) -> Copy:
        """Have a key's one copy be on a secondary, and never have been on its primary; return it as it was."""
        (copy,) = await self.copies(key)
        elsewhere = replace(copy, host=SECONDARY, presence=presence)
        never_there = replace(copy, presence=Presence.MISSING, unique_identifiers=())

        def work(tx: Transaction) -> None:
            tx.put_copies([elsewhere], new=True)
            tx.put_copies([never_there], new=False)

        await self.store.write(work)
        return copy

    async def presences(self, key: str) -> list[Presence]:
        """Return what is known of a key's copies, in their order."""
        return [copy.presence for copy in await self.copies(key)]

    async def stored_keys(self, key_manager: str) -> list[tuple[str, str, str]]:
        """Uuid, name and state of all keys that ever were, by uuid."""
        found = await self.store.read(lambda tx: tx.keys_in(key_manager, tuple(KeyState), "", 1000))
        return [(key.uuid, key.name, key.state.value) for key in found]


def asked(server: KmipServer, operation: Operation | None = None) -> list[str]:
    """Return the names of the operations that came to a scripted key server, in order; or of one of them."""
    came = [Operation(item.operation) for request in server.requests for item in request.batch_item if item.operation]
    return [each.name for each in came if operation in {None, each}]


async def until(reached: Callable[[], bool]) -> None:
    """Wait until what a server shows is reached."""
    while not reached():  # noqa: ASYNC110 - the server sets no event
        await asyncio.sleep(0.01)


def nothing_was_ended(*servers: KmipServer) -> bool:
    """Return True if no server was asked to end an object."""
    return not any({"REVOKE", "DESTROY"} & set(asked(server)) for server in servers)


async def observe(world: KeyWorld, manager: str, *states: State) -> None:
    """Have a node see the servers so."""

    def work(tx: Transaction) -> None:
        uuid = tx.nodes()[0].uuid
        pairs = zip(tx.key_servers(manager), states, strict=True)
        tx.put_observations(
            [Observation(uuid, server.uuid, "", state, world.clock.now()) for server, state in pairs], new=True
        )

    await world.store.write(work)


def full(server: KmipServer) -> None:
    """From now on it takes no more objects."""
    server.responder.capacity = 0


def lying(server: KmipServer) -> None:
    """From now on it returns other bytes than it was given."""
    server.responder.lying = True


def held(server: KmipServer) -> dict[str, list[bytes]]:
    """Name to the material of the objects that a scripted key server holds under it; destroyed ones are left out."""
    found: dict[str, list[bytes]] = {}
    for stored in server.responder.objects.values():
        material = material_of(stored.managed_object)
        for name in stored.names if not stored.destroyed else ():
            found.setdefault(name, []).append(material or b"")
    return found


@pytest_asyncio.fixture
async def key_world(home: Home, pki: Pki) -> AsyncIterator[KeyWorld]:
    """Yield an installation on each engine in turn, without a node yet."""
    async with AsyncExitStack() as stack:
        yield KeyWorld(home, pki, stack)
