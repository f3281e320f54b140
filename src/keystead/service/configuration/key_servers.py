"""Use cases of a key manager's primary key servers: add, modify, remove, try (dry run), probe, read.

ARCHITECTURE.md shows the flow of an add: plan, probe outside any transaction, then plan again and store in one
transaction. A modification has the same flow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import AddRequest, plan_probe
from keystead.core.model import KeyServer
from keystead.service.configuration.key_server_changes import KeyServerChanges
from keystead.service.configuration.key_server_plans import addition, modification
from keystead.service.configuration.key_server_removal import KeyServerRemovals
from keystead.service.configuration.key_server_views import key_server_views
from keystead.service.loading import require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.key_servers import ModifyRequest, ServersState
    from keystead.core.keys.model import Detached
    from keystead.core.model import KeyManager
    from keystead.core.probing import ProbeResult
    from keystead.core.query.query import Wanted
    from keystead.core.server_address import ServerAddress
    from keystead.service.configuration.context import ConfigurationContext
    from keystead.service.configuration.key_server_rows import ServerRows
    from keystead.service.configuration.key_server_views import TrafficOf
    from keystead.service.context import Call
    from keystead.service.ports.page import Page


class Rows(
    TopologyRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    ObservationRows,
    EventRows,
    AuditRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    RemovalRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class KeyServers:
    """The key servers of key managers."""

    def __init__(self, context: ConfigurationContext) -> None:
        self._context = context
        self._changes = KeyServerChanges(context)
        self.removals = KeyServerRemovals(context)

    async def state(self, call: Call, key_manager: str) -> ServersState:
        """Return the state that a change begins with, or raise 4 (404) with target ``uuid``: no such key manager."""
        return await self._context.store.read_few(lambda tx: self._context.load(tx, call, key_manager))

    async def add(self, call: Call, state: ServersState, request: AddRequest) -> ServerRows:
        """Probe and store all servers of the request, or none. One OntapError names the first fault."""
        return await self._changes.make(call, state, addition(self._context.sealer, state.key_manager.uuid, request))

    async def modify(self, call: Call, state: ServersState, request: ModifyRequest) -> KeyServer:
        """Change one server, which is probed before if its connection or its view of our identity may change."""
        (row,) = await self._changes.make(call, state, modification(self._context.sealer, request))
        return row

    async def remove(
        self,
        call: Call,
        state: ServersState,
        address: ServerAddress,
        *,
        force: bool = False,
        within_s: float | None = None,
    ) -> None:
        """Remove one server with its secondaries: see :meth:`KeyServerRemovals.remove`.

        The call takes at most ``within_s`` seconds, or as long as any call may.
        """
        now = asyncio.get_running_loop().time()
        ends = self._context.prover.deadline() if within_s is None else now + within_s
        await self.removals.remove(call, state, address, ends, force=force)

    async def dry_run(
        self, call: Call, state: ServersState, request: AddRequest | ModifyRequest
    ) -> tuple[ProbeResult, ...]:
        """Do everything but storing: raise the rules that are broken, probe every server, and return the results."""
        if isinstance(request, AddRequest):
            change = addition(self._context.sealer, state.key_manager.uuid, request)
        else:
            change = modification(self._context.sealer, request)
        proof = await self._changes.prove(call, state, change, always=True)
        await self._context.record_probe(call, state.key_manager.svm, "dry run", proof.results)
        return tuple(proof.results)

    async def probe(
        self, call: Call, state: ServersState, addresses: Sequence[ServerAddress]
    ) -> tuple[ProbeResult, ...]:
        """Probe stored servers as they are, all if there are no addresses, and return the results. Store nothing."""
        results = await self._context.prover.probe(
            call, state.key_manager, state.certificates, plan_probe(state, addresses), stored=state.servers
        )
        await self._context.record_probe(call, state.key_manager.svm, "probe", results)
        return tuple(results)

    # --- read ---

    async def detached(self, call: Call, key_manager: str) -> tuple[Detached, ...]:
        """Return the detached servers of a key manager, which still hold copies of keys, or raise 4 (404)."""
        return await self._context.removal_guard.detached(call, key_manager)

    async def page(self, call: Call, key_manager: str, page: Page) -> tuple[KeyServer, ...]:
        """Return a slice of the key manager's servers, in the order of their creation."""
        traffic = self._context.traffic_for(page.wanted)

        def read(tx: Rows) -> tuple[KeyServer, ...]:
            manager = require_key_manager(tx, call, key_manager)
            try:
                servers = tx.page(KeyServer, page.within(key_manager=key_manager))
            except StoreError as error:
                raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error
            return _views(tx, call, manager, servers, page.wanted, traffic)

        return await self._context.store.read(read)

    async def get(
        self, call: Call, key_manager: str, address: ServerAddress, wanted: Wanted = frozenset()
    ) -> KeyServer:
        """Return the server with this address, however it is spelled, or raise 4 (404)."""
        traffic = self._context.traffic_for(wanted)

        def read(tx: Rows) -> KeyServer:
            manager = require_key_manager(tx, call, key_manager)
            try:
                server = tx.key_server(key_manager, address)
            except StoreError as error:
                raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error
            if server is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
            return _views(tx, call, manager, (server,), wanted, traffic)[0]

        return await self._context.store.read_few(read)


def _views(
    tx: Rows,
    call: Call,
    key_manager: KeyManager,
    servers: Sequence[KeyServer],
    wanted: Wanted,
    traffic: TrafficOf,
) -> tuple[KeyServer, ...]:
    """Return the servers, with what is wanted of connectivity and cost."""
    enabled = {key_manager.uuid} if key_manager.enabled else frozenset[str]()
    return tuple(key_server_views(tx, call, servers, enabled, wanted, traffic))
