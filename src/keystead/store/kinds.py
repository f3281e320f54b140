"""How each kind of value is read from its tables: one declaration per kind, and the same functions for all kinds.

A kind has a main table, the name of the SVM if rows have an owner, and at most one child table (parent, position,
value). The child's values are a tuple in the model. Nothing is executed here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import and_, bindparam, case, func, null, select

from keystead.core.keys.model import Key, KeyState, KeyType
from keystead.core.model import (
    Access,
    Account,
    AuditRecord,
    Certificate,
    CertificateType,
    Contact,
    CustomRole,
    Event,
    Job,
    JobState,
    KeyManager,
    KeyServer,
    Node,
    NodeProcess,
    Privilege,
    Release,
    Role,
    Svm,
)
from keystead.core.resumable import Resumable
from keystead.core.server_address import ServerAddress
from keystead.store import tables
from keystead.store.conditions import Related, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import Column, ColumnElement, Row, Select, Table

T = TypeVar("T")
_AUDIT_FIELDS = tuple(item.name for item in fields(AuditRecord))


@dataclass(frozen=True)
class Joined:
    """A column of at most one row of another table that belongs to a row. ``label`` is its name in the result."""

    table: Table
    on: ColumnElement[bool]
    column: Column[Any]
    label: str


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A description of how to read one model class. ``make`` gets a row of the main table and the child's values.

    ``related`` are names that may restrict a page, but not order it. They stand for rows that belong to a row.
    ``joined`` is read with each row, and is null for a row without.
    """

    model: type[T]
    main: Table
    order: str
    make: Callable[[Row[Any], tuple[str, ...]], T]
    child: Table | None = None
    identity: str = "uuid"
    related: tuple[tuple[str, Related], ...] = ()
    joined: Joined | None = None

    @cached_property
    def owner(self) -> Column[Any] | None:
        """The column that refers to the SVM that owns the row. None if rows have no owner."""
        column = self.main.c.get("svm_uuid")
        return column if column is not None and column.foreign_keys else None

    @cached_property
    def filters(self) -> Mapping[str, ColumnElement[Any] | Related]:
        """The columns that may restrict a page, by name."""
        return {**self.columns, **dict(self.related)}

    @cached_property
    def columns(self) -> Mapping[str, ColumnElement[Any]]:
        """The columns that may restrict and order a page, by the model's names."""
        named = {self.order, *(item.name for item in fields(self.model))}  # type: ignore[arg-type]
        found: dict[str, ColumnElement[Any]] = {
            column.name: column for column in self.main.c if column.name in named and not _is_secret(column)
        }
        owner = self.owner
        if owner is not None:
            scope = case((owner.is_(None), "cluster"), else_="svm")
            found |= {"svm_uuid": owner, "svm_name": tables.svms.c.name, "scope": scope}
        if "address_key" in self.main.c:
            found["address"] = self.main.c.address_key
        return found

    @cached_property
    def everything(self) -> Select[Any]:
        """All rows in the kind's order: one row per value of the child, or one row without."""
        columns: list[ColumnElement[Any]] = list(self.main.c)
        source: Any = self.main
        order = [self.main.c[self.order]]
        if self.owner is not None:
            source = source.outerjoin(tables.svms, tables.svms.c.uuid == self.owner)
            columns.append(tables.svms.c.name.label("svm_name"))
        if self.joined is not None:
            source = source.outerjoin(self.joined.table, self.joined.on)
            columns.append(self.joined.column.label(self.joined.label))
        if self.child is not None:
            parent, position, value = self.child.c
            source = source.outerjoin(self.child, parent == self.main.c[self.identity])
            order.append(position)
            columns.append(value.label("child"))
        else:
            columns.append(null().label("child"))
        return select(*columns).select_from(source).order_by(*order)

    def where(self, **equals: str) -> Select[Any]:
        """Return rows with columns equal to bound parameters. Execute ``where(uuid="u")`` with ``{"u": ...}``."""
        return self.everything.where(*(self.main.c[column] == bindparam(name) for column, name in equals.items()))

    def within(self, **equals: str) -> Select[Any]:
        """Return rows as :meth:`where`, but only those of the SVM ``w``, or all if ``w`` is None.

        Rows of another SVM are not even made into values.
        """
        return self.where(**equals).where(within(self.main))

    def values(self, rows: Iterable[Row[Any]]) -> Iterator[T]:
        """Make values from the rows of :attr:`everything`. Raises ValueError for a damaged row."""
        for _, group in groupby(rows, key=attrgetter(self.identity)):
            found = list(group)
            yield self.make(found[0], tuple(row.child for row in found if row.child is not None))


def _is_secret(column: Column[Any]) -> bool:
    return column.name.startswith("sealed_") or column.name in {"password_hash", "digest"}


def _svm_of(row: Row[Any]) -> Svm | None:
    return None if row.svm_uuid is None else Svm(row.svm_uuid, row.svm_name)


def node_of(row: Row[Any], _: tuple[str, ...] = ()) -> Node:
    """Return the node of a row."""
    release = Release(row.generation, row.major, row.minor)
    doubted, starting = bool(row.clock_doubted), bool(row.starting)
    return Node(
        row.uuid,
        row.name,
        release,
        row.heard_at,
        reported=row.reported,
        clock_doubted=doubted,
        starting=starting,
        has_left=bool(row.has_left),
        process=NodeProcess(row.process, row.keystead_release, row.place) if row.process else None,
        schema=row.schema or "",
        contact=_contact(row),
        reads_until=row.reads_until,
    )


def _contact(row: Row[Any]) -> Contact | None:
    if not row.public_key:
        return None
    return Contact(row.address, row.certificate, row.public_key, tuple(row.proxies.split()))


def _svm(row: Row[Any], _: tuple[str, ...]) -> Svm:
    return Svm(row.uuid, row.name)


def _certificate(row: Row[Any], intermediates: tuple[str, ...]) -> Certificate:
    return Certificate(
        uuid=row.uuid,
        svm=_svm_of(row),
        name=row.name,
        type=CertificateType(row.type),
        common_name=row.common_name,
        public_certificate=row.public_certificate,
        intermediates=intermediates,
        ca=row.ca,
        serial_number=row.serial_number,
        not_before=row.not_before,
        expiry_time=row.expiry_time,
        key_size=row.key_size,
        hash_function=row.hash_function,
        authority_key_identifier=row.authority_key_identifier,
        subject_key_identifier=row.subject_key_identifier,
        sealed_private_key=row.sealed_private_key,
    )


def _key_manager(row: Row[Any], server_cas: tuple[str, ...]) -> KeyManager:
    return KeyManager(
        uuid=row.uuid,
        svm=_svm_of(row),
        enabled=bool(row.enabled),
        client_certificate=row.client_certificate,
        server_ca_certificates=server_cas,
        policy=row.policy,
        configuration_name=row.configuration_name,
        min_copies=row.min_copies,
        monitor_interval=row.monitor_interval,
    )


def _key_server(row: Row[Any], secondaries: tuple[str, ...]) -> KeyServer:
    return KeyServer(
        uuid=row.uuid,
        key_manager=row.key_manager,
        position=row.position,
        address=ServerAddress(row.host, row.port),
        timeout=row.timeout,
        create_remove_timeout=row.create_remove_timeout,
        username=row.username,
        secondary_key_servers=secondaries,
        tls_server_name=row.tls_server_name,
        replication_domain=row.replication_domain,
        sealed_password=row.sealed_password,
    )


def _privileges(text: str) -> tuple[Privilege, ...]:
    return tuple(Privilege(path, Access(access)) for path, access in json.loads(text).items())


def role_of(row: Row[Any]) -> CustomRole:
    """Return the custom role of a row. It has the name of the SVM, too."""
    return CustomRole(row.name, _svm_of(row), _privileges(row.privileges))


def _account(row: Row[Any], _: tuple[str, ...]) -> Account:
    svm, privileges = _svm_of(row), row.role_privileges
    return Account(
        name=row.name,
        role=Role(row.role) if privileges is None else CustomRole(row.role, svm, _privileges(privileges)),
        password_hash=row.password_hash,
        version=row.version,
        svm=svm,
        certificate=bool(row.certificate),
        locked=bool(row.locked),
        comment=row.comment,
        has_read_keys=bool(row.has_read_keys),
    )


def _job(row: Row[Any], _: tuple[str, ...]) -> Job:
    return Job(
        uuid=row.uuid,
        node=row.node,
        svm=_svm_of(row),
        account=row.account,
        description=row.description,
        state=JobState(row.state),
        message=row.message,
        code=row.code,
        target=row.target,
        start_time=row.start_time,
        end_time=row.end_time,
        results=row.results,
        arguments=tuple((code, message) for code, message in json.loads(row.arguments)),
        resumable=_resumable(row) if row.kind else None,
    )


def _resumable(row: Row[Any]) -> Resumable:
    return Resumable(
        kind=row.kind,
        parameters=row.parameters,
        origin=row.origin,
        cursor=row.cursor,
        done=row.done,
        total=row.total,
        requested=row.requested,
    )


def _event(row: Row[Any], _: tuple[str, ...]) -> Event:
    return Event(
        node=row.node,
        index=row._mapping["index"],  # noqa: SLF001 - SQLAlchemy's public name; row.index is a tuple's method
        time=row.time,
        name=row.name,
        severity=row.severity,
        svm=_svm_of(row),
        parameters=tuple((name, value) for name, value in json.loads(row.parameters)),
        log_message=row.log_message,
    )


def _key(row: Row[Any], _: tuple[str, ...]) -> Key:
    return Key(
        uuid=row.uuid,
        key_id=row.key_id,
        key_manager=row.key_manager,
        svm=_svm_of(row),
        name=row.name,
        key_tag=row.key_tag,
        key_type=KeyType(row.key_type),
        state=KeyState(row.state),
        length=row.length,
        created=row.created,
        digest=row.digest,
        version=row.version,
        committed=row.committed,
        retired=row.retired,
        purge_after=row.purge_after,
        retired_in=row.retired_in,
        overdue=bool(row.overdue),
    )


def _audit_record(row: Row[Any], _: tuple[str, ...]) -> AuditRecord:
    return AuditRecord(**{name: row._mapping[name] for name in _AUDIT_FIELDS})  # noqa: SLF001 - as above


NODE = Kind(Node, tables.nodes, "uuid", node_of)
SVM = Kind(Svm, tables.svms, "uuid", _svm)
CERTIFICATE = Kind(Certificate, tables.certificates, "uuid", _certificate, tables.certificate_intermediates)
KEY_MANAGER = Kind(
    KeyManager,
    tables.key_managers,
    "uuid",
    _key_manager,
    tables.key_manager_server_cas,
    related=(
        *(
            (f"server_{name}", Related(column, tables.key_servers.c.key_manager, tables.key_managers.c.uuid))
            for name, column in (
                ("address", tables.key_servers.c.address_key),
                ("timeout", tables.key_servers.c.timeout),
                ("username", tables.key_servers.c.username),
            )
        ),
        (
            "server_ca_certificate",
            Related(
                tables.key_manager_server_cas.c.certificate,
                tables.key_manager_server_cas.c.key_manager,
                tables.key_managers.c.uuid,
            ),
        ),
    ),
)
KEY_SERVER = Kind(KeyServer, tables.key_servers, "position", _key_server, tables.secondary_key_servers)

ACCOUNT = Kind(
    Account,
    tables.accounts,
    "name",
    _account,
    identity="name",
    joined=Joined(
        tables.roles,
        and_(
            tables.roles.c.name == tables.accounts.c.role,
            tables.roles.c.owner == func.coalesce(tables.accounts.c.svm_uuid, tables.CLUSTER),
        ),
        tables.roles.c.privileges,
        "role_privileges",
    ),
)
JOB = Kind(Job, tables.jobs, "uuid", _job)
AUDIT_RECORD = Kind(AuditRecord, tables.audit_records, "key", _audit_record, identity="key")
KEY = Kind(Key, tables.keys, "key_id", _key)
EVENT = Kind(Event, tables.events, "key", _event, identity="key")

KINDS: Mapping[type[Any], Kind[Any]] = {
    kind.model: kind
    for kind in (NODE, SVM, CERTIFICATE, KEY_MANAGER, KEY_SERVER, ACCOUNT, JOB, EVENT, AUDIT_RECORD, KEY)
}
