"""The rules that tell whether a database was restored or cloned, and what a node remembers of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keystead.core.keys.incarnations import SEEN, Storage, Witness, plan_begin
from keystead.core.keys.model import Incarnation

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILE = Storage("sqlite", "directory", "file")
TIMELINE = Storage("postgresql", "system", "1")
KNOWS = Witness(7, ("one",))


def served(storage: Storage | None) -> Incarnation:
    """Return incarnation 1 of a database at this place."""
    return Incarnation("one", 1, NOON, "created", str(storage or ""), destroys=True)


@pytest.mark.parametrize(
    ("stored", "now", "epoch", "witness"),
    [
        (FILE, FILE, 7, KNOWS),
        (TIMELINE, TIMELINE, 7, KNOWS),
        (FILE, FILE, 8, KNOWS),  # killed between the row and the directory
        (FILE, FILE, 0, Witness()),  # a node's first start
        (TIMELINE, TIMELINE, 5, Witness(7, ("earlier",))),  # another node has begun this incarnation already
    ],
)
def test_the_same_database(stored: Storage, now: Storage, epoch: int, witness: Witness) -> None:
    """A database that is where it was keeps its incarnation."""
    assert plan_begin(served(stored), now, epoch, witness, "two", NOON) == served(stored)


def test_the_first_start_notes_where_it_stands() -> None:
    """The first start stores the place of the database and does not begin another incarnation."""
    assert plan_begin(served(None), FILE, 0, Witness(), "two", NOON) == served(FILE)
    held = replace(served(None), destroys=False)
    assert plan_begin(held, FILE, 0, Witness(), "two", NOON) == replace(held, storage=str(FILE))


@pytest.mark.parametrize(
    ("stored", "now", "epoch", "reason"),
    [
        (FILE, FILE, 6, "restored"),
        (None, FILE, 6, "restored"),
        (FILE, replace(FILE, branch="another file"), 7, "restored"),
        (FILE, replace(FILE, identity="another directory"), 7, "cloned"),
        (FILE, replace(FILE, identity="another directory", branch="another file"), 7, "cloned"),
        (FILE, TIMELINE, 7, "cloned"),
        (TIMELINE, FILE, 7, "cloned"),
        (TIMELINE, TIMELINE, 6, "restored"),
        (TIMELINE, replace(TIMELINE, branch="2"), 7, "promoted"),
        (TIMELINE, replace(TIMELINE, branch="2"), 6, "restored"),
        (TIMELINE, replace(TIMELINE, identity="another system"), 7, "cloned"),
    ],
)
def test_another_database(stored: Storage | None, now: Storage, epoch: int, reason: str) -> None:
    """Another database begins a new incarnation, which destroys nothing until an operator releases it."""
    expected = Incarnation("two", 2, NOON, reason, str(now), destroys=False)
    assert plan_begin(served(stored), now, epoch, KNOWS, "two", NOON) == expected


def test_what_a_directory_remembers() -> None:
    """A data directory remembers the epoch, and each incarnation once, up to a number of the newest."""
    witness = Witness().after(1, "one").after(2, "one").after(3, "two")
    assert witness == Witness(3, ("one", "two"))
    for number in range(SEEN):
        witness = witness.after(4, f"later {number}")
    assert len(witness.seen) == SEEN
    assert "one" not in witness.seen
