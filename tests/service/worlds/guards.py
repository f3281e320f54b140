"""A key manager whose servers are to be removed or moved: built from one description, changed step by step.

Names of servers: ``a``, ``b``, ... are the configured servers, in order. ``a'`` is where a may move to. ``a2`` and
``a'2`` are the secondaries of these. Names of copies: ``b`` is the copy on b of the key named ``key``. ``sole:b`` is
the copy of the key named ``sole``. ``a2`` is the copy on the secondary of a.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Final, NamedTuple, ParamSpec

from keystead.core.keys.model import Presence, Purpose
from keystead.core.model import Role
from keystead.kmip.server.responder import Responder
from keystead.service.context import Call, Caller
from tests.service.worlds.changing import Changer, changer, changer_of, renewed_certificate
from tests.service.worlds.keepers import Keeping, of_kind
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from keystead.core.keys.model import Copy, Key, ServerProfile
    from keystead.core.model import KeyServer, Svm
    from keystead.kmip.server.storage import Stored
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction

P = ParamSpec("P")

SAME: Final = "same"
"""The same objects, now and later: the same server at another port, or a secondary that replicates."""
BACKUP: Final = "backup"
"""Another server, restored from a backup that was made before the keys: it has the canary, and no key."""
EMPTY: Final = "empty"
"""Another server, without objects."""

CANARIES: Final = "canaries"
PROFILES: Final = "profiles"
NOTHING: Final = "nothing"

LONG_AGO_S: Final = 3600
"""After so long no proof is fresh."""


@dataclass(frozen=True)
class Known:
    """What the rows say of a copy: ``id`` is its identifier, empty if none is known, None for the right one.

    ``proven``: it was proven once; ``newly``: so many seconds ago, a negative number is in the future.
    """

    presence: Presence
    id: str | None = None
    proven: bool = True
    newly: float | None = None
    attempt: int = 1


def nowhere(presence: Presence = Presence.MISSING) -> Known:
    """Return what the rows say of a copy that was never on its server."""
    return Known(presence, id="")


def unanswered(presence: Presence) -> Known:
    """Return what the rows say of a copy that was sent, and whose answer was lost."""
    return Known(presence, id="", proven=False)


class Step(NamedTuple):
    """One line of a case: how it is written, and what it does."""

    text: str
    does: Callable[[Guards], Awaitable[None]]


def step(does: Callable[Concatenate[Guards, P], Awaitable[None]]) -> Callable[P, Step]:
    """Let a coroutine function be written as a line of a case, without its first argument."""

    def written(*args: P.args, **kwargs: P.kwargs) -> Step:
        texts = [*map(repr, args), *(f"{name}={value!r}" for name, value in kwargs.items())]
        return Step(f"{does.__name__}({', '.join(texts)})", lambda guards: does(guards, *args, **kwargs))

    return written


@dataclass(frozen=True)
class Before:
    """How things are when the first call comes.

    - ``servers``: one letter for each configured server.
    - ``secondaries``: configured secondaries by server, with what they have; ``spare``: those that are not configured.
    - ``moves``: what is where a server may move to, by server.
    - ``keys``: the names of the keys, ``away``: the servers that were silent when the keys were created.
    - ``rows``: what the last look at copies found, rightly or not.
    - ``really``: what the servers do and have meanwhile. ``silent``: who does not answer any more.
    - ``sees``: whose canaries a server shows, as their numbers: they are one domain.
    - ``knows``: profiles with canaries, profiles without, or nothing. ``kind``: the kind of the servers.
    - ``by_name``: the server that is behind a router; by the TLS name ``localhost`` that leads to its new place.
    - ``next_name``: the common name in the next client certificate. ``of_svm``: the calls are an SVM account's.
    - ``page``: how many keys are proven together.
    """

    servers: str = "a"
    secondaries: Mapping[str, str] = field(default_factory=dict)
    spare: Mapping[str, str] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ("key",)
    away: tuple[str, ...] = ()
    rows: Mapping[str, Known | Presence] = field(default_factory=dict)
    really: tuple[Step, ...] = ()
    silent: tuple[str, ...] = ()
    sees: Mapping[int, tuple[int, ...]] | None = None
    knows: str = CANARIES
    kind: str = ""
    by_name: str = ""
    next_name: str = "keystead"
    of_svm: bool = False
    page: int = 1000


class Case(NamedTuple):
    """One row of a table. ``both``: its rows and transactions matter, so that it runs on both engines."""

    name: str
    before: Before
    steps: tuple[Step, ...]
    both: bool = False


def case(name: str, before: Before, *steps: Step, both: bool = False) -> Case:
    """Return one row of a table: how things are before, and what comes of changes, one after the other."""
    return Case(name, before, steps, both)


class Guards:
    """The world of one case. ``saved`` has the objects as they were when the keys had been created."""

    def __init__(self, world: KeyWorld, before: Before, peers: dict[str, KmipServer], changing: Changer) -> None:
        self.world = world
        self.before = before
        self.peers = peers
        self.changing = changing
        self.call = CALL
        self.rows: dict[str, str] = {}
        self.keys: dict[str, Key] = {}
        self.made: dict[tuple[str, str], Copy] = {}
        self.saved: dict[str, Stored] = {}
        self.asked: dict[str, int] = {}
        self.gone: dict[str, KeyServer] = {}
        self.profiles: dict[str, ServerProfile] = {}
        self.next_ca = ""
        self.dead: set[str] = set()

    # --- who is who ---

    async def row(self, server: str) -> KeyServer:
        """Return the row of a configured server."""
        found = await self.world.servers(self.changing.manager)
        return next(each for each in found if each.uuid == self.rows[server])

    def address(self, name: str) -> str:
        """Return the address of a server or secondary, as refusals name it."""
        port = self.peers[name].port
        return f"[{SECONDARY}]:{port}" if name.endswith("2") else f"127.0.0.1:{port}"

    def place(self, copy: Copy) -> str:
        """Return the name of a copy, without its key."""
        server = next(name for name, uuid in self.rows.items() if uuid == copy.key_server)
        return server + "2" * bool(copy.host) + (f" by attempt {copy.attempt}" if copy.attempt > 1 else "")

    async def places(self, key: str) -> dict[str, Presence]:
        """Return what the rows say of a key's copies, by name."""
        return {self.place(copy): copy.presence for copy in await self.world.copies(self.keys[key].uuid)}

    async def identifier(self, copy: str) -> str:
        """Return the identifier of a copy: the one that is known now, else the one that it was created with."""
        key, place = parsed(copy)
        found = await self.world.copies(self.keys[key].uuid)
        now = next((each for each in found if self.place(each) == place and each.unique_identifiers), None)
        return (now or self.basis(key, place)).unique_identifiers[0]

    def basis(self, key: str, place: str) -> Copy:
        """Return a copy as it was created; for a secondary without one, as its primary's."""
        made = self.made.get((key, place)) or self.made[key, place.removesuffix("2")]
        return replace(made, host=SECONDARY if place.endswith("2") else "")

    def keeping(self) -> Keeping:
        """Return the keeper of this process."""
        return Keeping(self.world, self.changing.node, self.changing.manager)

    # --- what is changed without a call ---

    async def know(self, rows: Mapping[str, Known | Presence]) -> None:
        """Have the rows say this of copies, as if a look had found it."""
        changed = [self._known(*parsed(name), value) for name, value in rows.items()]
        uuids = {copy.key for copy in changed}

        def work(tx: Transaction) -> None:
            there = {(each.key, each.attempt, each.key_server, each.host) for each in tx.copies(uuids)}
            for copy in changed:
                new = (copy.key, copy.attempt, copy.key_server, copy.host) not in there
                attempts = tx.attempts([copy.key])
                if copy.attempt > len(attempts):
                    again = replace(attempts[0], number=copy.attempt, token="another", purpose=Purpose.COPY)
                    tx.add_attempt(again)
                tx.put_copies([copy], new=new)

        await self.world.store.write(work)

    def _known(self, key: str, place: str, value: Known | Presence) -> Copy:
        known = value if isinstance(value, Known) else Known(value)
        copy = replace(self.basis(key, place.split(" ", maxsplit=1)[0]), presence=known.presence, attempt=known.attempt)
        copy = copy if known.id is None else replace(copy, unique_identifiers=(known.id,) * bool(known.id))
        copy = copy if known.proven else replace(copy, proven=None)
        if known.newly is None:
            return copy
        return replace(copy, proven=self.world.clock.now() - timedelta(seconds=known.newly))

    async def restart(self) -> None:
        """Have the next calls come to a process that has just started, which leaves no server alone."""
        old = self.changing
        self.changing = changer_of(self.world, await self.world.node(), old.manager, old.renewed)

    async def is_lost(self, key: str) -> bool:
        """Return True if no configured server gives a key to a process that has just started."""
        return await self.changing.lost(self.keys[key])


def parsed(copy: str) -> tuple[str, str]:
    """Return the names of the key and of the place of a copy."""
    key, _, place = copy.rpartition(":")
    return key or "key", place


async def built(world: KeyWorld, before: Before) -> Guards:
    """Build what a case begins with."""
    peers = await _peers(world, before)
    addresses: list[KmipServer | str] = [peers[each] for each in before.servers]
    if before.by_name:
        router = routed("localhost", peers[f"{before.by_name}'"], peers[before.by_name])
        port = await world._stack.enter_async_context(router)
        addresses[before.servers.index(before.by_name)] = f"127.0.0.1:{port}"
    svm = await world.home.svm() if before.of_svm else None
    guards = Guards(world, before, peers, await _changer(world, before, addresses, svm))
    if svm is not None:
        guards.call = Call(Caller("vsadmin", Role.VSADMIN, "127.0.0.1", svm), "PATCH", "/api/test", scope=svm)
    found = await world.servers(guards.changing.manager)
    guards.rows = {name: row.uuid for name, row in zip(before.servers, found, strict=True)}
    guards.profiles = dict((await world.topology(guards.changing.manager)).profiles)
    backups = [(name, f"{name}'") for name, what in before.moves.items() if what == BACKUP]
    backups += [(name, f"{name}2") for name, what in before.secondaries.items() if what == BACKUP]
    for old, new in backups:
        restore_from(peers[old], peers[new])
    await _create_keys(guards)
    await guards.know(before.rows)
    for each in before.really:
        await each.does(guards)
    for name in before.silent:
        await peers[name].__aexit__(None, None, None)
        guards.dead.add(name)
    return guards


async def _peers(world: KeyWorld, before: Before) -> dict[str, KmipServer]:
    """Start all servers of a case, by name."""
    peers: dict[str, KmipServer] = {}
    for name in before.servers:
        (peers[name],) = await world.start(1, [of_kind(before.kind)] if before.kind else [])
    for name, what in before.moves.items():
        (peers[f"{name}'"],) = await world.start(1, [peers[name].responder] if what == SAME else [])
    for name, what in (dict(before.secondaries) | dict(before.spare)).items():
        peers[f"{name}2"] = await world.start_secondary(peers[name], None if what == SAME else Responder())
    return peers


async def _changer(world: KeyWorld, before: Before, addresses: list[KmipServer | str], svm: Svm | None) -> Changer:
    fields: dict[str, Any] = {
        "svm": svm,
        "each": {before.servers.index(each): {"secondary_key_servers": (SECONDARY,)} for each in before.secondaries},
    }
    if before.knows == CANARIES:
        return await changer(world, *addresses, name=before.next_name, **fields)
    manager = await world.key_manager(*addresses, know=before.knows == PROFILES, **fields)
    if before.sees is not None:
        await world.know(manager, sees=before.sees)
    return changer_of(world, await world.node(), manager, await renewed_certificate(world, before.next_name))


async def _create_keys(guards: Guards) -> None:
    """Create the keys, and note how they were created. ``last`` is the key with the greatest uuid, too."""
    world, before, changing = guards.world, guards.before, guards.changing
    async with AsyncExitStack() as stack:
        for name in before.away:
            await guards.peers[name].__aexit__(None, None, None)
            stack.push_async_callback(guards.peers[name].__aenter__)
        node = await world.node(grace_s=20) if before.away else changing.node
        for name in before.keys:
            guards.keys[name] = await node.create(changing.manager, name)
    for name in before.keys:
        for copy in await world.copies(guards.keys[name].uuid):
            guards.made[name, guards.place(copy)] = copy
    for peer in guards.peers.values():
        guards.saved.update({id_: stored.copy() for id_, stored in peer.responder.objects.items()})
    if before.keys:
        last = max(before.keys, key=lambda name: guards.keys[name].uuid)
        guards.keys["last"] = guards.keys[last]
        guards.made |= {("last", place): copy for (name, place), copy in guards.made.items() if name == last}


def restore_from(old: KmipServer, new: KmipServer) -> None:
    """Give the new server what the old one has now: it was restored from a backup that was just made."""
    for id_, stored in old.responder.objects.items():
        new.responder.store.put(id_, stored.copy())


@asynccontextmanager
async def routed(name: str, there: KmipServer, other: KmipServer) -> AsyncIterator[int]:
    """Route by SNI, as load balancers do, and yield the port: this name leads there, any other to the other server."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        port = there.port if name.encode() in hello else other.port
        up, down = await asyncio.open_connection("127.0.0.1", port)
        down.write(hello)
        await asyncio.gather(pump(reader, down), pump(up, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
