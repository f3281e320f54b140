"""What the use cases need from the world, as Protocols. Adapters implement them; app.py wires them together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.model import (
        Account,
        AuditHead,
        AuditRecord,
        Certificate,
        Cluster,
        DataKey,
        Job,
        KeyManager,
        KeyServer,
        Node,
        Svm,
    )
    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.secret import Secret

T = TypeVar("T")
Listed = TypeVar("Listed")


class StoreError(Exception):
    """The store could not do what was asked: the database is away, damaged or too busy for longer than is allowed."""


class SealError(Exception):
    """A sealed value cannot be opened: it was altered or moved, or its key is unknown."""


class StoreConflict(StoreError):  # noqa: N818 - a conflict between writers, named as databases name it
    """Another writer got there first, and running the transaction again did not settle it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list: rows whose columns equal ``equals``, after the row named by ``after``, at most ``limit``.

    Columns are names of the model's fields, ``svm_uuid`` and ``svm_name`` where a model has an ``svm``; None is null.
    ``after`` is the order key of the last row seen: the ``uuid``, for key servers the ``position``. ``wanted`` are the
    fields that will be looked at: what is costly to find out and not among them may be left out.
    """

    equals: Mapping[str, str | int | bool | None] = field(default_factory=dict)
    after: str | int | None = None
    limit: int = 10_000
    wanted: frozenset[str] = frozenset()

    def within(self, **equals: str | int | bool | None) -> Page:
        """The same slice of fewer rows: those whose columns equal these values as well."""
        contradicts = any(self.equals[name] != value for name, value in equals.items() if name in self.equals)
        return replace(self, equals={**self.equals, **equals}, limit=0 if contradicts else self.limit)


class Transaction(Protocol):
    """One database transaction, used inside the function given to :meth:`Store.read` or :meth:`Store.write`.

    Every method raises StoreError when the database fails. ``lock=True`` (in a write) holds the row until the end.
    A failure that running the transaction again can settle is raised as something else: do not catch Exception here.
    """

    def cluster(self) -> Cluster | None: ...
    def put_cluster(self, cluster: Cluster) -> None: ...
    def nodes(self) -> tuple[Node, ...]: ...
    def put_node(self, node: Node) -> None: ...

    def svm(self, uuid: str, *, lock: bool = False) -> Svm | None: ...
    def svm_named(self, name: str) -> Svm | None: ...
    def add_svm(self, svm: Svm) -> None: ...
    def rename_svm(self, uuid: str, name: str) -> None: ...
    def delete_svm(self, uuid: str) -> None:
        """Delete an SVM with its jobs and events; what :meth:`svm_contents` counts must be gone."""
        ...

    def svm_contents(self, uuid: str) -> Mapping[str, int]:
        """Count what an SVM owns: ``accounts``, ``certificates``, ``key_managers``."""
        ...

    def certificate(self, uuid: str, *, lock: bool = False) -> Certificate | None: ...
    def add_certificate(self, certificate: Certificate) -> None: ...
    def delete_certificate(self, uuid: str) -> None: ...
    def certificate_in_use(self, uuid: str) -> bool: ...

    def key_manager(self, uuid: str, *, lock: bool = False) -> KeyManager | None: ...
    def key_manager_of(self, svm_uuid: str | None) -> KeyManager | None:
        """Return the enabled key manager of an SVM, or of the cluster (None)."""
        ...

    def add_key_manager(self, key_manager: KeyManager) -> None: ...

    def key_servers(self, key_manager: str) -> tuple[KeyServer, ...]: ...
    def add_key_servers(self, servers: Sequence[KeyServer]) -> None: ...

    def account(self, name: str) -> Account | None: ...
    def put_account(self, account: Account) -> None:
        """Store the account; an existing row's version grows by one, whatever ``account.version`` says."""
        ...

    def data_keys(self) -> tuple[DataKey, ...]: ...
    def add_data_key(self, key: DataKey) -> None: ...

    def job(self, uuid: str) -> Job | None: ...
    def unfinished_jobs(self, node: str) -> tuple[Job, ...]: ...
    def add_job(self, job: Job) -> None: ...
    def update_job(self, job: Job) -> None:
        """Store what a job has come to: its state, message, code, target, end and results. A removed job stays so."""
        ...

    def remove_jobs(self, node: str, *, before: datetime, beyond: int) -> None:
        """Delete finished jobs of a node that began earlier than ``before``, and all but the newest ``beyond``."""
        ...

    def audit_head(self, node: str) -> AuditHead | None:
        """Return the end of a node's chain, None for a new chain; in a write, lock the chain until the end."""
        ...

    def add_audit_record(self, record: AuditRecord, head: AuditHead) -> None:
        """Store the record and make ``head`` the end of its node's chain."""
        ...

    def audit_records(self, node: str, after: int, limit: int) -> tuple[AuditRecord, ...]: ...
    def audit_nodes(self) -> tuple[str, ...]:
        """Return the uuids of all nodes: registered ones, and those that left a chain behind."""
        ...

    def page(self, kind: type[Listed], page: Page) -> tuple[Listed, ...]:
        """Return rows of a kind, by default in its order: uuid, position for key servers, name for accounts."""
        ...


class Store(Protocol):
    """The database. A transaction is a plain function, run in a worker thread, and run again on a conflict.

    So the function must do nothing but call the transaction and compute. A read sees one snapshot.
    """

    async def read(self, work: Callable[[Transaction], T]) -> T: ...
    async def glance(self, work: Callable[[Transaction], T]) -> T:
        """As ``read``, for a few rows by key: it may run on the caller's thread, and must never be a list."""
        ...

    async def write(self, work: Callable[[Transaction], T]) -> T: ...
    async def close(self) -> None: ...


class Place(NamedTuple):
    """Where a sealed value stands; it can be opened nowhere else."""

    table: str
    row: str
    column: str


class Sealer(Protocol):
    """Encryption at rest. The store sees only what :meth:`seal` returns."""

    def seal(self, value: Secret, place: Place) -> bytes: ...

    def unseal(self, sealed: bytes, place: Place) -> Secret:
        """Raises SealError."""
        ...

    def mac(self, message: bytes) -> bytes:
        """Return the 32-byte MAC of an audit record under a key derived from the root key."""
        ...


class PasswordHasher(Protocol):
    """Slow, salted password hashing; at most two hashes are computed at a time."""

    async def hash(self, password: Secret) -> str: ...
    async def verify(self, password_hash: str, password: Secret) -> bool: ...


class KeyServerGateway(Protocol):
    """The key servers themselves."""

    async def probe_all(
        self, targets: Sequence[ProbeTarget], identity: TlsIdentity, deadline_s: float, *, account: str
    ) -> list[ProbeResult]:
        """Probe every target and its secondaries at once and return one result per target, in order.

        ``account`` is who asks: what its probes hold back by hanging is its own probes only.
        Never raises for what a peer does; ends within ``deadline_s`` seconds.
        """
        ...


class Clock(Protocol):
    """The time, an argument of everything that depends on it."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
