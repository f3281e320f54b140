"""The Store of both engines: it runs transactions on worker threads, and repeats them if their failure allows it.

It knows no tables and no details of the two databases. These are in repository.py, sqlite.py and postgres.py.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from keystead.service.failures import retrieve_failure
from keystead.service.ports.store import OutcomeUnknown, StoreError
from keystead.store.failures import BUSY, RunAgain, unavailable
from keystead.store.outage import Outage
from keystead.store.repository import SqlTransaction
from keystead.store.schema import check_schema
from keystead.store.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from sqlalchemy import Connection, Engine

    from keystead.core.model import AuditHead, Event
    from keystead.service.ports.store import Transaction
    from keystead.store.database import Database


T = TypeVar("T")
UNKNOWN = "the connection broke during the commit, or no standby confirmed it: it may have happened or not"
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.25

UNTIL = "keystead_until"
"""The key in the ``info`` of a connection for the time.monotonic() at which an engine's waits for locks must end."""

CLOSING_S = 2.0
"""How long a closing store, or a cancelled caller, waits for a running transaction."""


class _Cancelled(Exception):  # noqa: N818 - never leaves this module
    """The caller was cancelled before the commit."""


class SqlStore:
    """An implementation of :class:`keystead.service.ports.store.Store`.

    ``database.writer`` takes SQLAlchemy's event listeners. ``deadline_s``, if given, replaces the database's. For
    ``closing_s`` see :data:`CLOSING_S`. ``on_events`` and ``on_appended`` are called in a worker thread after each
    commit, with its events, and with the ends of audit chains before and after. ``admit`` is called first in each
    transaction that writes, and raises StoreError to refuse it.
    """

    on_events: Callable[[Sequence[Event]], None] = staticmethod(lambda _: None)
    on_appended: Callable[[Sequence[tuple[AuditHead | None, AuditHead]]], None] = staticmethod(lambda _: None)
    admit: Callable[[Transaction], None] = staticmethod(lambda _: None)

    def __init__(self, database: Database, *, deadline_s: float | None = None, closing_s: float = CLOSING_S) -> None:
        self.database = database
        self._deadline_s = database.deadline_s if deadline_s is None else deadline_s
        self._outage = Outage()
        self._closing_s = closing_s
        self._readers = Workers("keystead-read", database.readers)
        self._writers = Workers("keystead-write", database.writers)
        self._inline_connection: Connection | None = None
        self._inlines = 0
        self._closed = False
        self._changed = asyncio.Event()

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run a function that only reads, on one snapshot. Raises StoreError, or what the function raises."""
        self._check_open()
        submitted = time.monotonic()
        until = submitted + self._deadline_s
        future = self._readers.submit(lambda: self._repeat(lambda: self._read(work, until), submitted))
        return await asyncio.wrap_future(future)

    async def read_few(self, work: Callable[[Transaction], T]) -> T:
        """Run a read of a few rows by key on the caller's thread. If it would wait there, run it as :meth:`read`.

        The switch to another thread and back costs more than such a read of a local file.
        """
        self._check_open()
        if self.database.inline_reader is not None:
            # If the database is busy or broken, the worker threads may wait, repeat and classify the failure.
            with suppress(SQLAlchemyError, RunAgain):
                return self._read_inline(self.database.inline_reader, work)
        return await self.read(work)

    def version(self) -> Hashable | None:
        """Return a value that changes when anything was committed. None if this would cost a read, or if it fails."""
        self._check_open()
        if self.database.inline_reader is None or self.database.version is None:
            return None
        try:
            connection = self._inline(self.database.inline_reader)
            return self._inlines, self.database.version(connection)
        except (SQLAlchemyError, StoreError, RunAgain):
            self._close_inline_connection()
            return None

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run a function in a transaction and commit. Raises StoreError, or what the function raises.

        After OutcomeUnknown the commit may have happened. After any other StoreError nothing is stored.

        If the caller is cancelled before the commit, nothing is stored. If it is cancelled later, it still gets the
        result.
        """
        self._check_open()
        cancelled = threading.Event()
        submitted = time.monotonic()
        until = submitted + self._deadline_s
        changed = partial(asyncio.get_running_loop().call_soon_threadsafe, self._changed.set)
        future = self._writers.submit(
            lambda: self._repeat(lambda: self._write(work, cancelled, until, changed), submitted)
        )
        outcome = asyncio.wrap_future(future)
        try:
            await asyncio.wait([outcome])
        except asyncio.CancelledError:
            cancelled.set()
            future.cancel()
            outcome.add_done_callback(retrieve_failure)
            await asyncio.wait([outcome], timeout=self._closing_s)
            if outcome.done() and not outcome.cancelled() and outcome.exception() is None:
                return outcome.result()
            raise
        return outcome.result()

    async def changed(self, within_s: float) -> None:
        """Wait until this process has changed the configuration since the last call, at most ``within_s`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        self._changed.clear()

    async def check(self) -> None:
        """Raise SchemaError unless the schema is this release's. Raise StoreError if the database does not answer."""
        await self.examine(check_schema)

    async def examine(self, look: Callable[[Database], T]) -> T:
        """Run a function that inspects the database, on its own connections. Raises what the function raises."""
        self._check_open()
        return await asyncio.wrap_future(self._readers.submit(lambda: look(self.database)))

    async def close(self) -> None:
        """Let running transactions end (within seconds), then close all connections. It may be called twice."""
        self._closed = True
        ends = [asyncio.wrap_future(end) for end in self._readers.stop() + self._writers.stop()]
        await asyncio.wait(ends, timeout=self._closing_s)
        self._close_inline_connection()
        self.database.dispose()

    def _read_inline(self, inline_reader: Engine, work: Callable[[Transaction], T]) -> T:
        """Read on a connection that stays checked out, because taking one from the pool costs as much as the read."""
        connection = self._inline(inline_reader)
        try:
            result = self._run(connection, work)
            connection.rollback()
        except BaseException:
            self._close_inline_connection()
            raise
        return result

    def _inline(self, inline_reader: Engine) -> Connection:
        """Return the connection for inline reads. Versions of two connections cannot be compared, so it is counted."""
        if self._inline_connection is None:
            self._inline_connection = inline_reader.connect()
            self._inlines += 1
        return self._inline_connection

    def _close_inline_connection(self) -> None:
        """Return the connection to its pool, after a failure or at the end. The next inline read takes a new one."""
        if self._inline_connection is not None:
            self._inline_connection.close()
            self._inline_connection = None

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")

    def _read(self, work: Callable[[Transaction], T], until: float) -> T:
        with self.database.reader.connect() as connection:
            connection.info[UNTIL] = until
            return self._run(connection, work)

    def _run(self, connection: Connection, work: Callable[[Transaction], T]) -> T:
        return work(self._transaction(connection, row_locks=False))

    def _transaction(self, connection: Connection, *, row_locks: bool) -> SqlTransaction:
        return SqlTransaction(connection, self.database.classify, self.database.now, row_locks=row_locks)

    def _write(
        self,
        work: Callable[[Transaction], T],
        cancelled: threading.Event,
        until: float,
        changed: Callable[[], object],
    ) -> T:
        with self.database.writer.connect() as connection:
            connection.info[UNTIL] = until
            try:
                transaction = self._transaction(connection, row_locks=self.database.row_locks)
                self.admit(transaction)
                result = work(transaction)
                if cancelled.is_set():
                    raise _Cancelled
                transaction.move_marks()
            except BaseException:
                with suppress(SQLAlchemyError):  # the function's error matters more than a broken connection
                    connection.rollback()
                raise
            try:
                connection.commit()
            except SQLAlchemyError as error:
                if getattr(error, "connection_invalidated", False):
                    raise OutcomeUnknown(UNKNOWN) from None
                raise
            self.on_appended(transaction.appended)
            self.on_events(transaction.announced)
            if transaction.reconfigured:
                with suppress(RuntimeError):  # the event loop is closed
                    changed()
            return result

    def _repeat(self, attempt: Callable[[], T], submitted: float) -> T:
        """Run ``attempt`` again while its failures and the time allow another run."""
        until = submitted + self._deadline_s
        self._outage.check(time.monotonic())
        if time.monotonic() >= until:
            raise unavailable("the database is too busy: a transaction waited too long for its turn", BUSY)
        runs = 0
        while True:
            runs += 1
            try:
                result = attempt()
            except SQLAlchemyError as error:
                failure = self.database.classify(error)
            except RunAgain as error:
                failure = error
            else:
                self._outage.over(time.monotonic())
                return result
            if isinstance(failure, StoreError):
                raise failure
            now = time.monotonic()
            again = self._outage.seen(now, submitted) if failure.away else runs < failure.runs
            if not again or now >= until:
                raise failure.otherwise
            pause_s = min(FIRST_PAUSE_S * 2**runs, LONGEST_PAUSE_S)
            time.sleep(random.uniform(0, pause_s))  # noqa: S311 - so that two writers do not collide again
