"""Who calls, from where, with what: handed to every use case, written into the audit record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from keystead.core.model import Role, Svm
    from keystead.service.ports.store import Page


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated account and the address it calls from. ``svm`` is None for a cluster account."""

    account: str
    role: Role
    location: str
    svm: Svm | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. ``input`` is the request body as text with every secret masked, or empty.

    ``scope`` is the SVM that the call is confined to: an SVM account's own, or the one that a cluster account tunnels
    to; None is the whole cluster. What lies outside of it answers exactly as what does not exist.
    """

    caller: Caller
    method: str
    path: str
    input: str = ""
    scope: Svm | None = None

    @property
    def within_svm(self) -> str | None:
        """The uuid of the scope, for reads that must not even find what lies outside."""
        return self.scope.uuid if self.scope else None

    def sees(self, svm: Svm | None) -> bool:
        """Whether a thing of this SVM (None: the cluster's own) lies within the call's scope."""
        return self.scope is None or (svm is not None and svm.uuid == self.scope.uuid)

    def check_sees(self, svm: Svm | None) -> None:
        """Raise 4 (404) for a thing outside of the scope."""
        if not self.sees(svm):
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")

    def within(self, page: Page, column: str = "svm_uuid") -> Page:
        """The part of a list that lies within the scope."""
        return page if self.scope is None else page.within(**{column: self.scope.uuid})
