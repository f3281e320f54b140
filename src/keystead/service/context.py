"""The context of a call: caller, address and input. Every use case gets it, and its audit record is made from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from keystead.core.model import Account, CustomRole, Role, Svm
    from keystead.service.ports.page import Page


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated account and the address it calls from. ``svm`` is None for a cluster account.

    ``has_read_keys`` may be False although the account has just read its first key.
    """

    account: str
    role: Role | CustomRole
    location: str
    svm: Svm | None = None
    has_read_keys: bool = False

    @classmethod
    def of(cls, account: Account, location: str) -> Caller:
        """Return the caller that an account is, at an address."""
        return cls(account.name, account.role, location, account.svm, account.has_read_keys)


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. ``input`` is the request body as text with every secret masked, or empty.

    ``scope`` is the SVM to which the call is confined: the account's own SVM, or the SVM to which a cluster account
    tunnels. None means the whole cluster. An object outside the scope is answered exactly like an object that does not
    exist. ``warnings`` are sentences for the answer: what was done and soon needs somebody.
    """

    caller: Caller
    method: str
    path: str
    input: str = ""
    scope: Svm | None = None
    warnings: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def within_svm(self) -> str | None:
        """The uuid of the scope's SVM, None for the whole cluster. With it, reads find nothing outside the scope."""
        return self.scope.uuid if self.scope else None

    def sees(self, svm: Svm | None) -> bool:
        """Return True if an object of this SVM lies within the call's scope.

        None stands for the cluster's own objects.
        """
        return self.scope is None or (svm is not None and svm.uuid == self.scope.uuid)

    def check_sees(self, svm: Svm | None) -> None:
        """Raise 4 (404) for an object of this SVM that lies outside the scope."""
        if not self.sees(svm):
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")

    def within(self, page: Page, column: str = "svm_uuid") -> Page:
        """Return the page, limited to the rows within the scope. ``column`` names the column with the SVM's uuid."""
        return page if self.scope is None else page.within(**{column: self.scope.uuid})
