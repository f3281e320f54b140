"""What was read last is used again only while its version is the same, and for a short time."""

from __future__ import annotations

import pytest

from keystead.service.last_read import LONGEST_S, LastRead


class Names:
    """Names that are read at a time that the test sets; each read returns the next number."""

    def __init__(self) -> None:
        self.reads = 0
        self.now = 1000.0
        self._last = LastRead[int](lambda: self.now)

    def get(self, version: int, key: str = "all") -> int:
        """Return the number of the read that the value is from."""
        return self._last.get(key, version, self._read)

    def _read(self) -> int:
        self.reads += 1
        return self.reads


def test_nothing_is_read_twice_in_one_version() -> None:
    """For each key there is one read, until it is too old."""
    names = Names()
    assert [names.get(1), names.get(1), names.get(1, "another's"), names.get(1)] == [1, 1, 2, 1]
    names.now += LONGEST_S - 1
    assert names.get(1) == 1
    names.now += 1
    assert names.get(1) == 3


def test_another_version_is_read() -> None:
    """Also if it is one that was there before."""
    names = Names()
    assert [names.get(1), names.get(2), names.get(2), names.get(1)] == [1, 2, 2, 3]


def test_a_failed_read_is_not_remembered() -> None:
    """The error is raised, and the next call reads again."""
    last = LastRead[float]()
    with pytest.raises(ZeroDivisionError):
        last.get("key", 1, lambda: 1 / 0)
    assert last.get("key", 1, lambda: 1) == 1
