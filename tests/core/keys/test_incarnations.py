"""The rules that tell whether a database was restored or cloned, and what a node remembers of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.keys.incarnations import SEEN, VOUCHING_FOR, Storage, Witness, plan_begin, vouched
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


PROMOTED = replace(TIMELINE, branch="2")
VOUCHING = replace(served(TIMELINE), destroys=False, vouching=str(PROMOTED), vouching_since=NOON)
HELD = Incarnation("two", 2, NOON, "promoted", str(PROMOTED), destroys=False)


@pytest.mark.parametrize(
    ("current", "lost", "after_s", "expected"),
    [
        (served(TIMELINE), 0, 0, VOUCHING),
        (served(TIMELINE), 1, 0, HELD),
        (served(TIMELINE), None, 0, HELD),  # a new process cannot tell
        (replace(served(TIMELINE), destroys=False), 0, 0, HELD),  # held anyway
        (VOUCHING, 0, 1, VOUCHING),
        (VOUCHING, 0, VOUCHING_FOR.total_seconds(), VOUCHING),
        (VOUCHING, 0, VOUCHING_FOR.total_seconds() + 1, HELD),
        (VOUCHING, 1, 1, HELD),
        (VOUCHING, None, 1, HELD),
        (replace(VOUCHING, vouching="postgresql:system:1a"), 0, 0, VOUCHING),  # promoted again
        (vouched(VOUCHING), 0, 0, replace(served(PROMOTED))),
        (vouched(VOUCHING), None, 0, replace(served(PROMOTED))),
        (vouched(VOUCHING), 3, 0, HELD),  # whoever vouched
    ],
)
def test_a_promoted_database(current: Incarnation, lost: int | None, after_s: float, expected: Incarnation) -> None:
    """It goes on if nodes find all that was acknowledged to them; else destruction is held."""
    now = NOON + timedelta(seconds=after_s)
    found = plan_begin(current, PROMOTED, 7, KNOWS, "two", now, lost)
    assert found == (replace(expected, began=now) if expected is HELD else expected)


def test_a_loss_is_one_loss() -> None:
    """Who finds it after another node began the next incarnation begins none; a file that lacks records is restored."""
    assert plan_begin(HELD, PROMOTED, 7, KNOWS, "three", NOON, 4) == HELD
    assert plan_begin(served(FILE), FILE, 7, KNOWS, "two", NOON, 4).reason == "restored"


def test_what_a_directory_remembers() -> None:
    """A data directory remembers the epoch, and each incarnation once, up to a number of the newest."""
    witness = Witness().after(1, "one").after(2, "one").after(3, "two")
    assert witness == Witness(3, ("one", "two"))
    for number in range(SEEN):
        witness = witness.after(4, f"later {number}")
    assert len(witness.seen) == SEEN
    assert "one" not in witness.seen
