"""Read a key from this node's memory, or else from the key servers. Record the read before returning the material.

The audit record is durable and is written while key servers are asked. If the read fails, a record of the failure
follows. The transaction that writes the record also compares the key's row. So a key that was retired or changed is not
read from memory.

While the database does not answer, keys in memory are read by their last known rows, because volumes must open then,
too. A key that was retired through another node shortly before may be read from this node's memory then.
:mod:`keystead.service.offline` limits that time, after which such reads are refused. A key that this node knows
to be retired is not read.

The owner of a key decides who may read it. For another SVM the key does not exist.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, KeyType
from keystead.core.keys.reading import Explanation, check_readable
from keystead.service.cluster.svms import about_svm
from keystead.service.failures import retrieve_failure
from keystead.service.ports.cluster import NodeRows
from keystead.service.ports.keys import KeyRows
from keystead.service.proven_reads import read_proven

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.core.secret import Secret
    from keystead.service.audit.reads import ReadAudit
    from keystead.service.context import Call
    from keystead.service.keys.reading.cache import KeyCache
    from keystead.service.keys.reading.fetch import Fetched, Fetcher
    from keystead.service.ports.store import Store

TRIES = 3
"""How often a read is tried when the key changes meanwhile."""

RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A key and its material. ``explanation`` is set if a cluster account asked for it."""

    key: Key
    material: Secret = field(repr=False)
    explanation: Explanation | None


class Rows(KeyRows, NodeRows, Protocol):
    """The rows that this module reads and writes."""


class KeyReader:
    """The reader of keys on one node."""

    def __init__(self, store: Store[Rows], fetcher: Fetcher, cache: KeyCache, audit: ReadAudit) -> None:
        self._store = store
        self._fetcher = fetcher
        self._cache = cache
        self._audit = audit
        self._fetching: dict[tuple[str, int], asyncio.Task[Fetched]] = {}
        self._closed = False

    async def retrieve(
        self, call: Call, key_manager: str, key_id: str, *, explain: bool = False, key_type: KeyType = KeyType.VEK
    ) -> Retrieved:
        """Return a key with its material. Raise OntapError, or StoreError if the database is needed and fails.

        Called when an API caller asks for a key's material. 4 (404): the call sees no such key of this type. 262185:
        the key is retired. 65536855 or 65536083: no server has the key. 262145 (503): no server returned the key, but
        one may have it; or the key changed at every try, or the service stops.
        """
        known = self._cached_row(call, key_manager, key_id)
        for _ in range(TRIES):
            key = check_readable(known or await self._row(call, key_manager, key_id), key_type)
            with about_svm(key.svm):
                found = await self._read(call, key, explain=explain and call.caller.svm is None)
            if found is not None:
                return found
            self.forget(key)  # because the next try may fail to read its row
            known = None
        raise OntapError(errors.TOO_BUSY, retry_after=RETRY_AFTER_S)

    def held(self, key: Key) -> bool:
        """Return True if this node can read a key without asking a key server: this version of it is in memory.

        Called when the key ids of a node are shown.
        """
        return self._cache.holds(key)

    def forget(self, key: Key) -> None:
        """Drop a key's material, and never cache this version again. ``key`` is the last known row.

        Call this when the key is retired or has changed.
        """
        self._cache.outdate(key)

    def stop(self) -> None:
        """Cancel the running fetches: their callers get 262145 (503). Keys in memory can still be read.

        Called when the node begins to stop.
        """
        self._closed = True
        for task in self._fetching.values():
            task.cancel()

    async def close(self) -> None:
        """Cancel the running fetches, and drop all material. Called at the end of the node's stop."""
        self.stop()
        if self._fetching:
            await asyncio.wait(self._fetching.values())
        await self._fetcher.close()
        self._cache.close()

    # --- which key ---

    def _cached_row(self, call: Call, key_manager: str, key_id: str) -> Key | None:
        """Return the cached row of a key that the call sees, or None.

        The row may be outdated. The transaction that records the read compares it.
        """
        known = self._cache.last_known(key_manager, key_id)
        return known if known is not None and call.sees(known.svm) else None

    async def _row(self, call: Call, key_manager: str, key_id: str) -> Key | None:
        """Return the key's current row, or None. Drop the material of a key that is not committed.

        Before a read is refused, a commit proves what the row says. Raises StoreError. Called if no row is cached, or
        the cached one was outdated.
        """

        def look(tx: Rows) -> Key | None:
            return tx.key_by_id(key_manager, key_id, within=call.within_svm)

        key = await self._store.read_few(look)
        if key is None or key.state is not KeyState.COMMITTED:
            key = await read_proven(self._store, self._audit.node, look)
        if key is not None and key.state is not KeyState.COMMITTED:
            self.forget(key)
        return key

    # --- its material ---

    async def _read(self, call: Call, key: Key, *, explain: bool) -> Retrieved | None:
        """Read a key and record the read. Return None if the key's row has changed meanwhile: then try again.

        The material is returned only after the audit record is durable.
        """
        recorded = self._audit.keep(call, key)
        material, explanation = self._cache.get(key), Explanation(cached=True)
        if material is None:
            fetched = await self._fetch_shared(call, key)
            material, explanation = fetched.material, Explanation(cached=False, tried=fetched.tried)
        return Retrieved(key, material, explanation if explain else None) if await recorded else None

    async def _fetch_shared(self, call: Call, key: Key) -> Fetched:
        """Fetch a key, or join the running fetch of the same version (single-flight).

        If one caller is cancelled, the fetch runs on for the others.
        """
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
        except OntapError as error:  # a new error for each caller, because not all may know the reasons
            arguments = error.arguments if call.caller.svm is None and call.scope is None else ()
            raise OntapError(error.kind, arguments=arguments, retry_after=error.retry_after) from None
        except asyncio.CancelledError:
            if task.cancelled():
                raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S) from None
            raise

    async def _fetch(self, key: Key) -> Fetched:
        """Fetch a key from its servers, and cache its material. This is the task that all its readers share.

        With ``anew``, addresses that failed lately are tried as well, if no other returned the key. Called for a read
        of a key that is not in memory. Raises what :meth:`Fetcher.fetch` raises.
        """
        fetched = await self._fetcher.fetch(key, anew=True)
        self._cache.put(key, fetched.material)
        return fetched

    def _ended(self, version: tuple[str, int], task: asyncio.Task[Fetched]) -> None:
        """Forget a fetch that has ended, so that the next read of this version begins a new one."""
        del self._fetching[version]
        retrieve_failure(task)  # all callers may have been cancelled
