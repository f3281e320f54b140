"""The table of secondaries: they are dropped, or their server is removed, moves, or gets another certificate."""

from __future__ import annotations

from typing import Final

from keystead.core.keys.model import Presence
from tests.service.worlds.guard_steps import (
    ACCEPTED,
    dies,
    drop_secondary,
    fill,
    gets,
    is_as_created,
    is_restored,
    known,
    loses,
    move,
    not_shown,
    readable,
    remove,
    renew,
    replicate,
    restarts,
    returns,
    rows,
    settle,
    sole_copy,
    spoils,
    sweep,
    time_passes,
    was_just_proven,
)
from tests.service.worlds.guards import BACKUP, EMPTY, SAME, Before, Case, case, nowhere

PRESENT, MISSING, DIFFERENT, UNKNOWN = Presence.PRESENT, Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN

ONLY_THERE: Final[list[Case]] = [
    case(
        "the secondary alone was given the key: it goes when its primary has it, too",
        Before("a", secondaries={"a": SAME}, rows={"a": nowhere(), "a2": PRESENT}),
        drop_secondary("a", sole_copy()),
        known({"a": PRESENT}),
        drop_secondary("a", ACCEPTED),
    ),
    case(
        "the secondary alone was given the key, and was found with another: it is asked once more",
        Before("a", secondaries={"a": SAME}, rows={"a": nowhere(), "a2": DIFFERENT}),
        drop_secondary("a", sole_copy()),
        spoils("a2"),
        drop_secondary("a", ACCEPTED),
    ),
    case(
        "a copy in doubt is on a secondary that comes with the move: nobody can say that it was lost",
        Before("a", moves={"a": BACKUP}, spare={"a'": SAME}, rows={"a": nowhere(), "a2": DIFFERENT}),
        move("a", not_shown("item_not_found"), secondary=True),
    ),
    case(
        "another server is asked at each of its addresses: its secondary, which has its copy, must live",
        Before("ab", secondaries={"b": BACKUP}, moves={"a": BACKUP}, away=("b",)),
        rows({"a": PRESENT, "b": MISSING, "b2": PRESENT}),
        dies("b2"),
        restarts(),
        move("a", not_shown("item_not_found")),
        returns("b2"),
        restarts(),
        move("a", ACCEPTED),
        readable(),
    ),
]
"""The copy that counts was given to a secondary."""


def replicated(presence: Presence, silent: tuple[str, ...] = ()) -> Before:
    """Replicate a key to a2, then restore a from a backup without the key; a look has found this."""
    return Before(
        "a",
        secondaries={"a": EMPTY},
        moves={"a": EMPTY},
        spare={"a'": EMPTY},
        rows={"a": presence},
        really=(is_restored("a2", of="a"), loses("a"), readable()),
        silent=silent,
    )


RESTORED: Final[list[Case]] = [
    each
    for presence in (MISSING, UNKNOWN)
    for each in (
        case(
            f"was {presence}, a2 has it: a stays until a2 has lost it, too; what is unknown is settled before",
            replicated(presence),
            remove("a", sole_copy()),
            readable(),
            loses("a2"),
            known({"a": MISSING}),
            remove("a", ACCEPTED),
        ),
        case(
            f"was {presence}, a2 has it: the keeper gives it back to a; then a2 may go",
            replicated(presence),
            known({"a": MISSING}),
            fill(1),
            fill(0),
            rows({"a": MISSING, "a by attempt 2": PRESENT}),
            drop_secondary("a", ACCEPTED),
            readable(),
        ),
        case(
            f"was {presence}, a2 is silent: a stays, for a2 may have it",
            replicated(presence, silent=("a2",)),
            remove("a", sole_copy()),
        ),
        case(
            f"was {presence}, a2 has it: a2 stays until it has lost it",
            replicated(presence),
            drop_secondary("a", sole_copy()),
            loses("a2"),
            drop_secondary("a", ACCEPTED),
        ),
        case(
            f"was {presence}, a was repaired from a2: the next look finds it, and a2 may go",
            replicated(presence),
            is_restored("a", of="a2"),
            settle(),
            sweep("a"),
            drop_secondary("a", ACCEPTED),
            readable(),
        ),
        case(
            f"was {presence}, a2 has it: a moves when one of its next addresses has it",
            replicated(presence),
            is_restored("a'", of="a2"),
            loses("a", at="a'"),
            is_restored("a'2", of="a'"),
            move("a", not_shown("item_not_found")),
            gets("a", at="a'2", name="there"),
            move("a", ACCEPTED),
        ),
    )
]
"""The primary has lost what its secondary has."""

STOOD_IN: Final[list[Case]] = [
    case(
        "a was read by a sweep, and alone has the key: it moves to no backup without it",
        Before("ab", secondaries={"a": SAME}, moves={"a": EMPTY}, away=("a",)),
        rows({"a": MISSING, "a2": PRESENT, "b": PRESENT}),
        drop_secondary("a", ACCEPTED),
        sweep("a"),
        rows({"a": PRESENT, "a2": PRESENT, "b": PRESENT}),
        is_restored("a'", of="a"),
        loses("a", at="a'"),
        dies("b"),
        remove("a", sole_copy()),
        move("a", not_shown()),
        readable(),
    ),
    case(
        "a was read by a sweep: nothing has to be written, and b may go",
        Before("ab", secondaries={"a": SAME}, away=("a",)),
        rows({"a": MISSING, "a2": PRESENT, "b": PRESENT}),
        drop_secondary("a", ACCEPTED),
        sweep("a"),
        replicate("0 copies written"),
        remove("b", ACCEPTED),
        readable(),
    ),
    case(
        "a2 is dead: a sweep finds the key on a; a2 is asked by a new certificate only while it is configured",
        Before("a", secondaries={"a": SAME}, away=("a",)),
        rows({"a": MISSING, "a2": PRESENT}),
        dies("a2"),
        time_passes(),
        sweep("a"),
        was_just_proven("a", with_ids_of="a2"),
        is_as_created("a2"),
        rows({"a": PRESENT, "a2": PRESENT}),
        renew(not_shown()),
        drop_secondary("a", ACCEPTED),
        renew(ACCEPTED),
        readable(),
    ),
    case(
        "a2 is away, and a has lost the key: nobody takes the copy of a2",
        Before("a", secondaries={"a": SAME}, away=("a",)),
        rows({"a": MISSING, "a2": PRESENT}),
        loses("a2", at="a"),
        dies("a2"),
        sweep("a"),
        rows({"a": MISSING, "a2": UNKNOWN}),
        drop_secondary("a", sole_copy()),
    ),
    case(
        "a2 was just dropped, and no sweep has been: the key is asked for on a",
        Before("ab", secondaries={"a": SAME}, moves={"a": EMPTY}, away=("a",)),
        rows({"a": MISSING, "a2": PRESENT, "b": PRESENT}),
        drop_secondary("a", ACCEPTED),
        is_restored("a'", of="a"),
        loses("a2", at="a'"),
        dies("b"),
        move("a", not_shown()),
        gets("a2", at="a'"),
        move("a", ACCEPTED),
        readable(),
    ),
]
"""The secondary was given a key while its primary was away; they replicate."""

SECONDARIES: Final = [*ONLY_THERE, *RESTORED, *STOOD_IN]
