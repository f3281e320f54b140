"""Who asks over KMIP: the account that the client certificate names, and the application that it uses.

The certificate is checked again with each message, as REST's certificate logins are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.core.errors import OntapError
from keystead.core.model import Role
from keystead.service.context import Call
from keystead.service.ports.applications import ApplicationRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.applications.model import Application
    from keystead.core.secret import Secret
    from keystead.service.accounts.certificate_logins import CertificateLogins
    from keystead.service.accounts.logins import Logins
    from keystead.service.ports.store import Store

METHOD = "KMIP"
"""The method of calls over KMIP, as audit records show it."""


class Rows(ApplicationRows, Protocol):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class ApplicationCaller:
    """A client that may use the objects of an application. ``call`` is confined to the application's SVM."""

    call: Call
    application: Application

    def asking(self, operation: str) -> ApplicationCaller:
        """Return the caller of an operation, which audit records name."""
        call = self.call
        return ApplicationCaller(Call(call.caller, METHOD, operation, scope=call.scope), self.application)


class ApplicationCallers:
    """The authentication of KMIP clients. One per process."""

    def __init__(self, store: Store[Rows], certificates: CertificateLogins, passwords: Logins) -> None:
        self._store = store
        self._certificates = certificates
        self._passwords = passwords

    async def identify(
        self, chain: Sequence[str], location: str, login: tuple[str, Secret] | None = None
    ) -> ApplicationCaller:
        """Return the caller whose certificate chain (PEM, the leaf first) was shown in TLS.

        ``login`` is the Username and Password of the message. If there is one, it must be right, too, and name the same
        account. Raises ObjectRefusal, StoreError.
        """
        if not chain:
            raise _refused("The connection has no client certificate.")
        try:
            caller = await self._certificates.authenticate(chain, location)
            if login is not None:
                named = await self._passwords.authenticate(*login, location)
                if named.account != caller.account:
                    raise _refused("The user name is not that of the certificate's account.")
        except OntapError:
            raise _refused("The client certificate, or the user name and password, are those of no account.") from None
        application = await self._store.read_few(lambda tx: tx.application_of(caller.account))
        if caller.role is not Role.KMIP_CLIENT or application is None:
            raise _refused(f"The account {caller.account} uses no application over KMIP.")
        return ApplicationCaller(Call(caller, METHOD, "", scope=application.svm), application)


def _refused(message: str) -> ObjectRefusal:
    return ObjectRefusal(RefusalReason.AUTHENTICATION_NOT_SUCCESSFUL, message)
