"""Use cases of a key manager's primary key servers: add, modify, remove, try (dry run), read.

ARCHITECTURE.md shows the flow of an add: plan, probe outside any transaction, then plan again and store in one
transaction. A modification has the same flow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import AddRequest, ServersState, plan_add, plan_modify, plan_remove
from keystead.core.keys.guarding import Removal, RemovalFindings, is_elsewhere
from keystead.core.model import KeyServer
from keystead.service.keys.learning.profiles import forget
from keystead.service.loading import load_state, require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, KeyServerRows, ListRows
from keystead.service.ports.keys import (
    AttemptRows,
    CopyRows,
    DetachedRows,
    EpochMarkerRows,
    KeyRows,
    RemovalRows,
    TopologyRows,
)
from keystead.service.ports.store import StoreError
from keystead.service.probing.prober import password_context, raise_first_failure
from keystead.service.probing.queue import check_left
from keystead.service.probing.watching import with_connectivity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from keystead.core.key_servers import ModifyRequest, NewKeyServer
    from keystead.core.keys.guarding import Relocation
    from keystead.core.keys.model import Detached
    from keystead.core.model import KeyManager
    from keystead.core.probing import ProbeResult
    from keystead.core.query.query import Wanted
    from keystead.core.server_address import ServerAddress
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.guarding.relocation import RelocationGuard
    from keystead.service.keys.guarding.removal import RemovalGuard
    from keystead.service.ports.page import Page
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store
    from keystead.service.probing.prober import ServerProber

ServerRows = tuple[KeyServer, ...]


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
    EpochMarkerRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class ServersPlan:
    """The rows that a call would store in a given state, in order. ``proves`` says whether they are probed before."""

    rows: ServerRows
    proves: bool = True


@dataclass(frozen=True, slots=True)
class ProbedPlan:
    """A plan, the state that it was made for, and the probe results of its rows, if they were probed.

    ``same`` holds, by server uuid, what relocated servers with objects of ours have shown. ``found`` holds, by server
    uuid, the proof that no sole proven copy goes with removed secondaries.
    """

    state: ServersState
    plan: ServersPlan
    results: Sequence[ProbeResult] = ()
    probed: bool = False
    same: Mapping[str, Relocation] = field(default_factory=dict)
    found: Mapping[str, RemovalFindings] = field(default_factory=dict)

    def holds_for(self, state: ServersState, plan: ServersPlan) -> bool:
        """Return True if these rows were probed with the present key manager, at whatever positions."""
        if not self.probed or self.state.key_manager != state.key_manager:
            return False
        return self.plan == plan or at_positions(self.plan.rows, 0) == at_positions(plan.rows, 0)


@dataclass(frozen=True, slots=True)
class ServerChange:
    """A call that stores key servers: its request, its plan for a given state, and how it stores the rows."""

    request: AddRequest | ModifyRequest
    plan: Callable[[ServersState], ServersPlan]
    store: Callable[[Rows, ServerRows], None]
    verb: str
    new: bool = False


class KeyServers:
    """The key servers of key managers.

    ``on_changed`` gets a key manager's uuid after its servers were probed and stored.
    """

    def __init__(
        self,
        store: Store[Rows],
        prover: ServerProber,
        sealer: Sealer,
        audit: AuditLog,
        guard: RemovalGuard,
        identity: RelocationGuard,
        *,
        on_changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._prover = prover
        self._sealer = sealer
        self._audit = audit
        self._guard = guard
        self._identity = identity
        self._on_changed = on_changed

    async def state(self, call: Call, key_manager: str) -> ServersState:
        """Return the state that a change begins with, or raise 4 (404) with target ``uuid``: no such key manager."""
        return await self._store.glance(lambda tx: load_state(tx, call, key_manager))

    async def add(self, call: Call, state: ServersState, request: AddRequest) -> ServerRows:
        """Probe and store all servers of the request, or none. One OntapError names the first fault."""
        return await self._make(call, state, self._addition(state.key_manager.uuid, request))

    async def modify(self, call: Call, state: ServersState, request: ModifyRequest) -> KeyServer:
        """Change one server, which is probed before if its connection or its view of our identity may change."""
        (row,) = await self._make(call, state, self._modification(request))
        return row

    async def remove(self, call: Call, state: ServersState, address: ServerAddress) -> None:
        """Remove one server with its secondaries, or raise 65536843. Raises 65536700 if keys would be lost with it."""
        ends = self._prover.deadline()
        while True:
            server = plan_remove(state, address)
            found = await self._guard.prove(call, Removal(state.key_manager, server), ends)
            if await self._store.write(partial(self._remove, call=call, server=server, found=found)):
                return
            check_left(ends)
            state = await self.state(call, state.key_manager.uuid)

    def _remove(self, tx: Rows, call: Call, server: KeyServer, found: RemovalFindings) -> bool:
        """Remove a server. Return False if the server, or the proof for its removal, has changed."""
        now = load_state(tx, call, server.key_manager, lock=True)
        if plan_remove(now, server.address) != server:
            return False
        if not self._guard.check(tx, Removal(now.key_manager, server), found):
            return False
        self._guard.detach(tx, server)
        tx.delete_key_server(server.uuid)
        self._audit.succeed(tx, call, named("removed", [server]), svm=now.key_manager.svm)
        return True

    async def dry_run(
        self, call: Call, state: ServersState, request: AddRequest | ModifyRequest
    ) -> tuple[ProbeResult, ...]:
        """Do everything but storing: raise the rules that are broken, probe every server, and return the results."""
        if isinstance(request, AddRequest):
            change = self._addition(state.key_manager.uuid, request)
        else:
            change = self._modification(request)
        proof = await self._prove(call, state, change, always=True)
        refused = sum(not result.accepted for result in proof.results)
        message = f"dry run: {len(proof.results) - refused} accepted, {refused} refused"
        svm = state.key_manager.svm
        await self._store.write(lambda tx: self._audit.succeed(tx, call, message, svm=svm))
        return tuple(proof.results)

    # --- plan, prove, plan again and store ---

    def _addition(self, key_manager: str, request: AddRequest) -> ServerChange:
        rows = sealed_rows(request.servers, key_manager, self._sealer)

        def plan(state: ServersState) -> ServersPlan:
            return ServersPlan(at_positions(rows, plan_add(state, request).first_position))

        def store(tx: KeyServerRows, planned: ServerRows) -> None:
            tx.add_key_servers(planned)

        return ServerChange(request, plan, store, "added", new=True)

    def _modification(self, request: ModifyRequest) -> ServerChange:
        sealed: dict[str, bytes] = {}  # by row, so that planning again gives the same row

        def plan(state: ServersState) -> ServersPlan:
            planned = plan_modify(state, request)
            row = planned.server
            if planned.password is not None:
                if row.uuid not in sealed:
                    sealed[row.uuid] = self._sealer.seal(planned.password, password_context(row.uuid))
                row = replace(row, sealed_password=sealed[row.uuid])
            return ServersPlan((row,), planned.proves)

        def store(tx: KeyServerRows, planned: ServerRows) -> None:
            for row in planned:
                tx.change_key_server(row)

        return ServerChange(request, plan, store, "modified")

    async def _make(self, call: Call, state: ServersState, change: ServerChange) -> ServerRows:
        """Probe, prove and store, until the deadline.

        What others changed meanwhile is probed again before it is stored.
        """
        ends = self._prover.deadline()
        proof: ProbedPlan | None = None
        while True:
            proof = await self._prove(call, state, change, ends=ends, earlier=proof)
            raise_first_failure(change.request, proof.results)
            if not change.new:
                proof = await self._prove_keys(call, proof, ends)
            stored = await self._store.write(partial(self._store_proved, call=call, change=change, proof=proof))
            if stored is not None:
                if proof.probed:
                    self._on_changed(state.key_manager.uuid)
                return stored
            check_left(ends)
            state = await self.state(call, state.key_manager.uuid)

    async def _prove(
        self,
        call: Call,
        state: ServersState,
        change: ServerChange,
        *,
        always: bool = False,
        ends: float | None = None,
        earlier: ProbedPlan | None = None,
    ) -> ProbedPlan:
        """Plan, and probe the rows of the plan. Rows that were probed ``earlier`` in this call are not probed again."""
        plan = change.plan(state)
        if not (plan.proves or always):
            return ProbedPlan(state, plan)
        if earlier is not None and earlier.holds_for(state, plan):
            return replace(earlier, state=state, plan=plan)
        results = await self._prover.probe(call, state.key_manager, state.certificates, plan.rows, ends)
        return ProbedPlan(state, plan, results, probed=True)

    async def _prove_keys(self, call: Call, proof: ProbedPlan, ends: float) -> ProbedPlan:
        """Prove that keys are on the servers at their new addresses, and that no removed secondary has a sole copy."""
        same: dict[str, Relocation] = {}
        found: dict[str, RemovalFindings] = {}
        manager = proof.state.key_manager
        for before, row in _changes(proof.state, proof.plan):
            if proof.plan.proves:
                moving = await self._identity.prove_moved(call, manager, before, row, ends, proof.same.get(row.uuid))
                same |= {} if moving is None else {row.uuid: moving}
            if _loses_secondaries(before, row):
                found[row.uuid] = await self._guard.prove(call, Removal(manager, before, row), ends)
        return replace(proof, same=same, found=found)

    def _keys_are_proved(self, tx: Rows, state: ServersState, plan: ServersPlan, proof: ProbedPlan) -> bool:
        """Return True if no secondary with a sole proven copy goes, and each relocated server has shown its objects.

        The proofs were read from the servers as they were, so the servers must be unchanged.
        """
        return all(
            before in proof.state.servers
            and (not plan.proves or self._has_shown(tx, state, before, row, proof))
            and (
                not _loses_secondaries(before, row)
                or self._guard.check(
                    tx, Removal(state.key_manager, before, row), proof.found.get(row.uuid, RemovalFindings())
                )
            )
            for before, row in _changes(state, plan)
        )

    def _has_shown(self, tx: Rows, state: ServersState, before: KeyServer, row: KeyServer, proof: ProbedPlan) -> bool:
        """Return True if a server has no objects of ours, or has shown at its new place what it must have."""
        moving = proof.same.get(row.uuid)
        if moving is None:
            return not self._identity.keeps(tx, row)
        return not is_elsewhere(before, row) or self._identity.check_moved(tx, state.key_manager, moving)

    def _store_proved(self, tx: Rows, call: Call, change: ServerChange, proof: ProbedPlan) -> ServerRows | None:
        """Plan again and store. Return None if others have changed meanwhile what was proved."""
        state = load_state(tx, call, proof.state.key_manager.uuid, lock=True)
        plan = change.plan(state)
        if plan.proves and not proof.holds_for(state, plan):
            return None
        if not self._keys_are_proved(tx, state, plan, proof):
            return None
        change.store(tx, plan.rows)
        for moved in _moved(state.servers, plan.rows):
            if moved.uuid in proof.same:
                self._identity.note_moved(tx, proof.same[moved.uuid])
            else:
                forget(tx, state.servers, moved.uuid)
        if plan.proves:
            self._prover.accepted(tx, state.key_manager.svm, plan.rows, proof.results, new=change.new)
        self._audit.succeed(tx, call, named(change.verb, plan.rows, state.servers), svm=state.key_manager.svm)
        return plan.rows

    # --- read ---

    async def detached(self, call: Call, key_manager: str) -> tuple[Detached, ...]:
        """Return the detached servers of a key manager, which still hold copies of keys, or raise 4 (404)."""
        return await self._guard.detached(call, key_manager)

    async def page(self, call: Call, key_manager: str, page: Page) -> tuple[KeyServer, ...]:
        """Return a slice of the key manager's servers, in the order of their creation."""

        def read(tx: Rows) -> tuple[KeyServer, ...]:
            manager = require_key_manager(tx, call, key_manager)
            try:
                servers = tx.page(KeyServer, page.within(key_manager=key_manager))
            except StoreError as error:
                raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error
            return _views(tx, manager, servers, page.wanted)

        return await self._store.read(read)

    async def get(
        self, call: Call, key_manager: str, address: ServerAddress, wanted: Wanted = frozenset()
    ) -> KeyServer:
        """Return the server with this address, however it is spelled, or raise 4 (404)."""

        def read(tx: Rows) -> KeyServer:
            manager = require_key_manager(tx, call, key_manager)
            try:
                server = tx.key_server(key_manager, address)
            except StoreError as error:
                raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error
            if server is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
            return _views(tx, manager, (server,), wanted)[0]

        return await self._store.glance(read)


def _moved(before: Iterable[KeyServer], after: Iterable[KeyServer]) -> list[KeyServer]:
    """Return the servers that have moved. Unless they were shown to be the same, nothing learned about them holds."""
    known = {server.uuid: server for server in before}
    return [server for server in after if is_elsewhere(known.get(server.uuid, server), server)]


def _changes(state: ServersState, plan: ServersPlan) -> Iterator[tuple[KeyServer, KeyServer]]:
    """Yield the servers that a plan changes: as they are, and as they will be."""
    before = {server.uuid: server for server in state.servers}
    return ((before[row.uuid], row) for row in plan.rows if row.uuid in before)


def _loses_secondaries(before: KeyServer, after: KeyServer) -> bool:
    return not set(before.secondary_key_servers) <= set(after.secondary_key_servers)


def _views(tx: Rows, key_manager: KeyManager, servers: tuple[KeyServer, ...], wanted: Wanted) -> tuple[KeyServer, ...]:
    """Return the servers, with their connectivity if it is wanted."""
    if not any(name.startswith("connectivity") for name in wanted):
        return servers
    return tuple(with_connectivity(tx, servers, {key_manager.uuid} if key_manager.enabled else frozenset()))


def sealed_rows(new: Iterable[NewKeyServer], key_manager: str, sealer: Sealer) -> tuple[KeyServer, ...]:
    """Make the rows of accepted servers, with sealed passwords. The rows get their positions when they are stored."""

    def row(server: NewKeyServer) -> KeyServer:
        uuid = str(uuid4())
        return KeyServer(
            uuid=uuid,
            key_manager=key_manager,
            position=0,
            address=server.server,
            timeout=server.timeout,
            create_remove_timeout=server.create_remove_timeout,
            username=server.username,
            secondary_key_servers=server.secondary_key_servers,
            tls_server_name=server.tls_server_name,
            replication_domain=server.replication_domain,
            sealed_password=sealer.seal(server.password, password_context(uuid)) if server.password else None,
        )

    return tuple(row(server) for server in new)


def at_positions(rows: Iterable[KeyServer], first: int) -> tuple[KeyServer, ...]:
    """Give rows their positions, in order."""
    return tuple(replace(row, position=position) for position, row in enumerate(rows, first))


def named(verb: str, rows: Iterable[KeyServer], before: Iterable[KeyServer] = ()) -> str:
    """Return an audit text that names the servers, and for a moved server its former address too."""
    earlier = {row.uuid: row.address for row in before}

    def name(row: KeyServer) -> str:
        was = earlier.get(row.uuid, row.address)
        return str(was) if was == row.address else f"{was}, now {row.address}"

    return f"{verb} " + ", ".join(map(name, rows))
