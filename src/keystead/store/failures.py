"""The meaning of a driver's failure for a transaction: run it again, or give up with a StoreError.

Texts name the kind of failure. They never quote the driver if it could quote a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.exc import SQLAlchemyError

    from keystead.service.ports.store import StoreError

# Drivers raise these, not wrapped, for a value that they cannot store; mappings raise them for a damaged row.
VALUE_ERRORS = (ValueError, OverflowError)


DISK_FULL = "its disk is full"
DISK_FAILS = "its disk cannot be read or written"


class RunAgain(Exception):  # noqa: N818 - an instruction to SqlStore, not a StoreError that a use case may catch
    """The transaction was rolled back and may succeed if it runs again.

    It may run ``runs`` times in all; then ``otherwise`` is raised.
    """

    def __init__(self, otherwise: StoreError, *, runs: int) -> None:
        super().__init__(str(otherwise))
        self.otherwise = otherwise
        self.runs = runs


if TYPE_CHECKING:
    Failure = StoreError | RunAgain
    Classify = Callable[[SQLAlchemyError], Failure]
