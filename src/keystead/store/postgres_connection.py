"""A connection to PostgreSQL whose waits end in time, and whose commits are sure once they have returned.

A server that is frozen still holds its connections, so neither the kernel nor the server ends such a wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.errors import Diagnostic

T = TypeVar("T")

BEGIN_S: Final = 2.0
"""The longest wait for BEGIN, which no lock delays. A database that takes longer is away."""

STATEMENT_S: Final = 11.0
"""The longest wait for a statement. The server's own limit is 10 s."""

COMMIT_S: Final = 15.0
"""The longest wait for COMMIT, which no setting of the server limits while it waits for a standby.

The server waits on, and holds the transaction's locks. It is not told to cancel: then others would see a change that no
standby has.
"""


class Connection(psycopg.Connection[Any]):
    """A connection of psycopg. ``patience_s`` is the longest wait for an answer, in seconds."""

    patience_s = BEGIN_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer. If it does not come in time, close the connection and raise OperationalError."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.info.transaction_status is TransactionStatus.ACTIVE:  # the answer is still to come
                self.close()
            raise

    def start(self, statements: str) -> None:
        """Begin a transaction by BEGIN and a SELECT, which ends with pg_is_in_recovery() and pg_backend_pid().

        If the server is a standby, close the connection and raise OperationalError. If a pooler stands between, nothing
        is prepared from then on, because in another connection of its a name may mean another client's statement.
        """
        self.patience_s = BEGIN_S
        with self.execute(statements.encode(), prepare=False) as cursor:
            cursor.nextset()
            ((*_, in_recovery, pid),) = cursor.fetchall()
        self.patience_s = STATEMENT_S
        if in_recovery:
            self.close()
            raise psycopg.OperationalError("the server is a standby")
        if pid != self.info.backend_pid:
            self.prepare_threshold = None

    def commit(self) -> None:
        """Commit. If that is not sure, close the connection and raise OperationalError.

        A warning means that the wait for a standby was broken off: the server then answers as if all was well. Its text
        is in the server's language, but COMMIT has no other warnings.
        """
        severities: list[str | None] = []

        def note(notice: Diagnostic) -> None:
            severities.append(notice.severity_nonlocalized)  # at once, because psycopg frees what it reads from

        self.add_notice_handler(note)
        self.patience_s = COMMIT_S
        try:
            super().commit()
        finally:
            self.remove_notice_handler(note)
        if "WARNING" in severities:
            self.close()
            raise psycopg.OperationalError("no standby confirmed the commit")
