"""Rows of applications, their accounts, and the objects that they keep over KMIP.

Part of :class:`keystead.service.ports.store.Transaction`: what holds for its methods holds here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.applications.model import Application, ApplicationObject


class ApplicationRows(Protocol):
    """Applications and their accounts."""

    def application_named(self, svm_uuid: str, name: str) -> Application | None: ...

    def application_of(self, account: str) -> Application | None:
        """Return the application that an account uses."""
        ...

    def applications(self, *, within: str | None = None) -> tuple[Application, ...]:
        """Return the applications of an SVM (uuid), or all, by name."""
        ...

    def application_accounts(self, application: str) -> tuple[str, ...]:
        """Return the names of an application's accounts, in order."""
        ...

    def add_application(self, application: Application) -> None: ...

    def let_into_application(self, account: str, application: str) -> None:
        """Let an account use an application. An account uses one at most."""
        ...

    def delete_application(self, uuid: str) -> None:
        """Delete an application that has no object. The rows of its accounts stay."""
        ...


class ApplicationObjectRows(Protocol):
    """Objects. Only those whose keys were committed are there for a client, destroyed ones included."""

    def application_object(self, application: str, identifier: str, *, lock: bool = False) -> ApplicationObject | None:
        """Return an object of the application. With ``lock``, its key is locked until the end."""
        ...

    def application_objects(self, application: str, *, name: str | None = None) -> tuple[ApplicationObject, ...]:
        """Return the objects of an application that are not destroyed, the oldest first; ``name``: with this Name."""
        ...

    def application_name_is_held(self, application: str, name: str) -> bool:
        """Return True if a pending or live object of the application has this Name."""
        ...

    def application_object_counts(self, *, within: str | None = None) -> Mapping[str, Mapping[str, int]]:
        """Count the live objects of the applications of an SVM (uuid), or of all, by application (uuid) and state."""
        ...

    def add_application_object(self, new: ApplicationObject) -> None: ...

    def change_application_object(self, changed: ApplicationObject) -> None:
        """Store other values of an object whose row is locked."""
        ...
