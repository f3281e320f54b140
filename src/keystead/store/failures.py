"""What a driver's failure means to a transaction: run it again, or give up with a StoreError.

Texts name the kind of failure and never quote the driver where it could quote a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.exc import SQLAlchemyError

    from keystead.service.ports.store import StoreError

# What drivers raise bare for a value that they cannot store, and mappings for a row that makes no sense.
VALUE_ERRORS = (ValueError, OverflowError)


DISK_FULL = "its disk is full"
DISK_FAILS = "its disk cannot be read or written"


class RunAgain(Exception):  # noqa: N818 - an order to the store's loop, not a StoreError that a use case may catch
    """The transaction is void and may succeed when run again: ``runs`` times in all, then ``otherwise`` is raised."""

    def __init__(self, otherwise: StoreError, *, runs: int) -> None:
        super().__init__(str(otherwise))
        self.otherwise = otherwise
        self.runs = runs


if TYPE_CHECKING:
    Failure = StoreError | RunAgain
    Classify = Callable[[SQLAlchemyError], Failure]
