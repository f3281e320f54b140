"""Rows of SVMs, certificates, key managers and key servers, as a transaction reads and writes them."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import bindparam, delete, func, insert, or_, select, union, update

from keystead.core.model import CertificateType
from keystead.store import tables
from keystead.store.conditions import fixed
from keystead.store.conditions import within as _within
from keystead.store.kinds import CERTIFICATE, KEY_MANAGER, KEY_SERVER, KINDS, SVM
from keystead.store.paging import statement
from keystead.store.statements import Parameters, Statements, columns_of, locking, owner_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.model import Certificate, KeyManager, KeyServer, Svm
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.page import Page
    from keystead.store.kinds import Kind

T = TypeVar("T")

_SVM = SVM.within(uuid="u")
_SVM_NAMED = SVM.within(name="n")
_CERTIFICATE = CERTIFICATE.within(uuid="u")
_CERTIFICATE_NAMED = CERTIFICATE.where(owner="o", name="n")
_CERTIFICATE_NAMES = select(tables.certificates.c.uuid, tables.certificates.c.name).where(
    tables.certificates.c.uuid.in_(bindparam("us", expanding=True))
)
_AMONG_CERTIFICATES = tables.certificates.c.uuid.in_(bindparam("uuids", expanding=True))
_CERTIFICATES = CERTIFICATE.everything.where(_AMONG_CERTIFICATES)
_LOGIN_AUTHORITIES = CERTIFICATE.everything.where(
    tables.certificates.c.type == CertificateType.CLIENT_CA.value,
    or_(
        tables.certificates.c.svm_uuid.is_(None),
        tables.certificates.c.svm_uuid.in_(
            select(tables.accounts.c.svm_uuid).where(
                tables.accounts.c.certificate == 1, tables.accounts.c.svm_uuid.is_not(None)
            )
        ),
    ),
)
_KEY_MANAGER = KEY_MANAGER.within(uuid="u")
_KEY_MANAGER_OF = (
    KEY_MANAGER.where(owner="o")
    .order_by(None)
    .order_by(
        tables.key_managers.c.enabled.desc(), tables.key_managers.c.uuid, tables.key_manager_server_cas.c.position
    )
)
_ENABLED_KEY_MANAGERS = KEY_MANAGER.everything.where(
    tables.key_managers.c.enabled == fixed(1), tables.key_managers.c.owner.in_(bindparam("owners", expanding=True))
)
_CHANGE_KEY_MANAGER = update(tables.key_managers).where(tables.key_managers.c.uuid == bindparam("u"))
_DELETE_SERVER_CAS = delete(tables.key_manager_server_cas).where(
    tables.key_manager_server_cas.c.key_manager == bindparam("u")
)
_DELETE_KEY_MANAGER = delete(tables.key_managers).where(tables.key_managers.c.uuid == bindparam("u"))
_KEY_SERVERS = KEY_SERVER.where(key_manager="k")
_KEY_SERVER_AT = KEY_SERVER.where(key_manager="k", address_key="a")
_KEY_SERVERS_OF = (
    KEY_SERVER.everything.where(tables.key_servers.c.key_manager.in_(bindparam("ks", expanding=True)))
    .order_by(None)
    .order_by(tables.key_servers.c.key_manager, tables.key_servers.c.position, tables.secondary_key_servers.c.position)
)
_LOCK_SVM = locking(tables.svms).where(_within(tables.svms))
_RENAME_SVM = update(tables.svms).where(tables.svms.c.uuid == bindparam("u")).values(name=bindparam("n"))
_DELETE_SVM = delete(tables.svms).where(tables.svms.c.uuid == bindparam("u"))
_SVM_ATTRIBUTES = select(tables.svm_attributes).where(
    tables.svm_attributes.c.svm_uuid.in_(bindparam("us", expanding=True))
)
_DELETE_SVM_ATTRIBUTES = delete(tables.svm_attributes).where(tables.svm_attributes.c.svm_uuid == bindparam("u"))
_SVM_CONTENTS = select(
    *(
        select(func.count()).where(table.c.svm_uuid == bindparam("u")).scalar_subquery().label(table.name)
        for table in (tables.accounts, tables.certificates, tables.key_managers)
    )
)
_LOCK_CERTIFICATE = locking(tables.certificates).where(_within(tables.certificates))
_LOCK_CERTIFICATES = (
    select(tables.certificates.c.uuid).where(_AMONG_CERTIFICATES).order_by(tables.certificates.c.uuid).with_for_update()
)
_LOCK_KEY_MANAGER = locking(tables.key_managers).where(_within(tables.key_managers))
_DELETE_CERTIFICATE = delete(tables.certificates).where(tables.certificates.c.uuid == bindparam("u"))
_ADD_KEY_SERVERS = insert(tables.key_servers)
_CHANGE_KEY_SERVER = update(tables.key_servers).where(tables.key_servers.c.uuid == bindparam("u"))
_DELETE_KEY_SERVER = delete(tables.key_servers).where(tables.key_servers.c.uuid == bindparam("u"))
_DELETE_SECONDARIES = delete(tables.secondary_key_servers).where(
    tables.secondary_key_servers.c.key_server == bindparam("u")
)
_RENAME_CERTIFICATE = (
    update(tables.certificates).where(tables.certificates.c.uuid == bindparam("u")).values(name=bindparam("n"))
)
_CERTIFICATE_USERS = union(
    select(tables.key_managers.c.uuid).where(tables.key_managers.c.client_certificate == bindparam("u")),
    select(tables.key_manager_server_cas.c.key_manager).where(
        tables.key_manager_server_cas.c.certificate == bindparam("u")
    ),
)


class ConfigurationRows(Statements):
    """The rows of SVMs, certificates, key managers and key servers."""

    def svm(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Svm | None:
        if lock:
            self.lock(_LOCK_SVM, uuid, w=within)
        return self.value_of(SVM, _SVM, {"u": uuid, "w": within})

    def svm_named(self, name: str, *, within: str | None = None) -> Svm | None:
        return self.value_of(SVM, _SVM_NAMED, {"n": name, "w": within})

    def add_svm(self, svm: Svm) -> None:
        self.change(insert(tables.svms), asdict(svm))

    def rename_svm(self, uuid: str, name: str) -> None:
        self.reconfigure(_RENAME_SVM, {"u": uuid, "n": name})

    def svm_attributes(self, uuids: Iterable[str]) -> Mapping[str, str]:
        return dict(self.all(_SVM_ATTRIBUTES, {"us": sorted(uuids)}, lambda row: (row.svm_uuid, row.stated)))

    def put_svm_attributes(self, uuid: str, stated: str) -> None:
        self.change(_DELETE_SVM_ATTRIBUTES, {"u": uuid})
        self.change(insert(tables.svm_attributes), {"svm_uuid": uuid, "stated": stated})

    def delete_svm(self, uuid: str) -> None:
        self.change(_DELETE_SVM, {"u": uuid})

    def svm_contents(self, uuid: str) -> Mapping[str, int]:
        return self.all(_SVM_CONTENTS, {"u": uuid}, lambda row: dict(row._mapping))[0]

    def certificate(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Certificate | None:
        if lock:
            self.lock(_LOCK_CERTIFICATE, uuid, w=within)
        return self.value_of(CERTIFICATE, _CERTIFICATE, {"u": uuid, "w": within})

    def certificates(self, uuids: Collection[str], *, lock: bool = False) -> tuple[Certificate, ...]:
        bound = {"uuids": list(uuids)}
        if lock and self.row_locks:
            self.all(_LOCK_CERTIFICATES, bound, lambda row: row)
        return self.values_of(CERTIFICATE, _CERTIFICATES, bound)

    def certificate_named(self, svm_uuid: str | None, name: str) -> Certificate | None:
        return self.value_of(CERTIFICATE, _CERTIFICATE_NAMED, {"o": svm_uuid or tables.CLUSTER, "n": name})

    def certificate_names(self, uuids: Iterable[str]) -> Mapping[str, str]:
        return dict(self.all(_CERTIFICATE_NAMES, {"us": sorted(set(uuids))}, lambda row: (row.uuid, row.name)))

    def login_authorities(self) -> tuple[Certificate, ...]:
        return self.values_of(CERTIFICATE, _LOGIN_AUTHORITIES, {})

    def add_certificate(self, certificate: Certificate) -> None:
        row = columns_of(tables.certificates, certificate) | owner_of(certificate.svm)
        self.reconfigure(insert(tables.certificates), row | {"type": certificate.type.value})
        self.add_children(tables.certificate_intermediates, [(certificate.uuid, certificate.intermediates)])

    def rename_certificate(self, uuid: str, name: str) -> None:
        self.change(_RENAME_CERTIFICATE, {"u": uuid, "n": name})

    def delete_certificate(self, uuid: str) -> None:
        self.reconfigure(_DELETE_CERTIFICATE, {"u": uuid})

    def certificate_users(self, uuid: str) -> tuple[str, ...]:
        return tuple(sorted(self.all(_CERTIFICATE_USERS, {"u": uuid}, lambda row: row.uuid)))

    def key_manager(self, uuid: str, *, within: str | None = None, lock: bool = False) -> KeyManager | None:
        if lock:
            self.lock(_LOCK_KEY_MANAGER, uuid, w=within)
        return self.value_of(KEY_MANAGER, _KEY_MANAGER, {"u": uuid, "w": within})

    def key_manager_of(self, svm_uuid: str | None) -> KeyManager | None:
        return self.value_of(KEY_MANAGER, _KEY_MANAGER_OF, {"o": svm_uuid or tables.CLUSTER})

    def enabled_key_managers(self, svm_uuids: Iterable[str]) -> tuple[KeyManager, ...]:
        return self.values_of(KEY_MANAGER, _ENABLED_KEY_MANAGERS, {"owners": [tables.CLUSTER, *svm_uuids]})

    def add_key_manager(self, key_manager: KeyManager) -> None:
        row = columns_of(tables.key_managers, key_manager) | owner_of(key_manager.svm)
        self.reconfigure(insert(tables.key_managers), row | {"enabled": int(key_manager.enabled)})
        self.add_children(tables.key_manager_server_cas, [(key_manager.uuid, key_manager.server_ca_certificates)])

    def change_key_manager(self, key_manager: KeyManager) -> None:
        row = columns_of(tables.key_managers, key_manager) | {"enabled": int(key_manager.enabled)}
        self.reconfigure(_CHANGE_KEY_MANAGER, row | {"u": key_manager.uuid})
        self.change(_DELETE_SERVER_CAS, {"u": key_manager.uuid})
        self.add_children(tables.key_manager_server_cas, [(key_manager.uuid, key_manager.server_ca_certificates)])

    def delete_key_manager(self, uuid: str) -> None:
        self.reconfigure(_DELETE_KEY_MANAGER, {"u": uuid})

    def key_server(self, key_manager: str, address: ServerAddress) -> KeyServer | None:
        return self.value_of(KEY_SERVER, _KEY_SERVER_AT, {"k": key_manager, "a": address.key})

    def key_servers(self, key_manager: str) -> tuple[KeyServer, ...]:
        return self.values_of(KEY_SERVER, _KEY_SERVERS, {"k": key_manager})

    def key_servers_of(self, key_managers: Iterable[str]) -> tuple[KeyServer, ...]:
        return self.values_of(KEY_SERVER, _KEY_SERVERS_OF, {"ks": list(key_managers)})

    def add_key_servers(self, servers: Sequence[KeyServer]) -> None:
        rows = [_key_server_row(server) for server in servers]
        if rows:
            self.reconfigure(_ADD_KEY_SERVERS, rows)
        self.add_children(
            tables.secondary_key_servers, [(server.uuid, server.secondary_key_servers) for server in servers]
        )

    def change_key_server(self, server: KeyServer) -> None:
        bound = {"u": server.uuid}
        self.reconfigure(_CHANGE_KEY_SERVER, _key_server_row(server) | bound)
        self.change(_DELETE_SECONDARIES, bound)
        self.add_children(tables.secondary_key_servers, [(server.uuid, server.secondary_key_servers)])

    def delete_key_server(self, uuid: str) -> None:
        self.reconfigure(_DELETE_KEY_SERVER, {"u": uuid})

    def page(self, kind: type[T], page: Page) -> tuple[T, ...]:
        """Return a page of values of any kind that has pages; see :class:`Page`."""
        described: Kind[T] = KINDS[kind]
        return self.values_of(described, statement(described, page), {})


def _key_server_row(server: KeyServer) -> Parameters:
    address = {"host": server.address.host, "port": server.address.port, "address_key": server.address.key}
    return columns_of(tables.key_servers, server) | address
