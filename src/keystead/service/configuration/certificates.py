"""Use cases of certificates: install, create, read, rename, delete, sign with a local CA, make signing requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from cryptography import x509

from keystead.core import errors
from keystead.core.certificates import making, signing
from keystead.core.certificates.certificates import check_install, described, pem_of
from keystead.core.certificates.keys import written
from keystead.core.errors import OntapError
from keystead.core.key_managers import check_same_key_pair
from keystead.core.model import Certificate, CertificateType
from keystead.core.probing import TlsIdentity
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.cluster.peers import nobody
from keystead.service.cluster.svms import about_svm, named_svm
from keystead.service.ports.cluster import AuditRows
from keystead.service.ports.configuration import CertificateRows, ListRows, SvmRows
from keystead.service.probing.prober import private_key_context

if TYPE_CHECKING:
    from keystead.core.certificates.certificates import NewCertificate
    from keystead.core.certificates.keys import PrivateKey
    from keystead.core.certificates.making import KeyAlgorithm, NewRequest, NewSelfSigned
    from keystead.core.certificates.signing import SigningOrder
    from keystead.core.model import Svm
    from keystead.core.secret import Secret
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.peers import Withdraw
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.probing import KeyServerGateway
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import KeyMaker, Sealer
    from keystead.service.ports.store import Store
    from keystead.service.probing.queue import ProbeQueue


_SHOW_USERS = "keystead security certificate show"
"""The command that shows who uses each certificate."""


class Rows(SvmRows, CertificateRows, ListRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class MadeRequest:
    """A certificate signing request (PEM), and its private key, which is stored nowhere."""

    csr: str
    private_key: Secret


class Certificates:
    """The certificate store of the cluster and its SVMs."""

    def __init__(
        self,
        store: Store[Rows],
        sealer: Sealer,
        audit: AuditLog,
        clock: Clock,
        key_maker: KeyMaker,
        queue: ProbeQueue,
        gateway: KeyServerGateway,
        withdraw: Withdraw = nobody,
    ) -> None:
        self._withdraw = withdraw
        self._store = store
        self._sealer = sealer
        self._audit = audit
        self._clock = clock
        self._key_maker = key_maker
        self._queue = queue
        self._gateway = gateway

    async def install(self, call: Call, new: NewCertificate, successor_of: Certificate | None = None) -> Certificate:
        """Check and store a certificate, with its private key sealed. A name taken in its scope is code 1 (409).

        ``successor_of`` is the client certificate that it shall replace: another key pair is 65536850.
        """
        uuid = str(uuid4())
        checked, private_key = check_install(new, uuid, None, self._clock.now())
        if successor_of is not None:
            check_same_key_pair(successor_of, checked, "public_certificate")
        key = None if private_key is None else await self._proved(call, checked, private_key)
        return await self._add(call, new, self._with_key(checked, key), "installed")

    async def create(self, call: Call, new: NewSelfSigned) -> Certificate:
        """Make and store a self-signed certificate. Its private key never leaves the store."""
        now = self._clock.now()
        algorithm = making.check_self_signed(new, now)
        await self._store.read(lambda tx: _placed(tx, call, new, new.name))  # first, because a key takes seconds
        key = await self._new_key(call, algorithm)
        made = making.self_signed(new, key, x509.random_serial_number(), now)
        certificate = described(made, CertificateType(new.type), name=new.name, common_name=new.common_name)
        return await self._add(call, new, self._with_key(replace(certificate, uuid=str(uuid4())), key), "created")

    async def get(self, call: Call, uuid: str) -> Certificate:
        """Return one certificate, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: _require(tx, call, uuid))

    async def page(self, call: Call, page: Page) -> tuple[Certificate, ...]:
        """Return a slice of the certificates, by uuid."""
        return await self._store.read(lambda tx: tx.page(Certificate, call.within(page)))

    async def rename(self, call: Call, uuid: str, name: str) -> None:
        """Rename a certificate. A name that is taken in its scope is code 1 (409)."""

        def rename(tx: Rows) -> None:
            certificate = _require(tx, call, uuid, lock=True)
            _check_free(tx, certificate.svm, name, but=uuid)
            tx.rename_certificate(uuid, name)
            self._audit.succeed(tx, call, f"renamed certificate {uuid} from {certificate.name}", svm=certificate.svm)

        await self._store.write(rename)

    async def delete(self, call: Call, uuid: str) -> None:
        """Delete a certificate that no key manager refers to, else raise 3735683.

        The other nodes are told of a CA of accounts.
        """

        def delete(tx: Rows) -> CertificateType:
            certificate = _require(tx, call, uuid, lock=True)
            svm = certificate.svm
            with about_svm(svm):
                if users := tx.certificate_users(uuid):
                    arguments = [*(("key_manager", user) for user in users), ("next", _SHOW_USERS)]
                    raise OntapError(errors.CERTIFICATE_IN_USE, arguments=arguments)
                tx.delete_certificate(uuid)
                self._audit.succeed(tx, call, f"deleted certificate {uuid}", svm=svm)
            return certificate.type

        if await self._store.write(delete) is CertificateType.CLIENT_CA:
            call.warnings.extend(await self._withdraw(Withdrawn(Thing.CERTIFICATE, uuid)))

    async def sign(self, call: Call, uuid: str, order: SigningOrder) -> str:
        """Sign a request with a ``root_ca``. Return the certificate (PEM), which is recorded, but not installed."""
        ca = await self.get(call, uuid)
        with about_svm(ca.svm):
            approved = signing.check_order(order, ca, self._clock.now())
        key = self._sealer.unseal(approved.sealed_key, private_key_context(uuid))
        made = signing.sign(approved, ca, key, x509.random_serial_number())

        def record(tx: Rows) -> None:
            _require(tx, call, uuid)  # so that a CA deleted meanwhile signs nothing
            self._audit.succeed(tx, call, f"certificate {uuid} signed serial number {made.serial_number:X}", svm=ca.svm)

        await self._store.write(record)
        return pem_of(made)

    async def request(self, call: Call, new: NewRequest) -> MadeRequest:
        """Make a private key and a certificate signing request for it. Neither is stored."""
        key = await self._new_key(call, making.check_request(new))
        made = MadeRequest(making.signing_request(new, key), key)
        await self._store.write(lambda tx: self._audit.succeed(tx, call, "made a certificate signing request"))
        return made

    async def _new_key(self, call: Call, algorithm: KeyAlgorithm) -> Secret:
        """Make a private key in the caller's turn of the probe queue, because it costs the node as much as a probe."""
        return await self._queue.run(
            call.caller.account, lambda _: self._key_maker.make(algorithm), svm=call.caller.svm
        )

    async def _proved(self, call: Call, certificate: Certificate, private_key: PrivateKey) -> Secret:
        """Return the private key in the form to seal.

        Raises OntapError unless it signs, and TLS takes it with its certificate.
        """
        account, svm = call.caller.account, call.caller.svm
        if not await self._queue.run(account, lambda _: self._key_maker.prove(private_key), svm=svm):
            raise OntapError(errors.KEY_MALFORMED, target="private_key")
        key = written(private_key)
        if not self._gateway.can_use(TlsIdentity(certificate.public_certificate, key, certificate.intermediates, ())):
            raise OntapError(errors.CERTIFICATE_MALFORMED, target="public_certificate")
        return key

    def _with_key(self, certificate: Certificate, key: Secret | None) -> Certificate:
        sealed = self._sealer.seal(key, private_key_context(certificate.uuid)) if key else None
        return replace(certificate, sealed_private_key=sealed)

    async def _add(
        self, call: Call, new: NewCertificate | NewSelfSigned, certificate: Certificate, verb: str
    ) -> Certificate:
        def store(tx: Rows) -> Certificate:
            placed = replace(certificate, svm=_placed(tx, call, new, certificate.name))
            tx.add_certificate(placed)
            self._audit.succeed(tx, call, f"{verb} certificate {placed.uuid}", svm=placed.svm)
            return placed

        return await self._store.write(store)


def _placed(tx: Rows, call: Call, new: NewCertificate | NewSelfSigned, name: str | None) -> Svm | None:
    """Return the SVM that will own a new certificate, None for the cluster.

    Raises code 1 if its name is taken there.
    """
    svm = named_svm(tx, call, new.svm_uuid, new.svm_name)
    if name is not None:
        _check_free(tx, svm, name)
    return svm


def _check_free(tx: CertificateRows, svm: Svm | None, name: str, but: str = "") -> None:
    """Raise code 1 if another certificate of the SVM, or of the cluster, has this name.

    Its uuid is in the arguments.
    """
    holder = tx.certificate_named(svm.uuid if svm else None, name)
    with about_svm(svm):
        if holder is not None and holder.uuid != but:
            raise OntapError(errors.DUPLICATE_ENTRY, target="name", arguments=[("uuid", holder.uuid)])


def _require(tx: CertificateRows, call: Call, uuid: str, *, lock: bool = False) -> Certificate:
    certificate = tx.certificate(uuid, within=call.within_svm, lock=lock)
    if certificate is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return certificate
