"""Rows of SVMs, certificates, key managers and key servers, as a transaction reads and writes them."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import bindparam, delete, exists, func, insert, or_, select, update

from keystead.store import tables
from keystead.store.kinds import CERTIFICATE, KEY_MANAGER, KEY_SERVER, KINDS, SVM
from keystead.store.statements import Statements, columns_of, locking, owner_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.model import Certificate, KeyManager, KeyServer, Svm
    from keystead.service.ports import Page
    from keystead.store.kinds import Kind

T = TypeVar("T")

_SVM = SVM.where(uuid="u")
_SVM_NAMED = SVM.where(name="n")
_CERTIFICATE = CERTIFICATE.where(uuid="u")
_KEY_MANAGER = KEY_MANAGER.where(uuid="u")
_KEY_MANAGER_OF = KEY_MANAGER.where(owner="o").where(tables.key_managers.c.enabled == 1)
_KEY_SERVERS = KEY_SERVER.where(key_manager="k")
_LOCK_SVM = locking(tables.svms)
_RENAME_SVM = update(tables.svms).where(tables.svms.c.uuid == bindparam("u")).values(name=bindparam("n"))
_DELETE_SVM = delete(tables.svms).where(tables.svms.c.uuid == bindparam("u"))
_SVM_CONTENTS = select(
    *(
        select(func.count()).where(table.c.svm_uuid == bindparam("u")).scalar_subquery().label(table.name)
        for table in (tables.accounts, tables.certificates, tables.key_managers)
    )
)
_LOCK_CERTIFICATE = locking(tables.certificates)
_LOCK_KEY_MANAGER = locking(tables.key_managers)
_DELETE_CERTIFICATE = delete(tables.certificates).where(tables.certificates.c.uuid == bindparam("u"))
_CERTIFICATE_USES = select(
    or_(
        exists().where(tables.key_managers.c.client_certificate == bindparam("u")),
        exists().where(tables.key_manager_server_cas.c.certificate == bindparam("u")),
    ).label("used")
)


class ConfigurationRows(Statements):
    """What the key managers are made of."""

    def svm(self, uuid: str, *, lock: bool = False) -> Svm | None:
        if lock:
            self.lock(_LOCK_SVM, uuid)
        return self.value_of(SVM, _SVM, {"u": uuid})

    def svm_named(self, name: str) -> Svm | None:
        return self.value_of(SVM, _SVM_NAMED, {"n": name})

    def add_svm(self, svm: Svm) -> None:
        self.change(insert(tables.svms), asdict(svm))

    def rename_svm(self, uuid: str, name: str) -> None:
        self.change(_RENAME_SVM, {"u": uuid, "n": name})

    def delete_svm(self, uuid: str) -> None:
        self.change(_DELETE_SVM, {"u": uuid})

    def svm_contents(self, uuid: str) -> Mapping[str, int]:
        return self.all(_SVM_CONTENTS, {"u": uuid}, lambda row: dict(row._mapping))[0]

    def certificate(self, uuid: str, *, lock: bool = False) -> Certificate | None:
        if lock:
            self.lock(_LOCK_CERTIFICATE, uuid)
        return self.value_of(CERTIFICATE, _CERTIFICATE, {"u": uuid})

    def add_certificate(self, certificate: Certificate) -> None:
        row = columns_of(tables.certificates, certificate) | owner_of(certificate.svm)
        self.change(insert(tables.certificates), row | {"type": certificate.type.value})
        self.add_children(tables.certificate_intermediates, [(certificate.uuid, certificate.intermediates)])

    def delete_certificate(self, uuid: str) -> None:
        self.change(_DELETE_CERTIFICATE, {"u": uuid})

    def certificate_in_use(self, uuid: str) -> bool:
        return bool(self.one(_CERTIFICATE_USES, {"u": uuid}, lambda row: row.used))

    def key_manager(self, uuid: str, *, lock: bool = False) -> KeyManager | None:
        if lock:
            self.lock(_LOCK_KEY_MANAGER, uuid)
        return self.value_of(KEY_MANAGER, _KEY_MANAGER, {"u": uuid})

    def key_manager_of(self, svm_uuid: str | None) -> KeyManager | None:
        return self.value_of(KEY_MANAGER, _KEY_MANAGER_OF, {"o": svm_uuid or tables.CLUSTER})

    def add_key_manager(self, key_manager: KeyManager) -> None:
        row = columns_of(tables.key_managers, key_manager) | owner_of(key_manager.svm)
        self.change(insert(tables.key_managers), row | {"enabled": int(key_manager.enabled)})
        self.add_children(tables.key_manager_server_cas, [(key_manager.uuid, key_manager.server_ca_certificates)])

    def key_servers(self, key_manager: str) -> tuple[KeyServer, ...]:
        return self.values_of(KEY_SERVER, _KEY_SERVERS, {"k": key_manager})

    def add_key_servers(self, servers: Sequence[KeyServer]) -> None:
        rows = [
            columns_of(tables.key_servers, server)
            | {"host": server.address.host, "port": server.address.port, "address_key": server.address.key}
            for server in servers
        ]
        if rows:
            self.change(insert(tables.key_servers), rows)
        self.add_children(
            tables.secondary_key_servers, [(server.uuid, server.secondary_key_servers) for server in servers]
        )

    def page(self, kind: type[T], page: Page) -> tuple[T, ...]:
        """Return a page of any kind that has one; see :class:`Page`."""
        described: Kind[T] = KINDS[kind]
        statement = described.page(page)
        return () if statement is None else self.values_of(described, statement, {})
