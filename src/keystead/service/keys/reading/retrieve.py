"""Read a key: from this node's memory, else from the key servers; recorded durably before the material leaves.

The record is written while key servers are asked; of a read that fails it is followed by that of the failure. The
transaction that writes it compares the key's row, so that a key that was retired, or changed, is not read from memory.
While the database is away, or answers too late, keys in memory are read by what was known of them last, unless the node
fails closed: volumes must open then, too. So a key that was retired through another node just before may be read from
this node's memory then (:mod:`keystead.service.keys.reading.eviction`); one that this node knows to be retired is not.
Whose key it is decides who may read it: the key of another SVM answers as one that does not exist.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, KeyType
from keystead.core.keys.reading import Explanation, check_readable
from keystead.service.cluster.svms import concerning

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.core.secret import Secret
    from keystead.service.audit.reads import ReadAudit
    from keystead.service.context import Call
    from keystead.service.keys.reading.cache import KeyCache
    from keystead.service.keys.reading.fetch import Fetched, Fetcher
    from keystead.service.ports.store import Store

TRIES = 3
"""How often a read begins anew because the key changed meanwhile."""

RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A key and its material; ``explanation`` is there when a cluster account asked for it."""

    key: Key
    material: Secret = field(repr=False)
    explanation: Explanation | None


class KeyReader:
    """Reads keys on one node."""

    def __init__(self, store: Store, fetcher: Fetcher, cache: KeyCache, audit: ReadAudit) -> None:
        self._store = store
        self._fetcher = fetcher
        self._cache = cache
        self._audit = audit
        self._fetching: dict[tuple[str, int], asyncio.Task[Fetched]] = {}
        self._closed = False

    async def retrieve(
        self, call: Call, key_manager: str, key_id: str, *, explain: bool = False, key_type: KeyType = KeyType.VEK
    ) -> Retrieved:
        """Return a key with its material. Raises OntapError, and StoreError when the database is needed and away.

        4 (404): there is no such key of this type for this call; 262185: it is retired; 65536855, 65536083: no server
        has it.
        """
        known = self._remembered(call, key_manager, key_id)
        for _ in range(TRIES):
            key = check_readable(known or await self._row(call, key_manager, key_id), key_type)
            with concerning(key.svm):
                found = await self._read(call, key, explain=explain and call.caller.svm is None)
            if found is not None:
                return found
            self.forget(key)  # also when its row cannot be read now
            known = None
        raise OntapError(errors.TOO_BUSY, retry_after=RETRY_AFTER_S)

    def held(self, key: Key) -> bool:
        """Whether this node can read a key without asking a key server."""
        return self._cache.holds(key)

    def forget(self, key: Key) -> None:
        """Drop a key's material, at once and for good; for when it is retired. ``key`` is its row as it is known."""
        self._cache.outdate(key)

    def stop(self) -> None:
        """End what is being fetched: who waits for it is told that the service stops. What is in memory is read on."""
        self._closed = True
        for task in self._fetching.values():
            task.cancel()

    async def close(self) -> None:
        """End what is being fetched, and forget all material."""
        self.stop()
        if self._fetching:
            await asyncio.wait(self._fetching.values())
        await self._fetcher.close()
        self._cache.close()

    # --- which key ---

    def _remembered(self, call: Call, key_manager: str, key_id: str) -> Key | None:
        """A key in memory as its row was last; whether it still is so is found out when the read is recorded."""
        known = self._cache.last_known(key_manager, key_id)
        return known if known is not None and call.sees(known.svm) else None

    async def _row(self, call: Call, key_manager: str, key_id: str) -> Key | None:
        """The key as its row is now; what may not be read is forgotten."""
        key = await self._store.glance(lambda tx: tx.key_by_id(key_manager, key_id, within=call.within_svm))
        if key is not None and key.state is not KeyState.COMMITTED:
            self.forget(key)
        return key

    # --- its material ---

    async def _read(self, call: Call, key: Key, *, explain: bool) -> Retrieved | None:
        """Read a key and record it; None when it turned out that the key is not what it was."""
        kept = self._audit.keep(call, key)
        material, explanation = self._cache.get(key), Explanation(cached=True)
        if material is None:
            fetched = await self._fetched(call, key)
            material, explanation = fetched.material, Explanation(cached=False, tried=fetched.tried)
        return Retrieved(key, material, explanation if explain else None) if await kept else None

    async def _fetched(self, call: Call, key: Key) -> Fetched:
        """Fetch a key, or wait for those who do. A caller that goes away ends it for nobody else."""
        if self._closed:
            raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S)
        version = key.key_id, key.version
        task = self._fetching.get(version)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(key))
            self._fetching[version] = task
            task.add_done_callback(lambda done: self._ended(version, done))
        try:
            return await asyncio.shield(task)
        except OntapError as error:  # one of its own for each call, which is told what it may know
            arguments = error.arguments if call.caller.svm is None and call.scope is None else ()
            raise OntapError(error.kind, arguments=arguments) from None
        except asyncio.CancelledError:
            if task.cancelled():
                raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S) from None
            raise

    async def _fetch(self, key: Key) -> Fetched:
        fetched = await self._fetcher.fetch(key)
        self._cache.put(key, fetched.material)
        return fetched

    def _ended(self, version: tuple[str, int], task: asyncio.Task[Fetched]) -> None:
        del self._fetching[version]
        if not task.cancelled():
            task.exception()  # looked at: callers that went away do not
