"""Use cases of certificates: install, read, delete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead.core import errors
from keystead.core.certificates import check_install
from keystead.core.errors import OntapError
from keystead.core.model import Certificate
from keystead.service.ports import Page
from keystead.service.proving import private_key_place
from keystead.service.svms import concerning, named_svm

if TYPE_CHECKING:
    from keystead.core.certificates import NewCertificate
    from keystead.service.audit import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports import Clock, Sealer, Store, Transaction


class Certificates:
    """The certificate store of the cluster and its SVMs."""

    def __init__(self, store: Store, sealer: Sealer, audit: AuditLog, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._audit = audit
        self._clock = clock

    async def install(self, call: Call, new: NewCertificate) -> Certificate:
        """Check and store a certificate, its private key sealed; a name taken in its scope is code 1 (409)."""
        uuid = str(uuid4())
        sealed = self._sealer.seal(new.private_key, private_key_place(uuid)) if new.private_key else None
        checked = replace(check_install(new, uuid, None, self._clock.now()), sealed_private_key=sealed)

        def store(tx: Transaction) -> Certificate:
            certificate = replace(checked, svm=named_svm(tx, call, new.svm_uuid, new.svm_name))
            scope = {"svm_uuid": certificate.svm.uuid if certificate.svm else None}
            with concerning(certificate.svm):
                if tx.page(Certificate, Page({**scope, "name": certificate.name}, limit=1)):
                    raise OntapError(errors.DUPLICATE_ENTRY, target="name")
            tx.add_certificate(certificate)
            self._audit.succeed(tx, call, f"installed certificate {uuid}", svm=certificate.svm)
            return certificate

        return await self._store.write(store)

    async def get(self, call: Call, uuid: str) -> Certificate:
        """Return one certificate, or raise 4 (404)."""
        return await self._store.glance(lambda tx: _require(tx, call, uuid))

    async def page(self, call: Call, page: Page) -> tuple[Certificate, ...]:
        """Return a slice of the certificates, by uuid."""
        return await self._store.read(lambda tx: tx.page(Certificate, call.within(page)))

    async def delete(self, call: Call, uuid: str) -> None:
        """Delete a certificate that no key manager refers to (else 3735683)."""

        def delete(tx: Transaction) -> None:
            svm = _require(tx, call, uuid, lock=True).svm
            with concerning(svm):
                if tx.certificate_in_use(uuid):
                    raise OntapError(errors.CERTIFICATE_IN_USE)
            tx.delete_certificate(uuid)
            self._audit.succeed(tx, call, f"deleted certificate {uuid}", svm=svm)

        await self._store.write(delete)


def _require(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> Certificate:
    certificate = tx.certificate(uuid, lock=lock)
    if certificate is None or not call.sees(certificate.svm):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return certificate
