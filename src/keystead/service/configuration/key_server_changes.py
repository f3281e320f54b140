"""Store key servers: plan, probe outside any transaction, prove keys, then plan again and store in one transaction.

Only what was probed and proved is stored. If others changed something meanwhile, it is probed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from keystead.core.keys.guarding import Removal, RemovalFindings, is_elsewhere
from keystead.service.configuration.key_server_rows import at_positions, named
from keystead.service.keys.learning.profiles import forget
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import (
    AttemptRows,
    CopyRows,
    DetachedRows,
    EpochMarkerRows,
    KeyRows,
    RemovalRows,
    TopologyRows,
)
from keystead.service.probing.prober import raise_first_failure
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from keystead.core.key_servers import ServersState
    from keystead.core.keys.guarding import Relocation
    from keystead.core.model import KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.service.configuration.context import ConfigurationContext
    from keystead.service.configuration.key_server_plans import ServerChange, ServersPlan
    from keystead.service.configuration.key_server_rows import ServerRows
    from keystead.service.context import Call


class Rows(
    TopologyRows,
    KeyManagerRows,
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


class KeyServerChanges:
    """The changes that store key servers, with their probes and proofs."""

    def __init__(self, context: ConfigurationContext) -> None:
        self._context = context

    async def make(self, call: Call, state: ServersState, change: ServerChange) -> ServerRows:
        """Probe, prove and store, until the deadline.

        What others changed meanwhile is probed again before it is stored.
        """
        ends = self._context.prover.deadline()
        proof: ProbedPlan | None = None
        while True:
            proof = await self.prove(call, state, change, ends=ends, earlier=proof)
            raise_first_failure(change.request, proof.results)
            if not change.new:
                proof = await self._prove_keys(call, proof, ends)
            stored = await self._context.store.write(partial(self._store_proved, call=call, change=change, proof=proof))
            if stored is not None:
                if proof.probed:
                    self._context.on_changed(state.key_manager.uuid)
                return stored
            check_left(ends)
            state = await self._context.store.read_few(
                partial(self._context.load, call=call, uuid=state.key_manager.uuid)
            )

    async def prove(
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
        results = await self._context.prover.probe(
            call, state.key_manager, state.certificates, plan.rows, ends, stored=state.servers
        )
        return ProbedPlan(state, plan, results, probed=True)

    async def _prove_keys(self, call: Call, proof: ProbedPlan, ends: float) -> ProbedPlan:
        """Prove that keys are on the servers at their new addresses, and that no removed secondary has a sole copy."""
        same: dict[str, Relocation] = {}
        found: dict[str, RemovalFindings] = {}
        manager = proof.state.key_manager
        for before, row in _changes(proof.state, proof.plan):
            if proof.plan.proves:
                moving = await self._context.relocation_guard.prove_moved(
                    call, manager, before, row, ends, proof.same.get(row.uuid)
                )
                same |= {} if moving is None else {row.uuid: moving}
            if _loses_secondaries(before, row):
                found[row.uuid] = await self._context.removal_guard.prove(call, Removal(manager, before, row), ends)
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
                or self._context.removal_guard.check(
                    tx, Removal(state.key_manager, before, row), proof.found.get(row.uuid, RemovalFindings())
                )
            )
            for before, row in _changes(state, plan)
        )

    def _has_shown(self, tx: Rows, state: ServersState, before: KeyServer, row: KeyServer, proof: ProbedPlan) -> bool:
        """Return True if a server has no objects of ours, or has shown at its new place what it must have."""
        moving = proof.same.get(row.uuid)
        if moving is None:
            return not self._context.relocation_guard.may_have_objects(tx, row)
        return not is_elsewhere(before, row) or self._context.relocation_guard.check_moved(
            tx, state.key_manager, moving
        )

    def _store_proved(self, tx: Rows, call: Call, change: ServerChange, proof: ProbedPlan) -> ServerRows | None:
        """Plan again and store. Return None if others have changed meanwhile what was proved."""
        state = self._context.load(tx, call, proof.state.key_manager.uuid, lock=True)
        plan = change.plan(state)
        if plan.proves and not proof.holds_for(state, plan):
            return None
        if not self._keys_are_proved(tx, state, plan, proof):
            return None
        change.store(tx, plan.rows)
        for moved in _moved(state.servers, plan.rows):
            if moved.uuid in proof.same:
                self._context.relocation_guard.note_moved(tx, proof.same[moved.uuid])
            else:
                forget(tx, state.servers, moved.uuid)
        if plan.proves:
            self._context.prover.accepted(tx, state.key_manager.svm, plan.rows, proof.results, new=change.new)
        self._context.audit.succeed(tx, call, named(change.verb, plan.rows, state.servers), svm=state.key_manager.svm)
        return plan.rows


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
