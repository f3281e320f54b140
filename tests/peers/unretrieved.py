"""No task may end with an exception that nobody retrieved: a test fails in which asyncio says so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER_RETRIEVED = "never retrieved"
"""What asyncio logs of such a task or future, when it is collected."""


class Unretrieved(logging.Handler):
    """Keeps what asyncio has logged of exceptions that were never retrieved."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.setFormatter(logging.Formatter())
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message and its traceback."""
        if NEVER_RETRIEVED in record.getMessage():
            self.said.append(self.format(record))

    def take(self) -> list[str]:
        """Return what was kept, and forget it."""
        said, self.said = self.said, []
        return said


@pytest.fixture(scope="session")
def all_unretrieved() -> Iterator[Unretrieved]:
    """The handler, on asyncio's logger as long as tests run."""
    handler, logger = Unretrieved(), logging.getLogger("asyncio")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def unretrieved(all_unretrieved: Unretrieved) -> Iterator[Unretrieved]:
    """Fail the test at its end if an exception of it, or of the test before it, was never retrieved."""
    yield all_unretrieved
    said = all_unretrieved.take()
    assert not said, "\n".join(said)
