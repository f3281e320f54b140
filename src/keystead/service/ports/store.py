"""The database as use cases see it: the transaction, made of families of rows, and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from keystead.service.ports.applications import ApplicationObjectRows, ApplicationRows
from keystead.service.ports.cluster import (
    AccountRows,
    AuditRows,
    ClusterRows,
    EventRows,
    IncarnationRows,
    JobRows,
    LeaseRows,
    LoginMessageRows,
    NodeRows,
    ObservationRows,
    RoleRows,
    SealingKeyRows,
    SessionRows,
)
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows, ListRows, SvmRows
from keystead.service.ports.forwarding import DestinationRows, LogRows
from keystead.service.ports.keys import (
    AttemptRows,
    CopyRows,
    DetachedRows,
    DigestKeyRows,
    EpochMarkerRows,
    KeyRows,
    OrphanRows,
    ProfileRows,
    ReceiptRows,
    RemovalRows,
    ReportRows,
)
from keystead.service.ports.marks import ChangeMarkRows

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


T = TypeVar("T")
Rows_co = TypeVar("Rows_co", covariant=True)


AWAY = "it does not answer"
"""The reason of a StorageError for a database that is away."""


class StoreError(Exception):
    """The store could not do what was asked: the database is away, damaged or too busy for longer than is allowed."""


class SchemaError(StoreError):
    """The database does not have this release's schema. The text says what to do."""


class NotAMember(StoreError):  # noqa: N818 - named as what happened
    """The node of this process was removed, or another process serves as it. This process may write nothing more."""


class StorageError(StoreError):
    """The database cannot be used now: it is away, or its disk is full. ``reason`` says why. Nothing was stored.

    The caller may send the same call again after ``retry_after_s`` seconds.
    """

    def __init__(self, text: str, reason: str, *, retry_after_s: int = 5) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after_s = retry_after_s


class OutcomeUnknown(StoreError):  # noqa: N818 - it may be no error at all
    """The transaction may have been committed, or not. It is never run again by itself."""


class StoreConflict(StoreError):  # noqa: N818 - a conflict between writers, named as databases name it
    """Another writer got there first, and running the transaction again did not settle it."""


class Transaction(
    SvmRows,
    CertificateRows,
    KeyManagerRows,
    KeyServerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    AccountRows,
    RoleRows,
    LoginMessageRows,
    SessionRows,
    JobRows,
    ObservationRows,
    EventRows,
    AuditRows,
    LeaseRows,
    IncarnationRows,
    SealingKeyRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReceiptRows,
    RemovalRows,
    ReportRows,
    ProfileRows,
    EpochMarkerRows,
    DigestKeyRows,
    DetachedRows,
    OrphanRows,
    DestinationRows,
    LogRows,
    ChangeMarkRows,
    ApplicationRows,
    ApplicationObjectRows,
    Protocol,
):
    """One database transaction, used inside the function given to :meth:`Store.read` or :meth:`Store.write`.

    Every method raises StoreError if the database fails. ``lock=True`` (in a write) locks the row until the end. With
    ``within``, rows of other SVMs (uuid) are neither read nor locked, as if they did not exist. A failure that another
    run can settle is raised as another exception: do not catch Exception in a transaction.
    """


class Store(Protocol[Rows_co]):
    """The database. ``Rows_co`` are the families of rows that its user reads and writes.

    A transaction is a plain function. It runs in a worker thread, and again after a conflict. So the function must do
    nothing but call the transaction and compute. A read sees one snapshot.
    """

    async def read(self, work: Callable[[Rows_co], T]) -> T: ...
    async def read_few(self, work: Callable[[Rows_co], T]) -> T:
        """Read a few rows by key, never a list. It may run on the caller's thread."""
        ...

    def version(self) -> Hashable | None:
        """Return a value that changes with every commit of any process; None where that would cost a read."""
        ...

    async def write(self, work: Callable[[Rows_co], T]) -> T: ...
    async def changed(self, within_s: float) -> None:
        """Return when this process has moved the change marker since the last call, or so many seconds later."""
        ...

    async def check(self) -> None:
        """Raise StoreError unless the database answers and its schema is this release's."""
        ...

    async def close(self) -> None: ...
