"""Login by client certificate. The chain that the client showed in TLS proves the caller, again with each request.

The proof of a chain is remembered, but every request reads the account, and the CA that vouches for it. The CA must
belong to the account's owner, because an SVM's administrators install CAs for their own SVM only.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import structlog
from cachetools import LRUCache

from keystead.core.client_login import ClientProof, NotProvenError, account_named, prove, trusted_cas
from keystead.core.errors import AUTHENTICATION_FAILED, OntapError
from keystead.core.model import Certificate, CertificateType
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.accounts.logins import is_plausible
from keystead.service.context import Caller
from keystead.service.ports.cluster import AccountRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, ListRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from keystead.core.model import Account, Svm
    from keystead.service.audit.log import AuditLog
    from keystead.service.offline import OfflineReads
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

ENTRIES = 1024
"""Most chains with a remembered proof. The oldest are dropped first."""

log = structlog.get_logger(__name__)


class Rows(CertificateRows, ListRows, AccountRows, ObservationRows, Protocol):
    """The rows that this module reads and writes."""


def shown_chain(scope: Mapping[str, Any]) -> Sequence[str]:
    """Return the certificates that the client of a request sent in TLS, as PEM, the leaf first.

    ``scope`` is that of ASGI, whose extension ``tls`` has them. The result is empty if the client sent none.
    """
    chain: Sequence[str] = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    return chain


class CertificateLogins:
    """Authentication by certificate, and the CAs that TLS must trust. One per process.

    ``entries`` is how many chains are remembered.
    """

    def __init__(
        self, store: Store[Rows], clock: Clock, audit: AuditLog, offline: OfflineReads, *, entries: int = ENTRIES
    ) -> None:
        self._store = store
        self._offline = offline
        self._clock = clock
        self._audit = audit
        self._proven: LRUCache[bytes, _Proven] = LRUCache(entries)
        self._authorities: tuple[str, ...] = ()
        self._marker: Hashable = None

    async def authenticate(self, chain: Sequence[str], location: str) -> Caller:
        """Return the caller at ``location``. ``chain`` is PEM, the leaf first. Raises OntapError (401), StoreError."""
        digest = hashlib.sha256("".join(chain).encode()).digest()
        known = self._proven.get(digest)
        if known is not None:
            withdrawn = (Withdrawn(Thing.ACCOUNT, known.account), Withdrawn(Thing.CERTIFICATE, known.proof.authority))
            account, authority = await self._offline.read_few(lambda tx: _of_proof(tx, known), *withdrawn)
            if account is not None and self._vouches(authority, account) and known.proof.holds(self._clock.now()):
                return Caller.of(account, location)
            self._proven.pop(digest, None)
        return await self._prove(digest, chain, location)

    def authority(self, chain: Sequence[str]) -> str:
        """Return the uuid of the CA that vouched for a chain just authenticated, empty if it is not remembered."""
        known = self._proven.get(hashlib.sha256("".join(chain).encode()).digest())
        return known.proof.authority if known else ""

    async def authorities(self) -> tuple[str, ...]:
        """Return the CAs (PEM) that vouch for accounts, the same object until they change. Raises StoreError."""
        marker = await self._store.read_few(lambda tx: tx.change_marker())
        if marker != self._marker:
            found = await self._store.read(lambda tx: tx.login_authorities())
            pems = {
                of_cluster: [item.public_certificate for item in found if (item.svm is None) is of_cluster]
                for of_cluster in (True, False)
            }
            authorities = trusted_cas(pems[True], pems[False])
            self._marker = marker
            if authorities != self._authorities:
                self._authorities = authorities
        return self._authorities

    async def _prove(self, digest: bytes, chain: Sequence[str], location: str) -> Caller:
        name, account = "", None
        try:
            name = account_named(chain[0])
            account, authorities = await self._store.read(lambda tx: _of_name(tx, name))
            if account is None:
                raise NotProvenError("no account of this name logs in by certificate")
            proof = await asyncio.to_thread(prove, chain, authorities, self._clock.now())
        except NotProvenError as error:
            log.info("client certificate refused", account=name, location=location, reason=str(error))
            self._audit.login_failed(name, location, account)
            raise OntapError(AUTHENTICATION_FAILED) from None
        self._proven[digest] = _Proven(account.name, proof)
        return Caller.of(account, location)

    def _vouches(self, authority: Certificate | None, account: Account) -> bool:
        """Return True if the CA is still installed for the account's owner, and the account logs in by certificate."""
        return (
            authority is not None
            and authority.type is CertificateType.CLIENT_CA
            and _uuid(authority.svm) == _uuid(account.svm)
            and may_log_in(account)
        )


class _Proven(NamedTuple):
    """The proof of a chain, for the account that its leaf names."""

    account: str
    proof: ClientProof


def may_log_in(account: Account) -> bool:
    """Return True if the account can log in by certificate now."""
    return account.certificate and not account.locked


def _uuid(svm: Svm | None) -> str | None:
    return svm.uuid if svm else None


def _of_proof(tx: Rows, proven: _Proven) -> tuple[Account | None, Certificate | None]:
    return tx.account(proven.account), tx.certificate(proven.proof.authority)


def _of_name(tx: Rows, name: str) -> tuple[Account | None, dict[str, str]]:
    """Return the account of this name, if it logs in by certificate, and the CAs of its owner by uuid."""
    account = tx.account(name) if is_plausible(name) else None
    if account is None or not may_log_in(account):
        return None, {}
    of_owner = Page().within(type=CertificateType.CLIENT_CA.value, svm_uuid=_uuid(account.svm))
    return account, {found.uuid: found.public_certificate for found in tx.page(Certificate, of_owner)}
