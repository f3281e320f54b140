"""Read a key: from this node's memory, else from the key servers; recorded durably before the material leaves.

The record is written while key servers are asked; of a read that fails it is followed by that of the failure.

The key's row is read each time, so that a key that was retired, or changed, is not read from memory. While the database
is away, keys in memory are read by what was known of them last, unless the node fails closed. Whose key it is decides
who may read it: the key of another SVM answers as one that does not exist.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, KeyType
from keystead.core.keys.reading import Explanation, check_readable
from keystead.service.ports import StoreError
from keystead.service.svms import concerning

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.core.secret import Secret
    from keystead.service.context import Call
    from keystead.service.key_cache import KeyCache
    from keystead.service.key_fetching import Fetched, Fetcher
    from keystead.service.ports import Clock, Store
    from keystead.service.read_audit import ReadAudit

log = structlog.get_logger(__name__)

PATIENCE_S = 1.0
"""How long the row of a key that is in memory is waited for."""

AWAY_S = 1.0
"""How long a database that failed is not asked about keys in memory."""

RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A key and its material; ``explanation`` is there when a cluster account asked for it."""

    key: Key
    material: Secret = field(repr=False)
    explanation: Explanation | None


class KeyReader:
    """Reads keys on one node."""

    def __init__(self, store: Store, fetcher: Fetcher, cache: KeyCache, audit: ReadAudit, clock: Clock) -> None:
        self._store = store
        self._fetcher = fetcher
        self._cache = cache
        self._audit = audit
        self._clock = clock
        self._fetching: dict[tuple[str, int], asyncio.Task[Fetched]] = {}
        self._away_until = 0.0
        self._closed = False

    async def retrieve(
        self, call: Call, key_manager: str, key_id: str, *, explain: bool = False, key_type: KeyType = KeyType.VEK
    ) -> Retrieved:
        """Return a key with its material. Raises OntapError, and StoreError when the database is needed and away.

        4 (404): there is no such key of this type for this call; 262185: it is retired; 65536855, 65536083: no server
        has it.
        """
        key = await self._readable(call, key_manager, key_id)
        if key.key_type is not key_type:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
        with concerning(key.svm):
            kept = self._audit.keep(call, f"retrieval of key {key.key_id}", key.svm)
            material = self._cache.get(key)
            explanation = Explanation(cached=True)
            if material is None:
                fetched = await self._fetched(call, key)
                material = fetched.material
                explanation = Explanation(cached=False, tried=fetched.tried)
            await kept
        return Retrieved(key, material, explanation if explain and call.caller.svm is None else None)

    def held(self, key: Key) -> bool:
        """Whether this node can read a key without asking a key server."""
        return self._cache.holds(key)

    def forget(self, key: Key) -> None:
        """Drop a key's material, at once; for when it is retired."""
        self._cache.drop(key.key_id)

    async def close(self) -> None:
        """End what is being fetched, and forget all material."""
        self._closed = True
        for task in self._fetching.values():
            task.cancel()
        if self._fetching:
            await asyncio.wait(self._fetching.values())
        await self._fetcher.close()
        self._cache.close()

    # --- which key ---

    async def _readable(self, call: Call, key_manager: str, key_id: str) -> Key:
        """The key's row, as it is now; as it was last while the database is away, of a key in memory."""
        known = None if self._audit.fail_closed else self._cache.last_known(key_manager, key_id)
        if known is None or not call.sees(known.svm):
            return check_readable(await self._row(call, key_manager, key_id))
        if self._clock.monotonic() < self._away_until:
            return known
        try:
            async with asyncio.timeout(PATIENCE_S):
                return check_readable(await self._row(call, key_manager, key_id))
        except (StoreError, TimeoutError) as failure:
            self._away_until = self._clock.monotonic() + AWAY_S
            log.warning("keys in memory are read without their rows", why=str(failure) or "the database is slow")
            return known

    async def _row(self, call: Call, key_manager: str, key_id: str) -> Key | None:
        key = await self._store.glance(lambda tx: tx.key_by_id(key_manager, key_id, within=call.within_svm))
        if key is not None and key.state is not KeyState.COMMITTED:
            self.forget(key)
        return key

    # --- its material ---

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
