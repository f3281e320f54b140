"""Restore: read keys that this node does not hold yet into its memory, many at a time.

Keys are read in batches, over several connections to each healthy server. If a server does not return a key, or returns
different material, the key is fetched singly from the other servers, as in a read. A restore from one named server asks
only that server. Each node has its own memory. So a node restores keys only for itself.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.digests import agrees
from keystead.core.keys.model import KeyState, Presence
from keystead.core.keys.reading import Source, not_restored, restoring_server
from keystead.service.keys.access import require_manager_of_keys
from keystead.service.keys.topology import PRIMARY, load_topology
from keystead.service.ports.cluster import AuditRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import CopyRows, KeyRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyManager, KeyServer, Svm
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.jobs import Progress
    from keystead.service.context import Call
    from keystead.service.keys.reading.cache import KeyCache
    from keystead.service.keys.reading.context import ReadContext
    from keystead.service.keys.reading.fetch import Fetcher
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.store import Store

PAGE = 2000
"""Keys in one page of a restore."""

TOGETHER = 128
"""Keys that one connection asks for in one batch."""

CONNECTIONS = 4
"""Connections to each server."""

SINGLY = 16
"""Keys that are fetched singly at the same time."""

NAMED = 10
"""The most keys that an error names, of those that were not restored."""

NO_SUCH_NODE = "there is no such node"
OTHER_NODE = "only the node that is called restores keys into its memory: call that node"


class Rows(TopologyRows, KeyManagerRows, NodeRows, AuditRows, KeyRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The keys to restore, and the primary to read from. A field that is None sets no limit.

    ``node_uuid`` and ``node_name`` must be those of the node that is called.
    """

    key_id: str | None = None
    key_tag: str | None = None
    key_server: ServerAddress | None = None
    node_uuid: str | None = None
    node_name: str | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """A key that was restored, and the primary that returned it.

    ``server`` is None if the key was fetched singly, or if the call does not see the key manager's servers.
    """

    key: Key
    server: KeyServer | None


@dataclass(frozen=True, slots=True)
class Restoration:
    """The result of a restore. ``held`` counts the requested keys that were in memory before."""

    restored: tuple[Restored, ...]
    failed: tuple[Key, ...]
    held: int

    @property
    def error(self) -> OntapError | None:
        """65536855 or 65536083, for the first key that no server returned; None if there is no such key.

        The error ends the job of the restore. Its arguments name some of the keys.
        """
        if not self.failed:
            return None
        named = [("key_id", key.key_id) for key in self.failed[:NAMED]]
        return OntapError(not_restored(self.failed[0]), arguments=named)


@dataclass(frozen=True)
class RestorePlan:
    """A restore that passed all checks. ``server`` is the only server to read from; None means all servers."""

    call: Call
    key_manager: KeyManager
    filters: Filters
    server: KeyServer | None

    @property
    def svm(self) -> Svm | None:
        """The SVM that owns the job, None for the cluster."""
        return self.call.scope or self.key_manager.svm

    @property
    def names_servers(self) -> bool:
        """True if the call may see the key manager's servers. Only then the result names the server of each key."""
        return self.call.sees(self.key_manager.svm)


class _Chunk(NamedTuple):
    """Keys with proven copies on the same servers (uuids), and these copies."""

    servers: frozenset[str]
    keys: list[tuple[Key, list[Copy]]]


@dataclass
class _Work:
    """The state of one page: the chunks to read, the restored keys, and the keys that are left."""

    context: ReadContext
    names_servers: bool
    chunks: list[_Chunk]
    restored: list[Restored] = field(default_factory=list)
    left: list[Key] = field(default_factory=list)

    def take(self, server: str) -> _Chunk | None:
        """Take the next chunk of keys that a server (uuid) holds. Return None if there is none.

        A taken chunk is removed, so that no other connection reads it.
        """
        for number, chunk in enumerate(self.chunks):
            if server in chunk.servers:
                return self.chunks.pop(number)
        return None


class KeyRestorer:
    """The restorer of keys into one node's memory."""

    def __init__(
        self,
        store: Store[Rows],
        objects: KeyObjects,
        fetcher: Fetcher,
        cache: KeyCache,
        audit: AuditLog,
        node: str,
        *,
        page: int = PAGE,
        together: int = TOGETHER,
    ) -> None:
        self._page = page
        self._together = together
        self._store = store
        self._objects = objects
        self._fetcher = fetcher
        self._cache = cache
        self._audit = audit
        self._node = node

    async def plan(self, call: Call, key_manager: str, filters: Filters) -> RestorePlan:
        """Check that a restore is possible, and return its plan, before a job is created for it. No key is read yet.

        Raise 4 (404) if there is no such key manager, or no committed key with this id. Raise 65536843 or 65538500 for
        the key server, and 262185 for the node.
        """
        return await self._store.read(lambda tx: self._plan(tx, call, key_manager, filters))

    async def restore(self, plan: RestorePlan, progress: Progress) -> Restoration:
        """Read the planned keys that this node does not hold yet into its memory. Raise StoreError.

        Report the progress, and write an audit record at the end. A key that no server returns is in ``failed`` of the
        result, and raises nothing. This is the work of the restore job.
        """
        topology, total = await self._store.read(lambda tx: _topology_and_total(tx, plan))
        context = self._fetcher.read_context(topology)
        restored: list[Restored] = []
        failed: list[Key] = []
        done, held, after = 0, 0, ""
        while keys := await self._store.read(lambda tx: _page(tx, plan, after, self._page)):  # noqa: B023 - run before the next turn
            matching = [key for key in keys if _is_wanted(plan, key)]
            wanted = [key for key in matching if not self._cache.holds(key)]
            held += len(matching) - len(wanted)
            if context is None:
                failed += wanted
            elif wanted:
                work = await self._restore(plan, context, wanted)
                restored += work.restored
                failed += work.left
            done, after = done + len(keys), keys[-1].uuid
            await progress(OntapError(errors.RECORDS_DONE, done=done, all=max(done, total)))
        message = f"restored {len(restored)} keys into memory"
        await self._store.write(lambda tx: self._audit.succeed(tx, plan.call, message, svm=plan.svm))
        return Restoration(tuple(restored), tuple(failed), held)

    def _plan(self, tx: Rows, call: Call, key_manager: str, filters: Filters) -> RestorePlan:
        """Return the plan of a restore, or raise an error: see :meth:`plan`."""
        manager = require_manager_of_keys(tx, call, key_manager)
        self._check_node(tx, filters)
        _check_key(tx, call, key_manager, filters.key_id)
        address = filters.key_server
        # because a caller who does not see the servers must not learn their addresses
        servers = tx.key_servers(key_manager) if call.sees(manager.svm) else ()
        server = None if address is None else restoring_server(servers, address)
        return RestorePlan(call, manager, filters, server)

    def _check_node(self, tx: NodeRows, filters: Filters) -> None:
        """Raise 262185 if the request names a node that is unknown or is not this node."""
        for name, value in (("uuid", filters.node_uuid), ("name", filters.node_name)):
            found = [node for node in tx.nodes() if value in (None, getattr(node, name))]
            if not any(node.uuid == self._node for node in found):
                reason = OTHER_NODE if found else NO_SUCH_NODE
                raise OntapError(errors.INVALID_VALUE, target=f"node.{name}", field=f"node.{name}", reason=reason)

    # --- one page ---

    async def _restore(self, plan: RestorePlan, context: ReadContext, wanted: Sequence[Key]) -> _Work:
        """Read a page of keys in chunks, over several connections to each server: the named one, or all healthy ones.

        If no server is named, the keys that are left are then fetched one by one from any server. Return the restored
        keys, and those that are still left.
        """
        copies = await self._store.read(lambda tx: tx.copies_not_aborted([key.uuid for key in wanted]))
        chunks, unproven = _chunks(wanted, copies, self._together)
        work = _Work(context, plan.names_servers, chunks, left=unproven)  # unproven keys are in no chunk
        servers = [plan.server] if plan.server else self._healthy_servers(context)
        async with asyncio.TaskGroup() as group:
            for server in servers:
                for _ in range(CONNECTIONS):
                    group.create_task(self._ask(work, server))
        if plan.server is not None:
            # A connection that failed last gave its chunk back when the others had ended already. Try such chunks once
            # more, because no other server may be asked. Without a named server their keys are fetched singly below.
            await self._ask(work, plan.server)
        work.left += [key for chunk in work.chunks for key, _ in chunk.keys]
        if plan.server is None:
            await self._fetch_singly(work)
        return work

    def _healthy_servers(self, context: ReadContext) -> list[KeyServer]:
        """Return the servers whose primary has a closed circuit. A primary with an open circuit failed lately."""
        endpoints = context.endpoints
        return [
            server
            for server in context.topology.servers
            if not self._objects.circuit_open(endpoints[server.uuid, PRIMARY])
        ]

    async def _ask(self, work: _Work, server: KeyServer) -> None:
        """Read chunks from the primary of one server, one at a time. Cache the material that agrees with the digest.

        Add keys that the server refused, and keys with different material, to ``work.left``. Put keys without an answer
        back as a chunk, for another connection, and end. End also when no chunk is left. Raises no KeyServerFault. Run
        once for each connection of a restore to a server. If the restore names no server, keys in ``work.left`` are
        then fetched singly.
        """
        endpoint = work.context.endpoints[server.uuid, PRIMARY]
        while (chunk := work.take(server.uuid)) is not None:
            held = [next(copy for copy in copies if copy.key_server == server.uuid) for _, copies in chunk.keys]
            try:
                async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                    answers = await session.get_many([copy.unique_identifiers for copy in held])
            except KeyServerFault:
                work.chunks.append(chunk)
                return
            unanswered = []
            for (key, copies), copy, answer in zip(chunk.keys, held, answers, strict=True):
                if not isinstance(answer, KeyServerFault):
                    self._keep(work, key, Source(copy, server), answer)
                elif answer.fault.answered:
                    work.left.append(key)
                else:
                    unanswered.append((key, copies))
            if unanswered:
                work.chunks.append(_Chunk(chunk.servers, unanswered))
                return

    def _keep(self, work: _Work, key: Key, source: Source, material: Secret) -> None:
        """Cache material that agrees with the key's digest. Else report it as different, and leave the key."""
        if agrees(work.context.digest_key, key.uuid, material, key.digest):
            self._cache.put(key, material)
            work.restored.append(Restored(key, source.server if work.names_servers else None))
        else:
            self._fetcher.report_different(key, source)
            work.left.append(key)

    async def _fetch_singly(self, work: _Work) -> None:
        """Fetch the keys that are left from any server. The keys that no server returns stay left."""
        queue, work.left = iter(work.left), []

        async def fetch() -> None:
            for key in queue:
                try:
                    fetched = await self._fetcher.fetch(key)
                except OntapError:
                    work.left.append(key)
                else:
                    self._cache.put(key, fetched.material)
                    work.restored.append(Restored(key, None))

        await asyncio.gather(*(fetch() for _ in range(SINGLY)))


def _check_key(tx: KeyRows, call: Call, key_manager: str, key_id: str | None) -> None:
    """Raise 4 (404) if ``key_id`` is given and is not the id of a committed key that the call sees.

    A caller who names one key expects it in memory afterwards. None means that the request names no key.
    """
    if key_id is None:
        return
    key = tx.key_by_id(key_manager, key_id, within=call.within_svm)
    if key is None or key.state is not KeyState.COMMITTED:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")


def _topology_and_total(tx: Rows, plan: RestorePlan) -> tuple[ServerTopology, int]:
    """Return the topology, and the number of committed keys that the call sees, for the progress.

    Called at the beginning of a restore. Nothing is stored.
    """
    counts = tx.key_counts(plan.key_manager.uuid, within=plan.call.within_svm)
    return load_topology(tx, plan.key_manager), counts.get(KeyState.COMMITTED, 0)


def _page(tx: KeyRows, plan: RestorePlan, after: str, most: int) -> tuple[Key, ...]:
    """Return the next committed keys that the call sees. They are not filtered yet.

    Neither a page nor the progress may tell how many other keys there are.
    """
    return tx.keys_in(plan.key_manager.uuid, [KeyState.COMMITTED], after, most, within=plan.call.within_svm)


def _is_wanted(plan: RestorePlan, key: Key) -> bool:
    """Return True if the request's filters, key id and tag, select the key. A filter that is None selects all keys."""
    filters = plan.filters
    return filters.key_id in (None, key.key_id) and filters.key_tag in (None, key.key_tag)


def _chunks(wanted: Sequence[Key], copies: Sequence[Copy], together: int) -> tuple[list[_Chunk], list[Key]]:
    """Group keys in chunks by the servers with their proven copies. Return also the keys without a proven copy."""
    proven: dict[str, list[Copy]] = defaultdict(list)
    for copy in copies:
        if copy.presence is Presence.PRESENT and copy.unique_identifiers:
            proven[copy.key].append(copy)
    groups: dict[frozenset[str], list[tuple[Key, list[Copy]]]] = defaultdict(list)
    for key in wanted:
        groups[frozenset(copy.key_server for copy in proven[key.uuid])].append((key, proven[key.uuid]))
    unproven = [key for key, _ in groups.pop(frozenset(), [])]
    return [
        _Chunk(servers, keys[start : start + together])
        for servers, keys in groups.items()
        for start in range(0, len(keys), together)
    ], unproven
