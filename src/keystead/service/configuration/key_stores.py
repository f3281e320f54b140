"""Use cases of key stores: read, enable an inactive one, discard it. A key store is a key manager's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import check_certificates
from keystead.core.key_stores import check_discard, plan_enable
from keystead.core.model import KeyManager
from keystead.service.cluster.svms import about_svm
from keystead.service.loading import installed_certificates, load_state, require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows, ListRows
from keystead.service.probing.prober import first_failure

if TYPE_CHECKING:
    from keystead.core.key_servers import ServersState
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.store import Store
    from keystead.service.probing.prober import ServerProber


class Rows(
    CertificateRows,
    KeyManagerRows,
    KeyServerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    ObservationRows,
    EventRows,
    AuditRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class KeyStores:
    """The configurations of all key managers, enabled or not."""

    def __init__(self, store: Store[Rows], prover: ServerProber, audit: AuditLog) -> None:
        self._store = store
        self._prover = prover
        self._audit = audit

    async def get(self, call: Call, uuid: str) -> KeyManager:
        """Return one key store, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: require_key_manager(tx, call, uuid))

    async def page(self, call: Call, page: Page) -> tuple[KeyManager, ...]:
        """Return a slice of the key stores, by uuid."""
        return await self._store.read(lambda tx: tx.page(KeyManager, call.within(page)))

    async def enable(self, call: Call, uuid: str, *, enabled: bool) -> None:
        """Probe every server of an inactive key store, then enable it, or raise one OntapError.

        What was probed cannot change meanwhile, because an inactive key store can only be discarded.
        """
        state, planned = await self._store.read(lambda tx: _planned(tx, call, uuid, enabled=enabled))
        with about_svm(planned.svm):
            results = await self._prover.probe(call, planned, state.certificates, state.servers, stored=state.servers)
            found = first_failure(results)
            if found is not None:
                raise OntapError(errors.SERVERS_UNAVAILABLE, arguments=found[1].arguments)

        def enable(tx: Rows) -> None:
            tx.cluster(lock=True)  # so that nobody creates another one meanwhile
            state, planned = _planned(tx, call, uuid, enabled=enabled, lock=True)
            with about_svm(planned.svm):
                check_certificates(planned, installed_certificates(tx, planned, lock=True))
            tx.change_key_manager(planned)
            self._prover.accepted(tx, planned.svm, state.servers, results)
            self._audit.succeed(tx, call, f"enabled key manager {uuid}", svm=planned.svm)

        await self._store.write(enable)

    async def discard(self, call: Call, uuid: str) -> None:
        """Delete a key store that is not enabled, with its servers."""

        def discard(tx: Rows) -> None:
            state = _state(tx, call, uuid, lock=True)
            svm = state.key_manager.svm
            with about_svm(svm):
                check_discard(state.key_manager, state.nodes)
            tx.delete_key_manager(uuid)
            self._audit.succeed(tx, call, f"deleted inactive key manager {uuid}", svm=svm)

        await self._store.write(discard)


def _planned(tx: Rows, call: Call, uuid: str, *, enabled: bool, lock: bool = False) -> tuple[ServersState, KeyManager]:
    state = _state(tx, call, uuid, lock=lock)
    with about_svm(state.key_manager.svm):
        return state, plan_enable(state, enabled=enabled)


def _state(tx: Rows, call: Call, uuid: str, *, lock: bool) -> ServersState:
    """Read the state on which calls about a key store depend. A key store that does not exist is 65538908."""
    try:
        return load_state(tx, call, uuid, lock=lock)
    except OntapError as error:
        if error.kind is errors.ENTRY_NOT_FOUND:
            raise OntapError(errors.KEY_STORE_UNKNOWN, target="uuid") from None
        raise
