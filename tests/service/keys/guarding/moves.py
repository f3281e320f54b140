"""The table of servers that get another address, another TLS name or another user."""

from __future__ import annotations

from typing import Final

from keystead.core.keys.model import Presence
from tests.service.worlds.guard_steps import (
    ACCEPTED,
    add_secondary,
    canary_is_renumbered,
    change_timeout,
    change_user,
    dies,
    fill,
    gets,
    is_imported_again,
    is_renumbered,
    is_restored,
    keeper_round,
    key_is_deleted,
    known,
    loses,
    move,
    not_shown,
    profile_is_gone,
    profiles_are_as_learned,
    purge_begins,
    readable,
    remove,
    rename,
    returns,
    rows,
    settle,
    sole_copy,
    sweep,
    time_passes,
)
from tests.service.worlds.guards import BACKUP, EMPTY, SAME, Before, Case, Known, case, nowhere, unanswered

PRESENT, MISSING, DIFFERENT = Presence.PRESENT, Presence.MISSING, Presence.DIFFERENT
UNKNOWN, SENT = Presence.UNKNOWN, Presence.SENT

WHO: Final[list[Case]] = [
    case(
        "the same objects behind another port: it moves, and what was learned stays",
        Before("a", moves={"a": SAME}),
        move("a", ACCEPTED),
        profiles_are_as_learned(),
    ),
    case(
        "no canary is known by which it could be told",
        Before("a", moves={"a": EMPTY}, really=(profile_is_gone("a"),)),
        move("a", not_shown("canary_not_seen", at="a'")),
    ),
    *(
        case(
            f"a key was {presence}: the canary must be shown",
            Before("a", moves={"a": EMPTY}, rows={"a": presence}),
            move("a", not_shown("canary_not_seen")),
        )
        for presence in (UNKNOWN, SENT)
    ),
    case(
        "another server is not taken for it, at another port or as a secondary, while a key may be there",
        Before("a", moves={"a": EMPTY}, spare={"a": EMPTY}),
        move("a", not_shown("canary_not_seen", at="a'")),
        add_secondary("a", not_shown("canary_not_seen", at="a2")),
        known({"a": nowhere()}),
        move("a", ACCEPTED),
    ),
    case(
        "all objects have other numbers where it moves: the canary is known again, and keys are kept as before",
        Before("ab", moves={"a": EMPTY, "b": EMPTY}, keys=("one", "two"), really=(is_renumbered("a'", of="a"),)),
        move("a", ACCEPTED),
        keeper_round(),
        rows({"a": PRESENT, "b": PRESENT}, key="one"),
        canary_is_renumbered("a"),
        is_restored("b'", of="b"),
        loses("two:b", at="b'"),
        move("b", ACCEPTED),
        loses("one:a", at="a'"),
        keeper_round(),
        rows({"a": MISSING, "b": PRESENT, "a by attempt 2": PRESENT}, key="one"),
        dies("b'"),
        readable("one", "two"),
    ),
    case(
        "all objects have other numbers in place: the canary is known again, and keys are kept as before",
        Before("ab", moves={"b": EMPTY}, keys=("one", "two"), really=(is_renumbered("a"),)),
        keeper_round(),
        rows({"a": PRESENT, "b": PRESENT}, key="one"),
        canary_is_renumbered("a"),
        is_restored("b'", of="b"),
        loses("two:b", at="b'"),
        move("b", ACCEPTED),
        loses("one:a"),
        keeper_round(),
        rows({"a": MISSING, "b": PRESENT, "a by attempt 2": PRESENT}, key="one"),
        dies("b'"),
        readable("one", "two"),
    ),
]
"""Whether it is the same server."""

BACKUPS: Final[list[Case]] = [
    case(
        "no other server has the key: refused; a change that concerns no key is taken; with b it moves",
        Before("ab", moves={"a": BACKUP}, rows={"b": MISSING}),
        move("a", not_shown("item_not_found")),
        change_timeout("a", ACCEPTED),
        known({"b": PRESENT}),
        move("a", ACCEPTED),
    ),
    case(
        "a and b were restored without the key: one of them moves there, what was proven stays behind",
        Before("ab", moves={"a": BACKUP, "b": BACKUP}),
        move("a", ACCEPTED),
        rows({"a": UNKNOWN, "b": PRESENT}),
        move("b", not_shown("item_not_found")),
        remove("b", sole_copy()),
        readable(),
        settle(),
        sweep("a"),
        rows({"a": MISSING, "b": PRESENT}),
        fill(1),
        move("b", ACCEPTED),
    ),
    case(
        "what no other server has is read there and is present; the rest is found out by the next round",
        Before("ab", moves={"a": SAME}, keys=("both", "sole"), rows={"sole:b": nowhere()}),
        move("a", ACCEPTED),
        rows({"a": PRESENT, "b": MISSING}, key="sole"),
        rows({"a": UNKNOWN, "b": PRESENT}, key="both"),
        settle(),
        rows({"a": PRESENT, "b": PRESENT}, key="both"),
        both=True,
    ),
    case(
        "the other server is dead: nothing relies on its proof",
        Before("ab", moves={"a": BACKUP}, silent=("b",)),
        move("a", not_shown("item_not_found")),
        readable(),
    ),
    case(
        "the key is deleted: it need not be there once it cannot be recovered",
        Before("a", moves={"a": BACKUP}, really=(key_is_deleted(),)),
        move("a", not_shown("item_not_found")),
        purge_begins(),
        move("a", ACCEPTED),
    ),
]
"""Whether the keys are where it goes, or on another server."""

IN_DOUBT: Final[list[Case]] = [
    *(
        case(
            f"was {presence}, and is at the old place: it must be at the new one; at neither, it was lost",
            Before("a", moves={"a": BACKUP}, rows={"a": presence}),
            move("a", not_shown("item_not_found")),
            loses("a"),
            move("a", ACCEPTED),
        )
        for presence in (MISSING, DIFFERENT, UNKNOWN)
    ),
    *(
        case(
            f"was {presence}, and is there under another identifier: it moves to where that is found, too",
            Before("a", moves={"a": BACKUP}, rows={"a": presence}, really=(is_imported_again("a"),)),
            move("a", not_shown("item_not_found")),
            gets("a", at="a'", name="yet another"),
            move("a", ACCEPTED),
            rows({"a": presence}),
            settle(),
            sweep("a"),
            readable(),
        )
        for presence in (MISSING, DIFFERENT, UNKNOWN)
    ),
    *(
        case(
            f"was {presence}, its answer was lost, and b has died: it must be where it moves, for it may still arrive",
            Before("ab", moves={"a": BACKUP}, rows={"a": unanswered(presence)}, silent=("b",)),
            move("a", not_shown("unsettled")),
            remove("a", sole_copy()),
            loses("a"),
            move("a", not_shown()),
            gets("a", at="a'", name="there"),
            move("a", ACCEPTED),
            settle(),
            rows({"a": PRESENT, "b": PRESENT}),
            readable(),
        )
        for presence in (SENT, UNKNOWN)
    ),
    *(
        case(
            f"was {presence}, and never arrived: after its time it is at neither place",
            Before("a", moves={"a": BACKUP}, rows={"a": unanswered(presence)}, really=(loses("a"), time_passes(200))),
            move("a", ACCEPTED),
        )
        for presence in (SENT, UNKNOWN)
    ),
    case(
        "was lost, and the old address is dead: the others are where it is now",
        Before(
            "a",
            moves={"a": SAME},
            keys=("key", "lost"),
            rows={"lost:a": MISSING},
            really=(loses("lost:a"),),
            silent=("a",),
        ),
        move("a", ACCEPTED),
        readable(),
    ),
    case(
        "one copy was read there: another one of the key that is in doubt need not be asked for",
        Before(
            "a",
            moves={"a": SAME},
            rows={"a": UNKNOWN, "a by attempt 2": Known(DIFFERENT, id="gone", attempt=2)},
            silent=("a",),
        ),
        move("a", ACCEPTED),
        rows({"a": PRESENT, "a by attempt 2": DIFFERENT}),
    ),
    case(
        "was missing; the server was dead and is back, and this process leaves it alone: it is asked all the same",
        Before("a", moves={"a": BACKUP}, rows={"a": MISSING}, silent=("a",)),
        sweep("a", times=6),
        returns("a"),
        move("a", not_shown("item_not_found")),
        readable(),
    ),
]
"""Whether a copy that was not found, or not heard of, must be where the server goes."""

NAMES: Final[list[Case]] = [
    case(
        "another name leads to a server that was restored without the key: nobody relies on that",
        Before("ab", moves={"a": BACKUP, "b": BACKUP}, by_name="a"),
        rename("a", "localhost", ACCEPTED),
        rows({"a": UNKNOWN, "b": PRESENT}),
        time_passes(600),
        move("b", not_shown("item_not_found")),
        readable(),
        move("b", not_shown("item_not_found"), name="127.0.0.1"),
    ),
    case(
        "the name that is used anyway is the same place: what was proven counts",
        Before("ab"),
        rename("a", "127.0.0.1", ACCEPTED),
        rows({"a": PRESENT, "b": PRESENT}),
        rename("a", "", ACCEPTED),
        rows({"a": PRESENT, "b": PRESENT}),
        remove("b", ACCEPTED),
    ),
]
"""Another TLS name."""

USERS: Final[list[Case]] = [
    case(
        "another user sees the canary: what was proven as the old one stays behind",
        Before("ab"),
        change_user("a", ACCEPTED),
        rows({"a": UNKNOWN, "b": PRESENT}),
        readable(),
    ),
    case(
        "another user does not see the key, which no other server has",
        Before("a", really=(loses("a"),)),
        change_user("a", not_shown("item_not_found")),
    ),
]
"""Another user."""

MOVES: Final = [*WHO, *BACKUPS, *IN_DOUBT, *NAMES, *USERS]
