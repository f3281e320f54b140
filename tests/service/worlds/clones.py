"""What tests of fences share: an original and its clone, which nothing on the disk tells apart."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from keystead.core import events
from keystead.core.keys.incarnations import Storage, Witness
from keystead.core.keys.names import ObjectKind, object_name, parse
from keystead.core.model import Event
from keystead.kmip.ttlv.enums import Operation
from keystead.service.audit.log import AuditLog
from keystead.service.cluster.incarnations import Incarnations
from keystead.service.keys.destroying.epoch_markers import EpochMarkers
from keystead.service.keys.destroying.purge import KeyPurge
from keystead.service.keys.keeping.rounds import KeyRounds
from keystead.service.ports.page import Page
from keystead.store import open_store
from tests.peers.databases import set_clock
from tests.service.worlds.keepers import Keeping, believed, keeping
from tests.service.worlds.keys import CALL, KeyWorld, held, key_node

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.core.keys.model import Key, KeyState
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.cluster.incarnations import Left


class Same:
    """What a data directory remembers, and where its database stands: of a block copy both are the original's."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def storage(self) -> Storage:
        """Return the same disk, the same file."""
        return self._storage

    async def read(self) -> Witness:
        """Nothing that the database does not know."""
        return Witness()

    async def write(self, witness: Witness) -> None:
        """Forget it."""

    async def leave(self, left: Left) -> None:
        """Leave nothing."""

    async def take_left(self) -> Left | None:
        """Find nothing."""
        return None


@dataclass
class Side:
    """One of two databases with one past, and the process that keeps keys with it."""

    kept: Keeping
    incarnations: Incarnations
    epoch_markers: EpochMarkers
    rounds: KeyRounds

    async def round(self) -> None:
        """Make a round."""
        async with self.rounds.holding() as holding:
            assert holding is not None
            await self.rounds.keep(holding, self.kept.manager)

    async def advance(self) -> frozenset[str]:
        """Move the fences on that are due; return where one may destroy."""
        async with self.rounds.holding() as holding:
            assert holding is not None
            return await self.epoch_markers.advance(holding, self.kept.manager)

    async def stands(self) -> tuple[int, str, bool]:
        """Number and reason of the incarnation, and whether it destroys."""
        found = await self.kept.node.store.read(lambda tx: tx.incarnation())
        assert found is not None
        return found.number, found.reason, found.destroys

    async def announced(self) -> int:
        """Return how often it was announced that nothing is destroyed."""
        found = await self.kept.node.store.read(lambda tx: tx.page(Event, Page()))
        return sum(each.name == events.DESTRUCTION_HELD.name for each in found)

    async def state(self, key: Key) -> KeyState:
        """Return a key's state."""
        (found,) = await self.kept.node.store.read(lambda tx: tx.keys([key.uuid]))
        return found.state

    async def fences(self) -> list[EpochMarker | None]:
        """Return what is stored, by server."""
        servers = await self.kept.node.store.read(lambda tx: tx.key_servers(self.kept.manager))
        return [await self.kept.node.store.read(lambda tx: tx.epoch_marker(server.uuid)) for server in servers]  # noqa: B023


GOES_ON, HELD = (1, "created", True), (2, "cloned", False)


async def side(kept: Keeping, tools: Any = None) -> Side:
    """Return a process that has just started."""
    made, node, clock = tools or kept.context, kept.node, kept.world.clock
    found = await node.store.read(lambda tx: tx.incarnation())
    assert found is not None
    same = Same(Storage(*(found.storage or "sqlite:directory:file").split(":", 2)))
    incarnations = Incarnations(node.store, same, node.audit, clock, node.uuid)
    await incarnations.begin()
    epoch_markers = EpochMarkers(made, incarnations.cloned)
    destroying = KeyPurge(made, believed(node.store, clock, node.uuid), incarnations.cloned, incarnations.check)
    parts = replace(kept.parts, epoch_markers=epoch_markers, destroying=destroying)
    return Side(kept, incarnations, epoch_markers, KeyRounds(made, kept.leases, parts, look=incarnations.look))


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir()
    for part in file.parent.glob(f"{file.name}*"):
        shutil.copyfile(part, folder / part.name)


async def twin_of(one: Side, folder: Path) -> Side:
    """Return a block copy of a database, in the hands of a process of its own."""
    world, node = one.kept.world, one.kept.node
    file = Path(make_url(world.home.database).database or world.home.database)
    _copy(file, folder)
    store = open_store(f"sqlite:///{folder / file.name}")
    world._stack.push_async_callback(store.close)
    set_clock(world.clock, store)
    audit = AuditLog(store, world.home.keyring, world.clock, node.uuid)
    world._stack.push_async_callback(audit.close)
    made = key_node(world._stack, store, world.home.keyring, audit, world.clock, node.uuid)
    return await side(Keeping(world, made, one.kept.manager))


def while_registered(server: KmipServer, work: Callable[[], Awaitable[object]]) -> None:
    """Do something while a key's intent is stored, and its first copy, and nothing else."""

    async def answer(exchange: Any) -> None:
        del server.request_faults[Operation.REGISTER]
        await work()
        await exchange.stream.send(exchange.answer)

    server.request_faults[Operation.REGISTER] = answer


async def goes_on(one: Side) -> None:
    """Have a database be kept that has only a key's intent."""
    for _ in range(2):
        async with one.rounds.holding() as holding:
            assert holding is not None
            await one.rounds.abort_expired(holding)
            await one.rounds.keep(holding, one.kept.manager)
        one.kept.world.clock.advance(130)


async def listed(one: Side) -> list[str]:
    """Return the names of objects that are unclaimed, by a scan."""
    async with one.rounds.holding() as holding:
        assert holding is not None
        await one.rounds._parts.scan.scan(holding, one.kept.manager)
    found = await one.kept.node.store.read(lambda tx: tx.orphans(one.kept.manager))
    return [each.name for each in found]


async def stands(world: KeyWorld, key: Key, *servers: KmipServer) -> list[bool]:
    """On which servers a key's first copies are."""
    (attempt,) = await world.attempts(key.uuid)
    return [str(object_name(attempt)) in held(server) for server in servers]


async def with_retired_key(world: KeyWorld, *servers: KmipServer) -> tuple[Side, Key]:
    """Return an original that has made a round, and a key that was retired in it."""
    kept = await keeping(world, *servers)
    original = await side(kept)
    await original.round()
    key = await kept.node.create(kept.manager)
    return original, await kept.ending.retire(CALL, kept.manager, key.key_id)


def fences_on(server: KmipServer) -> list[int]:
    """Return the numbers of the fences that a server holds."""
    names = [parse(name) for name in held(server)]
    return sorted(name.attempt for name in names if name and name.kind is ObjectKind.EPOCH_MARKER)


def keys_on(server: KmipServer) -> int:
    """Return how many objects of keys a server holds."""
    return sum(name is not None and name.kind is ObjectKind.KEY for name in map(parse, held(server)))
