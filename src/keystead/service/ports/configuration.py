"""Rows of what administrators configure: SVMs, certificates, key managers and key servers.

Part of :class:`keystead.service.ports.store.Transaction`: what holds for its methods holds here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.model import (
        Certificate,
        KeyManager,
        KeyServer,
        Svm,
    )
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.page import Page


Listed = TypeVar("Listed")


class SvmRows(Protocol):
    """SVMs."""

    def svm(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Svm | None: ...
    def svm_named(self, name: str, *, within: str | None = None) -> Svm | None: ...
    def add_svm(self, svm: Svm) -> None: ...
    def rename_svm(self, uuid: str, name: str) -> None: ...

    def svm_attributes(self, uuids: Iterable[str]) -> Mapping[str, str]:
        """Return what was stated about the storage of these SVMs, as JSON objects, by uuid."""
        ...

    def put_svm_attributes(self, uuid: str, stated: str) -> None: ...

    def delete_svm(self, uuid: str) -> None:
        """Delete an SVM with its jobs and events; what :meth:`svm_contents` counts must be gone."""
        ...

    def svm_contents(self, uuid: str) -> Mapping[str, int]:
        """Count what an SVM owns: ``accounts``, ``certificates``, ``key_managers``."""
        ...


class CertificateRows(Protocol):
    """Certificates."""

    def certificate(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Certificate | None: ...

    def certificate_named(self, svm_uuid: str | None, name: str) -> Certificate | None:
        """Return the certificate with this name among an SVM's, or among the cluster's (None)."""
        ...

    def certificate_names(self, uuids: Iterable[str]) -> Mapping[str, str]:
        """Return the names of those of the certificates that are installed, by uuid."""
        ...

    def certificates(self, uuids: Collection[str], *, lock: bool = False) -> tuple[Certificate, ...]:
        """Return those that exist, by uuid; locks are taken in that order, too."""
        ...

    def login_authorities(self) -> tuple[Certificate, ...]:
        """Return the cluster's ``client_ca`` certificates, and those of SVMs with accounts that log in by one."""
        ...

    def add_certificate(self, certificate: Certificate) -> None: ...
    def rename_certificate(self, uuid: str, name: str) -> None: ...
    def delete_certificate(self, uuid: str) -> None: ...
    def certificate_users(self, uuid: str) -> tuple[str, ...]:
        """Return the key managers (uuids) that refer to a certificate."""
        ...


class KeyManagerRows(Protocol):
    """Key managers."""

    def key_manager(self, uuid: str, *, within: str | None = None, lock: bool = False) -> KeyManager | None: ...

    def key_manager_of(self, svm_uuid: str | None) -> KeyManager | None:
        """Return the key manager of an SVM, or of the cluster (None): the enabled one, else one that is not."""
        ...

    def key_managers(self, uuids: Sequence[str]) -> tuple[KeyManager, ...]:
        """Return those that exist, by uuid."""
        ...

    def enabled_key_managers(self, svm_uuids: Iterable[str]) -> tuple[KeyManager, ...]:
        """Return the enabled key managers of these SVMs, and the cluster's."""
        ...

    def lock_free_key_managers(self, uuids: Sequence[str]) -> tuple[KeyManager, ...]:
        """Lock those that nobody holds locked until the end of the transaction, and return them; wait for none."""
        ...

    def add_key_manager(self, key_manager: KeyManager) -> None: ...

    def change_key_manager(self, key_manager: KeyManager) -> None:
        """Replace the row with this uuid; whose it is stays."""
        ...

    def delete_key_manager(self, uuid: str) -> None:
        """Delete a key manager with its key servers."""
        ...


class KeyServerRows(Protocol):
    """Key servers."""

    def key_server(self, key_manager: str, address: ServerAddress) -> KeyServer | None: ...
    def key_servers(self, key_manager: str) -> tuple[KeyServer, ...]: ...

    def key_servers_of(self, key_managers: Iterable[str]) -> tuple[KeyServer, ...]:
        """Return the servers of several key managers, those of one together and in their order."""
        ...

    def add_key_servers(self, servers: Sequence[KeyServer]) -> None: ...

    def change_key_server(self, server: KeyServer) -> None:
        """Store other values of the server with this uuid, its secondaries replaced."""
        ...

    def delete_key_server(self, uuid: str) -> None:
        """Delete a key server and all that is stored about it."""
        ...


class ListRows(Protocol):
    """Lists of any kind, in pages."""

    def page(self, kind: type[Listed], page: Page) -> tuple[Listed, ...]:
        """Return rows of a kind, by default in its order: uuid, position for key servers, name for accounts."""
        ...
