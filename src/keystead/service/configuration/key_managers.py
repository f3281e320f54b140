"""Use cases of external key managers: create, read, change, delete.

The flow is that of key servers: plan, probe outside any transaction, then plan again and store in one transaction. Only
what was probed is stored. If others changed something meanwhile, it is probed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import (
    CLIENT_CERTIFICATE,
    CreateState,
    check_complete,
    check_delete,
    plan_change,
    plan_create,
    serving,
)
from keystead.core.key_servers import check_certificates
from keystead.core.keys.guarding import ACTIVE_STATES, TERMINAL_STATES
from keystead.core.model import KeyManager, KeyServer
from keystead.service.cluster.svms import about_svm, named_svm
from keystead.service.configuration.key_servers import at_positions, named, sealed_rows
from keystead.service.keys.topology import PRIMARY
from keystead.service.loading import (
    incarnation_of,
    installed_certificates,
    load_state,
    require_cluster,
    require_key_manager,
)
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, ListRows, SvmRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.ports.store import StoreError
from keystead.service.probing.prober import first_failure, raise_first_failure
from keystead.service.probing.queue import check_left
from keystead.service.probing.watching import with_connectivity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from keystead.core.key_managers import CertificateName, CreationPlan, Found, KeyManagerChange, NewKeyManager
    from keystead.core.key_servers import ServersState
    from keystead.core.keys.model import AddressId
    from keystead.core.model import Certificate, Svm
    from keystead.core.probing import ProbeResult
    from keystead.core.query.query import Wanted
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.guarding.relocation import Readings, RelocationGuard
    from keystead.service.ports.page import Page
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store
    from keystead.service.probing.prober import ServerProber

PATIENCE_S = 3600.0
"""Seconds that the proof of keys may take longer than a call, if nobody waits for the answer."""

_FOREIGN_TLS = (errors.SERVER_CA_REFUSED, errors.TLS_ENGINE)
"""Probe errors of peers whose TLS fails for reasons of their own. Such a peer may not be our key server."""

_connecting = attrgetter("client_certificate", "server_ca_certificates")
"""The certificates with which a key manager connects to key servers."""

_SERVERS = "external.servers"
_CONNECTIVITY = "external.servers.connectivity"
_CLIENT_CERTIFICATE_NAME = f"{CLIENT_CERTIFICATE}.name"


class Rows(
    TopologyRows,
    SvmRows,
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


@dataclass(frozen=True, slots=True)
class KeyManagerView:
    """A key manager, with those parts of its resource from other rows that were wanted.

    ``client_certificate_name`` is None if the certificate is gone, or if the name was not wanted.
    """

    key_manager: KeyManager
    servers: tuple[KeyServer, ...] = ()
    client_certificate_name: str | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """The key manager that keeps an SVM's keys. ``uuid`` is None if the call does not see it."""

    uuid: str | None
    scope: str


@dataclass(frozen=True)
class Proved:
    """A planned change, the probe results of its servers, and the copies that were read with its certificates."""

    state: ServersState
    plan: CreationPlan
    results: Sequence[ProbeResult]
    readings: Readings


class KeyManagers:
    """The key managers of SVMs and the cluster. ``on_changed`` is called for new ones, and for changed certificates."""

    def __init__(
        self,
        store: Store[Rows],
        prover: ServerProber,
        sealer: Sealer,
        audit: AuditLog,
        identity: RelocationGuard,
        *,
        on_changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._prover = prover
        self._sealer = sealer
        self._audit = audit
        self._identity = identity
        self._on_changed = on_changed

    # --- create ---

    async def create(self, call: Call, new: NewKeyManager) -> KeyManagerView:
        """Probe every server of a new key manager, then store it with all of them, or raise one OntapError."""
        check_complete(new)
        uuid = str(uuid4())
        rows = at_positions(sealed_rows(new.servers, uuid, self._sealer), 1)
        ends = self._prover.deadline()
        while True:
            plan = await self._store.read(lambda tx: _planned_creation(tx, call, uuid, new))
            with about_svm(plan.key_manager.svm):
                results = await self._prover.probe(call, plan.key_manager, plan.certificates, rows, ends)
                raise_first_failure(new.add_request, results)
                stored = await self._store.write(lambda tx: self._create(tx, call, new, plan, rows, results))  # noqa: B023
            if stored is not None:
                self._on_changed(uuid)
                return stored

    def _create(
        self,
        tx: Rows,
        call: Call,
        new: NewKeyManager,
        proved: CreationPlan,
        rows: tuple[KeyServer, ...],
        results: Sequence[ProbeResult],
    ) -> KeyManagerView | None:
        """Store what was probed. Return None if the names in the request now mean other certificates."""
        key_manager = _planned_creation(tx, call, proved.key_manager.uuid, new, lock=True).key_manager
        if key_manager != proved.key_manager:
            return None
        check_certificates(key_manager, installed_certificates(tx, key_manager, lock=True))
        tx.add_key_manager(key_manager)
        tx.add_key_servers(rows)
        self._prover.accepted(tx, key_manager.svm, rows, results, new=True)
        message = f"created key manager {key_manager.uuid}, {named('added', rows)}"
        self._audit.succeed(tx, call, message, svm=key_manager.svm)
        return KeyManagerView(key_manager, rows, proved.certificates[key_manager.client_certificate].name)

    # --- change ---

    async def check_change(self, call: Call, uuid: str, change: KeyManagerChange) -> KeyManager:
        """Raise what forbids a change before any server is probed. Return the key manager as it is."""
        state, _ = await self._store.read(lambda tx: _planned_change(tx, call, uuid, change))
        return state.key_manager

    async def change(self, call: Call, uuid: str, change: KeyManagerChange, *, patient: bool = False) -> None:
        """Probe every server with the new certificates, then store the change, or raise one OntapError.

        A new client certificate must read every key before. A silent server may be left out only if the old
        certificates do not connect any more, and another server has shown the copies of its keys.

        With ``patient`` nobody waits for the answer. The change may then take as long as reading all keys takes, within
        ``PATIENCE_S``.
        """
        ends = self._prover.deadline()
        keys_end = ends + PATIENCE_S if patient else ends
        readings = self._identity.begin()
        servers: tuple[KeyServer, ...] = ()
        while True:
            check_left(keys_end)
            ends = self._prover.deadline() if patient else ends
            state, plan = await self._store.read(lambda tx: _planned_change(tx, call, uuid, change))
            if state.servers != servers:  # because copies were read at the servers' former places
                readings, servers = self._identity.begin(), state.servers
            results: Sequence[ProbeResult] = ()
            with about_svm(state.key_manager.svm):
                if plan.proves and state.servers:
                    results = await self._prover.probe(call, plan.key_manager, plan.certificates, state.servers, ends)
                    unreached = await self._unreached(state, plan, change, results, keys_end)
                    if not unreached:
                        _raise_refusal(change, results)
                    readings = readings.without(unreached)
                if _needs_keys(state, plan, readings) and not await self._identity.prove(
                    call, plan.key_manager, state.servers, readings, keys_end, change.blamed(errors.NETWORK)
                ):
                    continue
                proved = Proved(state, plan, results, readings)
                if await self._store.write(lambda tx: self._change(tx, call, change, proved)):  # noqa: B023
                    if plan.proves:
                        self._on_changed(uuid)
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
        worn_out = await self._identity.no_longer_connects(state.key_manager, state.servers, found, until, target)
        return found if worn_out else frozenset()

    def _change(self, tx: Rows, call: Call, change: KeyManagerChange, proved: Proved) -> bool:
        """Store a change. Return False if certificates, servers or keys differ from those that were proved."""
        uuid = proved.plan.key_manager.uuid
        state, plan = _planned_change(tx, call, uuid, change, lock=True)
        if plan.proves:
            if (plan.key_manager, state.servers) != (proved.plan.key_manager, proved.state.servers):
                return False
            needs_keys = _needs_keys(state, plan, proved.readings)
            if needs_keys and not self._identity.check(tx, plan.key_manager, proved.readings):
                return False
            check_certificates(plan.key_manager, installed_certificates(tx, plan.key_manager, lock=True))
        tx.change_key_manager(plan.key_manager)
        if plan.proves:
            self._identity.note_unreached(tx, proved.readings)
            self._prover.accepted(tx, state.key_manager.svm, state.servers, proved.results)
        self._audit.succeed(tx, call, f"changed key manager {uuid}", svm=state.key_manager.svm)
        return True

    # --- delete ---

    async def delete(self, call: Call, uuid: str) -> None:
        """Delete a key manager with its servers, and the rows of keys that have ended. Its certificates stay."""

        def delete(tx: Rows) -> None:
            key_manager = require_key_manager(tx, call, uuid, lock=True)
            with about_svm(key_manager.svm):
                incarnation = incarnation_of(tx)
                left = tx.keys_left(uuid, incarnation.uuid)
                check_delete(key_manager, tx.key_counts(uuid), left, held=not incarnation.destroys)
                tx.drop_keys(uuid, TERMINAL_STATES)
                for server in tx.key_servers(uuid):
                    tx.delete_profile(server.uuid)
                for detached in tx.detached_key_servers(uuid):
                    tx.delete_profile(detached.server.uuid)
                tx.delete_key_manager(uuid)
                self._audit.succeed(tx, call, f"deleted key manager {uuid}", svm=key_manager.svm)

        await self._store.write(delete)

    # --- read ---

    async def get(self, call: Call, uuid: str, wanted: Wanted) -> KeyManagerView:
        """Return one key manager with the fields that are wanted, or raise 4 (404)."""
        return await self._store.glance(lambda tx: _views(tx, [require_key_manager(tx, call, uuid)], wanted)[0])

    async def page(self, call: Call, page: Page) -> tuple[KeyManagerView, ...]:
        """Return a slice of the key managers, by uuid, with the fields that are wanted."""
        within = call.within(page)
        return await self._store.read(lambda tx: _views(tx, tx.page(KeyManager, within), within.wanted))

    async def serving(self, call: Call, svm_uuids: Collection[str]) -> dict[str, Serving]:
        """Return the key manager of each SVM: its own enabled one, else the cluster's.

        An SVM without any has no entry.
        """
        enabled = await self._store.read(lambda tx: tx.enabled_key_managers(svm_uuids))
        return {uuid: _serving(call, manager) for uuid, manager in serving(svm_uuids, enabled).items()}


def _planned_creation(tx: Rows, call: Call, uuid: str, new: NewKeyManager, *, lock: bool = False) -> CreationPlan:
    """Plan a creation. With ``lock``, nobody else creates or enables a key manager of the cluster meanwhile."""
    svm = named_svm(tx, call, new.svm_uuid, new.svm_name)
    if lock and svm is None:
        tx.cluster(lock=True)
    elsewhere = tx.key_manager_of(None) if svm else None
    if lock and elsewhere is not None:
        tx.key_manager(elsewhere.uuid, lock=True)  # so that nobody creates a key of the SVM there meanwhile
    state = CreateState(
        svm=svm,
        existing=tx.key_manager_of(svm.uuid if svm else None),
        cluster=require_cluster(tx),
        nodes=tx.nodes(),
        found=_found(tx, call, svm, new.named),
        keys_at_cluster=tx.keys_of_svm(svm.uuid, ACTIVE_STATES) if svm else 0,
    )
    with about_svm(svm):
        return plan_create(state, new, uuid)


def _planned_change(
    tx: Rows, call: Call, uuid: str, change: KeyManagerChange, *, lock: bool = False
) -> tuple[ServersState, CreationPlan]:
    state = load_state(tx, call, uuid, lock=lock)
    svm = state.key_manager.svm
    with about_svm(svm):
        return state, plan_change(state, _found(tx, call, svm, change.named), change)


def _found(tx: CertificateRows, call: Call, svm: Svm | None, names: Iterable[CertificateName]) -> Found:
    """Return the certificates that the names may mean, of those that the call sees."""

    def candidates(name: CertificateName) -> list[Certificate | None]:
        if name.uuid is not None:
            return [tx.certificate(name.uuid, within=call.within_svm)]
        owners = [svm.uuid if svm else None]
        owners += [None] if svm is not None and call.scope is None else []
        return [tx.certificate_named(owner, name.name or "") for owner in owners]

    return {name: tuple(found for found in candidates(name) if found is not None) for name in names}


def _serving(call: Call, manager: KeyManager) -> Serving:
    return Serving(manager.uuid if call.sees(manager.svm) else None, "svm" if manager.svm else "cluster")


def _needs_keys(state: ServersState, plan: CreationPlan, readings: Readings) -> bool:
    """Return True if keys must be read before the change is stored.

    That is so for another client certificate, because servers know by it to whom objects belong. It is also so if a
    server is left out.
    """
    other = plan.key_manager.client_certificate != state.key_manager.client_certificate
    return other or bool(readings.shown.unreached)


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


def _views(tx: Rows, key_managers: Sequence[KeyManager], wanted: Wanted) -> tuple[KeyManagerView, ...]:
    """Read the wanted parts of all key managers at once."""
    servers: dict[str, tuple[KeyServer, ...]] = {}
    names = {}
    if any(name.startswith(_SERVERS) for name in wanted):
        servers = _servers(tx, key_managers, wanted)
    if _CLIENT_CERTIFICATE_NAME in wanted:
        names = dict(tx.certificate_names(found.client_certificate for found in key_managers))
    return tuple(
        KeyManagerView(found, servers.get(found.uuid, ()), names.get(found.client_certificate))
        for found in key_managers
    )


def _servers(tx: Rows, key_managers: Sequence[KeyManager], wanted: Wanted) -> dict[str, tuple[KeyServer, ...]]:
    try:
        rows: Sequence[KeyServer] = tx.key_servers_of(found.uuid for found in key_managers)
    except StoreError as error:
        raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error
    if any(name.startswith(_CONNECTIVITY) for name in wanted):
        rows = with_connectivity(tx, rows, {found.uuid for found in key_managers if found.enabled})
    return {uuid: tuple(servers) for uuid, servers in groupby(rows, attrgetter("key_manager"))}
