"""The meaning of a driver's failure for a transaction: run it again, or give up with a StoreError.

Texts name the kind of failure. They never quote the driver if it could quote a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.service.ports.store import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.exc import SQLAlchemyError

    from keystead.service.ports.store import StoreError

# Drivers raise these, not wrapped, for a value that they cannot store; mappings raise them for a damaged row.
VALUE_ERRORS = (ValueError, OverflowError)


DISK_FULL = "its disk is full"
DISK_FAILS = "its disk cannot be read or written"
TAKES_NO_CHANGES = "it takes no changes"
BUSY = "it is too busy"


def unavailable(text: str, reason: str) -> StorageError:
    """Return the error for a database that may be there again at any time."""
    return StorageError(text, reason, retry_after_s=1)


class RunAgain(Exception):  # noqa: N818 - an instruction to SqlStore, not a StoreError that a use case may catch
    """The transaction was rolled back and may succeed if it runs again.

    It may run ``runs`` times in all, or for some seconds if the database is ``away``. Then ``otherwise`` is raised.
    """

    def __init__(self, otherwise: StoreError, *, runs: int = 0, away: bool = False) -> None:
        super().__init__(str(otherwise))
        self.otherwise = otherwise
        self.runs = runs
        self.away = away


def final(failure: Failure) -> StoreError:
    """Return the error to raise if the transaction is not run again."""
    return failure.otherwise if isinstance(failure, RunAgain) else failure


if TYPE_CHECKING:
    Failure = StoreError | RunAgain
    Classify = Callable[[SQLAlchemyError], Failure]
