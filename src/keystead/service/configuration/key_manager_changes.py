"""Change a key manager: plan, probe every server, prove keys with other certificates, then plan again and store.

Only what was probed and proved is stored. If others changed something meanwhile, it is probed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.key_servers import check_certificates
from keystead.service.cluster.svms import about_svm
from keystead.service.configuration.key_manager_plans import planned_change
from keystead.service.keys.topology import PRIMARY
from keystead.service.loading import installed_certificates
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, SvmRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.probing.prober import first_failure
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.key_managers import CreationPlan, KeyManagerChange
    from keystead.core.key_servers import ServersState
    from keystead.core.keys.model import AddressId
    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.service.configuration.context import ConfigurationContext
    from keystead.service.context import Call
    from keystead.service.keys.guarding.relocation import Readings

PATIENCE_S = 3600.0
"""Seconds that the proof of keys may take longer than a call, if nobody waits for the answer."""

_FOREIGN_TLS = (errors.SERVER_CA_REFUSED, errors.TLS_ENGINE)
"""Probe errors of peers whose TLS fails for reasons of their own. Such a peer may not be our key server."""

_connecting = attrgetter("client_certificate", "server_ca_certificates")
"""The certificates with which a key manager connects to key servers."""


class Rows(
    TopologyRows,
    SvmRows,
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
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True)
class Proved:
    """A planned change, the probe results of its servers, and the copies that were read with its certificates."""

    state: ServersState
    plan: CreationPlan
    results: Sequence[ProbeResult]
    readings: Readings


class KeyManagerChanges:
    """The changes of key managers, with their probes and proofs."""

    def __init__(self, context: ConfigurationContext) -> None:
        self._context = context

    async def check_change(self, call: Call, uuid: str, change: KeyManagerChange) -> KeyManager:
        """Raise what forbids a change before any server is probed. Return the key manager as it is."""
        state, _ = await self._context.store.read(lambda tx: planned_change(tx, call, uuid, change))
        return state.key_manager

    async def change(self, call: Call, uuid: str, change: KeyManagerChange, *, patient: bool = False) -> None:
        """Probe every server with the new certificates, then store the change, or raise one OntapError.

        A new client certificate must read every key before. A silent server may be left out only if the old
        certificates do not connect any more, and its keys were read from another server.

        With ``patient`` nobody waits for the answer. The change may then take as long as reading all keys takes, within
        ``PATIENCE_S``.
        """
        ends = self._context.prover.deadline()
        keys_end = ends + PATIENCE_S if patient else ends
        readings = self._context.relocation_guard.begin()
        servers: tuple[KeyServer, ...] = ()
        while True:
            check_left(keys_end)
            ends = self._context.prover.deadline() if patient else ends
            state, plan = await self._context.store.read(lambda tx: planned_change(tx, call, uuid, change))
            if state.servers != servers:  # because copies were read at the servers' former addresses
                readings, servers = self._context.relocation_guard.begin(), state.servers
            results: Sequence[ProbeResult] = ()
            with about_svm(state.key_manager.svm):
                if plan.proves and state.servers:
                    results = await self._context.prover.probe(
                        call, plan.key_manager, plan.certificates, state.servers, ends, stored=state.servers
                    )
                    unreached = await self._unreached(state, plan, change, results, keys_end)
                    if not unreached:
                        _raise_refusal(change, results)
                    readings = readings.with_unreached(unreached)
                needs_keys = _needs_keys(state, plan, readings)
                if needs_keys and not await self._context.relocation_guard.prove_certificate_change(
                    call, plan.key_manager, state.servers, readings, keys_end, change.blamed(errors.NETWORK)
                ):
                    continue
                proved = Proved(state, plan, results, readings)
                if await self._context.store.write(lambda tx: self._store_proved(tx, call, change, proved)):  # noqa: B023
                    if plan.proves:
                        self._context.on_changed(uuid)
                    return

    async def _unreached(
        self,
        state: ServersState,
        plan: CreationPlan,
        change: KeyManagerChange,
        results: Sequence[ProbeResult],
        until: float,
    ) -> frozenset[AddressId]:
        """Return the addresses that do not answer and may be left out.

        They may be left out because otherwise neither they nor the replaced certificates could ever be replaced. None
        are left out if the certificates stay the same, if a probe failed differently, or if the old certificates still
        connect.
        """
        found = _not_reached(state.servers, results)
        if not found or _connecting(state.key_manager) == _connecting(plan.key_manager):
            return frozenset()
        target = change.blamed(errors.NETWORK)
        worn_out = await self._context.relocation_guard.no_longer_connects(
            state.key_manager, state.servers, found, until, target
        )
        return found if worn_out else frozenset()

    def _store_proved(self, tx: Rows, call: Call, change: KeyManagerChange, proved: Proved) -> bool:
        """Store a change. Return False if certificates, servers or keys differ from those that were proved."""
        uuid = proved.plan.key_manager.uuid
        state, plan = planned_change(tx, call, uuid, change, lock=True)
        if plan.proves:
            if (plan.key_manager, state.servers) != (proved.plan.key_manager, proved.state.servers):
                return False
            needs_keys = _needs_keys(state, plan, proved.readings)
            if needs_keys and not self._context.relocation_guard.check_certificate_change(
                tx, plan.key_manager, proved.readings
            ):
                return False
            check_certificates(plan.key_manager, installed_certificates(tx, plan.key_manager, lock=True))
        tx.change_key_manager(plan.key_manager)
        if plan.proves:
            self._context.relocation_guard.note_unreached(tx, proved.readings)
            self._context.prover.accepted(tx, state.key_manager.svm, state.servers, proved.results)
        self._context.audit.succeed(tx, call, f"changed key manager {uuid}", svm=state.key_manager.svm)
        return True


def _needs_keys(state: ServersState, plan: CreationPlan, readings: Readings) -> bool:
    """Return True if keys must be read before the change is stored.

    That is so for another client certificate, because servers know by it to whom objects belong. It is also so if a
    server is left out.
    """
    other = plan.key_manager.client_certificate != state.key_manager.client_certificate
    return other or bool(readings.read_copies.unreached)


def _not_reached(servers: Sequence[KeyServer], results: Sequence[ProbeResult]) -> frozenset[AddressId]:
    """Return the addresses at which no key server of ours answered its probe, or none if any probe failed differently.

    There, nobody answered, or only a peer whose TLS does not fit: the address may belong to another machine by now.
    """
    failed = {
        (server.uuid, host): each
        for server, result in zip(servers, results, strict=True)
        for host, each in zip((PRIMARY, *server.secondary_key_servers), result.each, strict=True)
        if each.error is not None
    }
    return frozenset(failed) if all(map(_is_unreached, failed.values())) else frozenset()


def _is_unreached(result: ProbeResult) -> bool:
    return result.error is errors.NETWORK or (result.stage == "tls" and result.error in _FOREIGN_TLS)


def _raise_refusal(change: KeyManagerChange, results: Sequence[ProbeResult]) -> None:
    """Raise the first failure, as for an add. Its target is the certificate that the request brings."""
    found = first_failure(results)
    if found is not None:
        _, error = found
        error.target = change.blamed(error.kind)
        raise error
