"""Use cases of the console's sessions: begin one with a password or a certificate, find it, confirm it, end it.

Logins share the delays and counts of :class:`Logins`. A session is stored, so it is valid on every node.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import CertificateType, Role
from keystead.core.sessions import IDLE, LIFETIME, Session, digest_of, is_to_be_noted, is_valid
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.context import Call, Caller
from keystead.service.ports.cluster import AccountRows, AuditRows, SessionRows
from keystead.service.ports.configuration import CertificateRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import Account
    from keystead.core.secret import Secret
    from keystead.service.accounts.certificate_logins import CertificateLogins
    from keystead.service.accounts.logins import Logins
    from keystead.service.audit.log import AuditLog
    from keystead.service.offline import OfflineReads
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

LOGIN = "/login"
LOGOUT = "/logout"
"""The paths of audit records about sessions."""


class Rows(AccountRows, CertificateRows, SessionRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class Sessions:
    """The sessions of the console."""

    def __init__(
        self,
        store: Store[Rows],
        logins: Logins,
        certificate_logins: CertificateLogins,
        audit: AuditLog,
        clock: Clock,
        offline: OfflineReads,
    ) -> None:
        self._store = store
        self._offline = offline
        self._logins = logins
        self._certificate_logins = certificate_logins
        self._audit = audit
        self._clock = clock

    # --- begin and end ---

    async def begin(self, name: str, password: Secret, location: str) -> str:
        """Log in with a password and return the token of the new session. Raises OntapError (401, 429), StoreError."""
        caller = await self._logins.authenticate(name, password, location)
        return await self._begin(caller, confirmed=True)

    async def begin_by_certificate(self, chain: Sequence[str], location: str) -> str:
        """Log in with a client certificate and return the token of the new session. ``chain`` is PEM, the leaf first.

        Raises OntapError (401), StoreError.
        """
        caller = await self._certificate_logins.authenticate(chain, location)
        return await self._begin(caller, authority=self._certificate_logins.authority(chain))

    async def _begin(self, caller: Caller, *, authority: str = "", confirmed: bool = False) -> str:
        """Store a session and return its token. Sessions that are over are deleted meanwhile."""
        token = secrets.token_urlsafe(32)
        now = self._clock.now()

        def store(tx: Rows) -> None:
            account = tx.account(caller.account)
            if account is None:
                raise OntapError(errors.AUTHENTICATION_FAILED)
            tx.delete_old_sessions(now - LIFETIME, now - IDLE)
            at = now if confirmed else None
            began = Session(digest_of(token), account.name, account.version, authority, caller.location, now, now, at)
            tx.put_session(began)
            self._audit.succeed(tx, Call(caller, "POST", LOGIN), "began a session of the console", svm=caller.svm)

        await self._store.write(store)
        return token

    async def end(self, call: Call, digest: str) -> None:
        """End a session: one's own, or any if the call is of an administrator of the cluster. Raises 4 (404)."""

        def end(tx: Rows) -> None:
            session = tx.session(digest)
            if session is None or session not in _listed(tx, call):
                raise OntapError(errors.ENTRY_NOT_FOUND, target="session")
            tx.delete_session(digest)
            self._audit.succeed(tx, call, f"ended a session of {session.account}", svm=call.caller.svm)

        await self._store.write(end)

    # --- use ---

    async def find(self, token: str, location: str, *, polls: bool = False) -> tuple[Caller, Session]:
        """Return who holds a session, and the session. Raises 6691623 (401) if it is over, StoreError.

        The use is stored once a minute, unless a page only ``polls``.
        """
        digest, now = digest_of(token), self._clock.now()
        session, account = await self._store.read_few(lambda tx: _of_digest(tx, digest))
        if session is not None:
            named = Withdrawn(Thing.ACCOUNT, session.account), Withdrawn(Thing.CERTIFICATE, session.authority)
            if self._offline.is_withdrawn(*named):
                session, account = await self._offline.read_few(lambda tx: _of_digest(tx, digest), *named)
        if session is None or account is None or not is_valid(session, account, now):
            raise OntapError(errors.AUTHENTICATION_FAILED)
        if not polls and is_to_be_noted(session, now):
            session = replace(session, used=now)
            await self._change(session)
        return Caller.of(account, location), session

    async def confirm(self, session: Session, password: Secret, location: str) -> None:
        """Note that the password of a session's account was shown again. Raises OntapError (401, 429), StoreError."""
        await self._logins.authenticate(session.account, password, location)
        await self._change(replace(session, confirmed=self._clock.now()))

    async def list(self, call: Call) -> tuple[Session, ...]:
        """Return the sessions that the caller may end, the newest first: its own, or all for the cluster's admin."""
        now = self._clock.now()

        def read(tx: Rows) -> tuple[Session, ...]:
            return tuple(each for each in _listed(tx, call) if is_valid(each, tx.account(each.account), now))

        return await self._store.read(read)

    async def _change(self, session: Session) -> None:
        """Store a session again, unless it was ended meanwhile."""

        def store(tx: Rows) -> None:
            if tx.session(session.digest) is not None:
                tx.put_session(session)

        await self._store.write(store)


def _of_digest(tx: Rows, digest: str) -> tuple[Session | None, Account | None]:
    """Return a session with its account; no session if the CA that vouched for its login is gone."""
    session = tx.session(digest)
    if session is None:
        return None, None
    if session.authority:
        authority = tx.certificate(session.authority)
        if authority is None or authority.type is not CertificateType.CLIENT_CA:
            return None, None
    return session, tx.account(session.account)


def _listed(tx: Rows, call: Call) -> tuple[Session, ...]:
    """Return the sessions that the caller may see and end."""
    return tx.sessions(None if call.caller.role is Role.ADMIN else call.caller.account)
