"""The Transaction of both engines: model values in, model values out, over one open connection.

It begins, commits and repeats nothing (engine.py does), and knows no rule of ONTAP's. Statements are built once, at
import, so that SQLAlchemy compiles each of them once per engine.
"""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import and_, bindparam, delete, exists, insert, or_, select, union, update
from sqlalchemy.exc import SQLAlchemyError

from keystead.core.model import Account, AuditHead, AuditRecord, Cluster, DataKey, Role
from keystead.service.ports import StoreError
from keystead.store import tables
from keystead.store.failures import VALUE_ERRORS
from keystead.store.kinds import CERTIFICATE, KEY_MANAGER, KEY_SERVER, KINDS, NODE, SVM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Executable, Row, Select, Table

    from keystead.core.model import Certificate, KeyManager, KeyServer, Node, Svm
    from keystead.service.ports import Page
    from keystead.store.failures import Classify
    from keystead.store.kinds import Kind

T = TypeVar("T")
Parameters = dict[str, Any]


def _locking(table: Table) -> Select[Any]:
    return select(table.c.uuid).where(table.c.uuid == bindparam("u")).with_for_update()


def _storing(table: Table, key: str) -> tuple[str, Executable, Executable]:
    """An update by key and the insert for when it finds nothing: portable, unlike the engines' upserts."""
    return key, update(table).where(table.c[key] == bindparam("the_key")), insert(table)


_ALL_NODES = NODE.everything
_CLUSTER = select(tables.cluster)
_PUT_CLUSTER = _storing(tables.cluster, "id")
_PUT_NODE = _storing(tables.nodes, "uuid")
_SVM = SVM.where(uuid="u")
_SVM_NAMED = SVM.where(name="n")
_CERTIFICATE = CERTIFICATE.where(uuid="u")
_KEY_MANAGER = KEY_MANAGER.where(uuid="u")
_KEY_MANAGER_OF = KEY_MANAGER.where(owner="o").where(tables.key_managers.c.enabled == 1)
_KEY_SERVERS = KEY_SERVER.where(key_manager="k")
_LOCK_CERTIFICATE = _locking(tables.certificates)
_LOCK_KEY_MANAGER = _locking(tables.key_managers)
_DELETE_CERTIFICATE = delete(tables.certificates).where(tables.certificates.c.uuid == bindparam("u"))
_CERTIFICATE_USES = select(
    or_(
        exists().where(tables.key_managers.c.client_certificate == bindparam("u")),
        exists().where(tables.key_manager_server_cas.c.certificate == bindparam("u")),
    ).label("used")
)
_ACCOUNT = select(tables.accounts).where(tables.accounts.c.name == bindparam("n"))
_UPDATE_ACCOUNT = (
    update(tables.accounts)
    .where(tables.accounts.c.name == bindparam("n"))
    .values(role=bindparam("r"), password_hash=bindparam("p"), version=tables.accounts.c.version + 1)
)
_DATA_KEYS = select(tables.data_keys).order_by(tables.data_keys.c.id)
_AUDIT_HEAD = select(tables.audit_heads).where(tables.audit_heads.c.node == bindparam("n"))
_LOCKED_AUDIT_HEAD = _AUDIT_HEAD.with_for_update()
_PUT_AUDIT_HEAD = _storing(tables.audit_heads, "node")
_AUDIT_NODES = union(
    select(tables.nodes.c.uuid.label("node")), select(tables.audit_heads.c.node), select(tables.audit_records.c.node)
).order_by("node")
_AUDIT_RECORDS = (
    select(tables.audit_records)
    .where(and_(tables.audit_records.c.node == bindparam("n"), tables.audit_records.c.index > bindparam("after")))
    .order_by(tables.audit_records.c.index)
    .limit(bindparam("most"))
)


class SqlTransaction:
    """Implements :class:`keystead.service.ports.Transaction` over a connection."""

    def __init__(self, connection: Connection, classify: Classify, *, row_locks: bool) -> None:
        self._connection = connection
        self._classify = classify
        self._row_locks = row_locks

    def cluster(self) -> Cluster | None:
        return self._one(_CLUSTER, {}, lambda row: Cluster(row.uuid, row.name, bool(row.metrocluster)))

    def put_cluster(self, cluster: Cluster) -> None:
        self._store(_PUT_CLUSTER, asdict(cluster) | {"id": 1, "metrocluster": int(cluster.metrocluster)})

    def nodes(self) -> tuple[Node, ...]:
        return self._values(NODE, _ALL_NODES, {})

    def put_node(self, node: Node) -> None:
        self._store(_PUT_NODE, {"uuid": node.uuid, "name": node.name} | asdict(node.release))

    def svm(self, uuid: str) -> Svm | None:
        return self._value(SVM, _SVM, {"u": uuid})

    def svm_named(self, name: str) -> Svm | None:
        return self._value(SVM, _SVM_NAMED, {"n": name})

    def add_svm(self, svm: Svm) -> None:
        self._change(insert(tables.svms), asdict(svm))

    def certificate(self, uuid: str, *, lock: bool = False) -> Certificate | None:
        if lock:
            self._lock(_LOCK_CERTIFICATE, uuid)
        return self._value(CERTIFICATE, _CERTIFICATE, {"u": uuid})

    def add_certificate(self, certificate: Certificate) -> None:
        row = _columns(tables.certificates, certificate) | _owner(certificate.svm)
        self._change(insert(tables.certificates), row | {"type": certificate.type.value})
        self._add_children(tables.certificate_intermediates, [(certificate.uuid, certificate.intermediates)])

    def delete_certificate(self, uuid: str) -> None:
        self._change(_DELETE_CERTIFICATE, {"u": uuid})

    def certificate_in_use(self, uuid: str) -> bool:
        return bool(self._one(_CERTIFICATE_USES, {"u": uuid}, lambda row: row.used))

    def key_manager(self, uuid: str, *, lock: bool = False) -> KeyManager | None:
        if lock:
            self._lock(_LOCK_KEY_MANAGER, uuid)
        return self._value(KEY_MANAGER, _KEY_MANAGER, {"u": uuid})

    def key_manager_of(self, svm_uuid: str | None) -> KeyManager | None:
        return self._value(KEY_MANAGER, _KEY_MANAGER_OF, {"o": svm_uuid or tables.CLUSTER})

    def add_key_manager(self, key_manager: KeyManager) -> None:
        row = _columns(tables.key_managers, key_manager) | _owner(key_manager.svm)
        self._change(insert(tables.key_managers), row | {"enabled": int(key_manager.enabled)})
        self._add_children(tables.key_manager_server_cas, [(key_manager.uuid, key_manager.server_ca_certificates)])

    def key_servers(self, key_manager: str) -> tuple[KeyServer, ...]:
        return self._values(KEY_SERVER, _KEY_SERVERS, {"k": key_manager})

    def add_key_servers(self, servers: Sequence[KeyServer]) -> None:
        rows = [
            _columns(tables.key_servers, server)
            | {"host": server.address.host, "port": server.address.port, "address_key": server.address.key}
            for server in servers
        ]
        if rows:
            self._change(insert(tables.key_servers), rows)
        self._add_children(
            tables.secondary_key_servers, [(server.uuid, server.secondary_key_servers) for server in servers]
        )

    def account(self, name: str) -> Account | None:
        return self._one(
            _ACCOUNT, {"n": name}, lambda row: Account(row.name, Role(row.role), row.password_hash, row.version)
        )

    def put_account(self, account: Account) -> None:
        changed = {"n": account.name, "r": account.role.value, "p": account.password_hash}
        if not self._change(_UPDATE_ACCOUNT, changed):
            self._change(insert(tables.accounts), asdict(account) | {"role": account.role.value})

    def data_keys(self) -> tuple[DataKey, ...]:
        return self._all(_DATA_KEYS, {}, lambda row: DataKey(**row._mapping))

    def add_data_key(self, key: DataKey) -> None:
        self._change(insert(tables.data_keys), asdict(key))

    def audit_head(self, node: str) -> AuditHead | None:
        statement = _LOCKED_AUDIT_HEAD if self._row_locks else _AUDIT_HEAD
        return self._one(statement, {"n": node}, lambda row: AuditHead(**row._mapping))

    def add_audit_record(self, record: AuditRecord, head: AuditHead) -> None:
        self._change(insert(tables.audit_records), asdict(record))
        self._store(_PUT_AUDIT_HEAD, asdict(head))

    def audit_records(self, node: str, after: int, limit: int) -> tuple[AuditRecord, ...]:
        bound = {"n": node, "after": after, "most": limit}
        return self._all(_AUDIT_RECORDS, bound, lambda row: AuditRecord(**row._mapping))

    def audit_nodes(self) -> tuple[str, ...]:
        return self._all(_AUDIT_NODES, {}, lambda row: str(row.node))

    def page(self, kind: type[T], page: Page) -> tuple[T, ...]:
        """Return a page of any kind that has one; see :class:`Page`."""
        described: Kind[T] = KINDS[kind]
        statement = described.page(page)
        return () if statement is None else self._values(described, statement, {})

    def _values(self, kind: Kind[T], statement: Executable, parameters: Parameters) -> tuple[T, ...]:
        return self._read(statement, parameters, kind.values)

    def _value(self, kind: Kind[T], statement: Executable, parameters: Parameters) -> T | None:
        return next(iter(self._values(kind, statement, parameters)), None)

    def _all(self, statement: Executable, parameters: Parameters, make: Callable[[Row[Any]], T]) -> tuple[T, ...]:
        return self._read(statement, parameters, lambda rows: map(make, rows))

    def _one(self, statement: Executable, parameters: Parameters, make: Callable[[Row[Any]], T]) -> T | None:
        return next(iter(self._all(statement, parameters, make)), None)

    def _read(
        self, statement: Executable, parameters: Parameters, make: Callable[[Sequence[Row[Any]]], Iterable[T]]
    ) -> tuple[T, ...]:
        try:
            return tuple(make(self._connection.execute(statement, parameters).all()))
        except SQLAlchemyError as error:
            raise self._classify(error) from None
        except VALUE_ERRORS:
            raise StoreError("a stored row is damaged, or a value cannot be compared") from None

    def _change(self, statement: Executable, parameters: Parameters | list[Parameters]) -> int:
        """Execute a statement that writes and return how many rows it touched."""
        try:
            return self._connection.execute(statement, parameters).rowcount
        except SQLAlchemyError as error:
            raise self._classify(error) from None
        except VALUE_ERRORS:
            raise StoreError("a value cannot be stored") from None

    def _lock(self, statement: Executable, uuid: str) -> None:
        # Alone, before the row is read with its children: a joined read that waited would show the children of before.
        if self._row_locks:
            self._all(statement, {"u": uuid}, lambda row: row)

    def _store(self, statements: tuple[str, Executable, Executable], row: Parameters) -> None:
        key, change, add = statements
        changed = {"the_key" if name == key else name: value for name, value in row.items()}
        if not self._change(change, changed):
            self._change(add, row)

    def _add_children(self, table: Table, children: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Insert the values of a child table (parent, position, value), for each parent in order."""
        parent, position, value = table.c.keys()
        rows = [
            {parent: uuid, position: place, value: text} for uuid, texts in children for place, text in enumerate(texts)
        ]
        if rows:
            self._change(insert(table), rows)


def _columns(table: Table, value: object) -> Parameters:
    """The columns of a table that a value has attributes for."""
    return {column.name: getattr(value, column.name) for column in table.c if hasattr(value, column.name)}


def _owner(svm: Svm | None) -> Parameters:
    return {"owner": tables.CLUSTER, "svm_uuid": None} if svm is None else {"owner": svm.uuid, "svm_uuid": svm.uuid}
