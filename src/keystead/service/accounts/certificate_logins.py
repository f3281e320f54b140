"""Logging in by client certificate: who calls, proved by the chain that TLS was shown, anew with each request.

What a chain was found to prove is remembered, but not that it still holds: every request reads the account and the CA
that vouches for it. The CA must be of the account's owner: an SVM's administrators install CAs for their SVM alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import structlog

from keystead.core.client_login import ClientProof, NotProvenError, account_named, believed, prove
from keystead.core.errors import AUTHENTICATION_FAILED, OntapError
from keystead.core.model import Certificate, CertificateType
from keystead.service.accounts.logins import is_plausible
from keystead.service.context import Caller
from keystead.service.ports.store import Page

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from keystead.core.model import Account, Svm
    from keystead.service.audit.log import AuditLog
    from keystead.service.ports.store import Clock, Store, Transaction

ENTRIES = 1024
"""Chains whose proof is remembered; the oldest go first."""

log = structlog.get_logger(__name__)


class CertificateLogins:
    """Authenticates by certificate, and says which CAs TLS is to believe. One per process."""

    def __init__(self, store: Store, clock: Clock, audit: AuditLog) -> None:
        self._store = store
        self._clock = clock
        self._audit = audit
        self._proven: OrderedDict[bytes, _Proven] = OrderedDict()
        self._authorities: tuple[str, ...] = ()
        self._marker: Hashable = None

    async def authenticate(self, chain: Sequence[str], location: str) -> Caller:
        """Return who calls from ``location``. ``chain`` is PEM, the leaf first. Raises OntapError (401), StoreError."""
        digest = hashlib.sha256("".join(chain).encode()).digest()
        known = self._proven.get(digest)
        if known is not None:
            account, authority = await self._store.glance(lambda tx: _of_proof(tx, known))
            if account is not None and self._vouches(authority, account) and known.proof.holds(self._clock.now()):
                return Caller(account.name, account.role, location, account.svm)
            self._proven.pop(digest, None)
        return await self._prove(digest, chain, location)

    async def authorities(self) -> tuple[str, ...]:
        """Return the CAs (PEM) that vouch for accounts, the same object until something changed. Raises StoreError."""
        marker = await self._store.glance(lambda tx: tx.change_marker())
        if marker != self._marker:
            found = await self._store.read(lambda tx: tx.login_authorities())
            pems = {
                of_cluster: [item.public_certificate for item in found if (item.svm is None) is of_cluster]
                for of_cluster in (True, False)
            }
            authorities = believed(pems[True], pems[False])
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
        if len(self._proven) > ENTRIES:
            self._proven.popitem(last=False)
        return Caller(account.name, account.role, location, account.svm)

    def _vouches(self, authority: Certificate | None, account: Account) -> bool:
        """Whether a CA is still installed, for the owner of an account that still logs in by certificate."""
        return (
            authority is not None
            and authority.type is CertificateType.CLIENT_CA
            and _uuid(authority.svm) == _uuid(account.svm)
            and may_log_in(account)
        )


class _Proven(NamedTuple):
    """What a chain was found to prove, for the account that its leaf names."""

    account: str
    proof: ClientProof


def may_log_in(account: Account) -> bool:
    """Whether an account logs in by certificate at present."""
    return account.certificate and not account.locked


def _uuid(svm: Svm | None) -> str | None:
    return svm.uuid if svm else None


def _of_proof(tx: Transaction, proven: _Proven) -> tuple[Account | None, Certificate | None]:
    return tx.account(proven.account), tx.certificate(proven.proof.authority)


def _of_name(tx: Transaction, name: str) -> tuple[Account | None, dict[str, str]]:
    """The account of this name, if it logs in by certificate, and the CAs of its owner by uuid."""
    account = tx.account(name) if is_plausible(name) else None
    if account is None or not may_log_in(account):
        return None, {}
    of_owner = Page().within(type=CertificateType.CLIENT_CA.value, svm_uuid=_uuid(account.svm))
    return account, {found.uuid: found.public_certificate for found in tx.page(Certificate, of_owner)}
