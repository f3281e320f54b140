"""What reads keys on one node, over the worlds of keys."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keystead.core.keys.creating import NewKey
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.service.audit.reads import PATIENCE_S, ReadAudit, ReadLimits
from keystead.service.audit.spool import ReadSpool
from keystead.service.context import Call, Caller
from keystead.service.keys.reading.cache import KeyCache
from keystead.service.keys.reading.fetch import Fetcher, FetchLimits
from keystead.service.keys.reading.restore import Filters, KeyRestorer
from keystead.service.keys.reading.retrieve import KeyReader
from keystead.service.offline import OfflineReads
from tests.service.worlds.keys import CALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from keystead.core.errors import OntapError
    from keystead.core.keys.model import Key
    from keystead.core.model import Svm
    from keystead.service.keys.reading.restore import Restoration, Restored
    from keystead.service.ports.process import Clock
    from tests.service.worlds.keys import KeyNode, KeyWorld

MATERIAL = bytes(range(64))
PATH = "/api/security/key-managers/km/volume-keys/id/retrieve"
READER = Call(Caller("reader", Role.KEY_READER, "192.0.2.1"), "POST", PATH)


def reader_of(svm: Svm) -> Call:
    """Return a call of an SVM's key-reader."""
    return Call(Caller("svm-reader", Role.KEY_READER, "192.0.2.2", svm), "POST", PATH, scope=svm)


@dataclass
class ReadingNode:
    """A node with all that reads."""

    of: KeyNode
    cache: KeyCache
    fetcher: Fetcher
    audit: ReadAudit
    reader: KeyReader
    restorer: KeyRestorer
    progress: list[str] = field(default_factory=list)

    async def read(self, key: Key, call: Call = READER) -> bytes:
        """Read a key, as a call does."""
        return (await self.reader.retrieve(call, key.key_manager, key.key_id)).material.reveal()

    async def explained(self, key: Key, call: Call = READER) -> list[tuple[str, str]]:
        """Read a key and return what was tried: host and outcome."""
        found = await self.reader.retrieve(call, key.key_manager, key.key_id, explain=True)
        assert found.explanation is not None
        return [(each.server, each.outcome) for each in found.explanation.tried]

    async def restore(self, key_manager: str, call: Call = CALL, **filters: Any) -> tuple[list[str], list[str]]:
        """Restore keys, as a job does; return the names of those that were restored, and of those that failed."""
        done = await self._restore(key_manager, call, **filters)
        return sorted(each.key.name for each in done.restored), sorted(key.name for key in done.failed)

    async def restored(self, key_manager: str, call: Call = CALL) -> tuple[Restored, ...]:
        """Restore keys; return what is said of each."""
        return (await self._restore(key_manager, call)).restored

    async def held(self, key_manager: str, **filters: Any) -> int:
        """Restore keys; return how many of those that were meant had been in memory."""
        return (await self._restore(key_manager, CALL, **filters)).held

    async def _restore(self, key_manager: str, call: Call, **filters: Any) -> Restoration:
        async def progress(said: OntapError) -> None:
            self.progress.append(said.message)

        plan = await self.restorer.plan(call, key_manager, Filters(**filters))
        done = await self.restorer.restore(plan, progress)
        assert (done.error is None) == (not done.failed)
        return done

    async def create(self, key_manager: str, name: str = "a key", *, call: Call = CALL, **fields: Any) -> Key:
        """Create a key with the material of these tests."""
        new = NewKey(name, material=Secret(fields.pop("material", MATERIAL)), **fields)
        return await self.of.writer.create(call, key_manager, new)


LIMITS = FetchLimits()


@asynccontextmanager
async def reading(
    world: KeyWorld,
    *,
    most: int = 100,
    offline_s: float = 60,
    database: str | None = None,
    limits: FetchLimits = LIMITS,
    patience_s: float = PATIENCE_S,
    restoring: Mapping[str, int] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[ReadingNode]:
    """Open a node that reads; ``restoring`` are options of KeyRestorer, ``clock`` is that of circuits and trials."""
    node = await world.node(database)
    if clock is not None:
        node.objects._clock = clock.monotonic
    cache = KeyCache(most)
    fetcher = Fetcher(node.store, node.objects, node.endpoints, clock or world.clock, node.uuid, limits)
    spool = ReadSpool(world.home.data / "reads.spool", world.home.keyring.mac)
    offline = OfflineReads(node.store, world.clock, node.uuid, offline_s)
    audit = ReadAudit(node.store, node.audit, spool, world.clock, node.uuid, offline, limits=ReadLimits(patience_s))
    audit.start()
    reader = KeyReader(node.store, fetcher, cache, audit)
    restorer = KeyRestorer(node.store, node.objects, fetcher, cache, node.audit, node.uuid, **(restoring or {}))
    try:
        yield ReadingNode(node, cache, fetcher, audit, reader, restorer)
    finally:
        await reader.close()
        await audit.close()
