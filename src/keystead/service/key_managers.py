"""Use cases of external key managers: create, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead.core.key_managers import CreateState, check_complete, check_create
from keystead.core.model import KeyManager, KeyServer, Svm
from keystead.service.key_servers import (
    at_positions,
    installed,
    named,
    read_key_servers,
    require_cluster,
    require_key_manager,
    sealed_rows,
)
from keystead.service.proving import raise_first_failure
from keystead.service.svms import concerning, named_svm

if TYPE_CHECKING:
    from keystead.core.key_managers import NewKeyManager
    from keystead.service.audit import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports import Page, Sealer, Store, Transaction
    from keystead.service.proving import Prover


@dataclass(frozen=True, slots=True)
class KeyManagerView:
    """A key manager with what its resource shows beside its own row. ``client_certificate_name`` is None if gone."""

    key_manager: KeyManager
    servers: tuple[KeyServer, ...]
    client_certificate_name: str | None


class KeyManagers:
    """The key managers of SVMs and of the cluster."""

    def __init__(self, store: Store, prover: Prover, sealer: Sealer, audit: AuditLog) -> None:
        self._store = store
        self._prover = prover
        self._sealer = sealer
        self._audit = audit

    async def create(self, call: Call, new: NewKeyManager) -> KeyManagerView:
        """Prove every server of a new key manager, then store it with all of them, or raise one OntapError."""
        check_complete(new)
        uuid = str(uuid4())
        planned, state = await self._store.read(lambda tx: _planned(tx, call, uuid, new))
        with concerning(planned.svm):
            check_create(state, planned, new)
            rows = at_positions(sealed_rows(new.servers, uuid, self._sealer), 1)
            results = await self._prover.probe(call, planned, state.certificates, rows)
            raise_first_failure(new.add_request, results)
            return await self._store_all(call, uuid, new, rows)

    async def _store_all(
        self, call: Call, uuid: str, new: NewKeyManager, rows: tuple[KeyServer, ...]
    ) -> KeyManagerView:
        def work(tx: Transaction) -> KeyManagerView:
            planned, state = _planned(tx, call, uuid, new, lock=True)
            check_create(state, planned, new)
            tx.add_key_manager(planned)
            tx.add_key_servers(rows)
            message = f"created key manager {uuid}, {named('added', rows)}"
            self._audit.succeed(tx, call, message, svm=planned.svm)
            return KeyManagerView(planned, rows, state.certificates[planned.client_certificate].name)

        return await self._store.write(work)

    async def get(self, call: Call, uuid: str) -> KeyManagerView:
        """Return one key manager, or raise 4 (404)."""
        return await self._store.glance(lambda tx: _view(tx, require_key_manager(tx, call, uuid)))

    async def page(self, call: Call, page: Page) -> tuple[KeyManagerView, ...]:
        """Return a slice of the key managers, by uuid."""
        within = call.within(page)
        return await self._store.read(lambda tx: tuple(_view(tx, found) for found in tx.page(KeyManager, within)))


def _planned(
    tx: Transaction, call: Call, uuid: str, new: NewKeyManager, *, lock: bool = False
) -> tuple[KeyManager, CreateState]:
    """Read what decides, and say what the key manager would be."""
    svm: Svm | None = named_svm(tx, call, new.svm_uuid, new.svm_name)
    planned = KeyManager(
        uuid,
        svm,
        enabled=True,
        client_certificate=new.client_certificate or "",
        server_ca_certificates=new.server_ca_certificates,
    )
    return planned, CreateState(
        existing=tx.key_manager_of(svm.uuid if svm else None),
        cluster=require_cluster(tx),
        nodes=tx.nodes(),
        certificates=installed(tx, planned, lock=lock),
    )


def _view(tx: Transaction, key_manager: KeyManager) -> KeyManagerView:
    client = tx.certificate(key_manager.client_certificate)
    return KeyManagerView(key_manager, read_key_servers(tx, key_manager.uuid), client.name if client else None)
