"""The table of removals of whole servers."""

from __future__ import annotations

from typing import Final

from keystead.core.keys.model import Presence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from tests.service.worlds.guard_steps import (
    ACCEPTED,
    certificate_is_gone,
    detached,
    dies,
    gets,
    has_two,
    is_imported_again,
    is_renumbered,
    is_well,
    keeper_round,
    lies,
    loses,
    loses_object,
    move,
    not_shown,
    password_is_damaged,
    readable,
    refuses,
    remove,
    returns,
    rows,
    sole_copy,
    spoils,
    sweep,
    time_passes,
    was_asked,
)
from tests.service.worlds.guards import BACKUP, PROFILES, Before, Case, Known, case

PRESENT, MISSING, DIFFERENT, UNKNOWN = Presence.PRESENT, Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN

ELSEWHERE: Final[list[Case]] = [
    case(
        "another server has the key: it is read there; what is removed stays known until its copies end",
        Before("ab", knows=PROFILES, really=(time_passes(),)),
        remove("a", ACCEPTED),
        was_asked(b=1),
        detached("a"),
        rows({"a": PRESENT, "b": PRESENT}),
        remove("b", sole_copy(reason="")),
        both=True,
    ),
    case(
        "without keys the last server goes, and nothing of it stays",
        Before("a", knows=PROFILES, keys=()),
        remove("a", ACCEPTED),
        detached(),
        both=True,
    ),
    case(
        "a fresh proof needs no other: the canary is seen, and no key is read again",
        Before("ab", keys=("one", "two", "three")),
        remove("a", ACCEPTED),
        was_asked(b=1),
    ),
    case(
        "a proof does not outlive its server: the last that lives stays",
        Before("abcd", silent=("a", "b", "c")),
        remove("d", sole_copy()),
        returns("a"),
        remove("b", ACCEPTED),
    ),
    case(
        "a proof from the future is none: the copy is read again, and was lost meanwhile",
        Before("ab", rows=dict.fromkeys("ab", Known(PRESENT, newly=-600)), really=(loses("b"),)),
        remove("a", sole_copy()),
    ),
    case(
        "the only other copy cannot be read: until it can",
        Before("ab", knows=PROFILES, really=(time_passes(),)),
        refuses("b", Operation.GET, ResultReason.PERMISSION_DENIED),
        remove("a", sole_copy(reason="permission_denied")),
        is_well("b"),
        lies("b"),
        remove("a", sole_copy(reason="different_material")),
        is_well("b"),
        dies("b"),
        remove("a", sole_copy()),
        returns("b"),
        spoils("b"),
        remove("a", sole_copy(reason="different_material")),
        loses("b"),
        remove("a", sole_copy(reason="item_not_found")),
        gets("b"),
        remove("a", ACCEPTED),
    ),
    case(
        "one of several other copies is enough: the next is asked when the first fails",
        Before(
            "abc",
            knows=PROFILES,
            keys=("key", "another"),
            really=(time_passes(), loses("key:b"), loses("another:c")),
        ),
        remove("a", ACCEPTED),
    ),
    case(
        "a member of a cluster may be replaced, the last one not",
        Before("ab", knows=PROFILES, sees={0: (1,)}),
        remove("a", ACCEPTED),
        remove("b", sole_copy()),
    ),
    case(
        "an account of an SVM hears no reason",
        Before("ab", knows=PROFILES, of_svm=True, really=(time_passes(), lies("b"))),
        remove("a", sole_copy()),
    ),
    case(
        "many keys, page by page: the last page counts as the first",
        Before("ab", knows=PROFILES, keys=("1", "2", "3", "4", "5"), page=2, really=(time_passes(), loses("last:b"))),
        remove("a", sole_copy("last")),
        gets("last:b"),
        remove("a", ACCEPTED),
        detached("a"),
    ),
    case(
        "the client certificate is gone: nothing can be proven",
        Before("ab", knows=PROFILES, really=(time_passes(), certificate_is_gone())),
        remove("a", sole_copy(reason="not_readable")),
    ),
    case(
        "one password cannot be opened: its server cannot be asked and may go; the others can",
        Before("ab", really=(password_is_damaged("a"),)),
        remove("b", sole_copy()),
        remove("a", ACCEPTED),
    ),
]
"""Whether the other servers have the keys."""

IN_DOUBT: Final[list[Case]] = [
    *(
        case(
            f"was {presence}: it is asked once more; what it has lost holds it no more; a silent one stays",
            Before("ab", rows={"a": presence, "b": presence}),
            remove("a", sole_copy()),
            loses("a"),
            remove("a", ACCEPTED),
            dies("b"),
            remove("b", sole_copy()),
        )
        for presence in (MISSING, DIFFERENT)
    ),
    *(
        case(
            f"was {presence}, and is there under another identifier: a sweep finds it by its name",
            Before("a", rows={"a": presence}, really=(is_imported_again("a"),)),
            remove("a", sole_copy()),
            sweep("a"),
            rows({"a": PRESENT}),
        )
        for presence in (MISSING, DIFFERENT)
    ),
    case(
        "is there under another identifier, on a server that does not find by name: all its objects are asked for",
        Before("a", kind="locate returns everything", rows={"a": MISSING}, really=(is_imported_again("a"),)),
        remove("a", sole_copy()),
    ),
    *(
        case(
            f"was {presence}, and is there beside one that differs",
            Before("a", rows={"a": presence}, really=(has_two("a", first_differs=presence is DIFFERENT),)),
            remove("a", sole_copy()),
            sweep("a"),
            rows({"a": PRESENT}),
            readable(),
        )
        for presence in (MISSING, DIFFERENT)
    ),
    case(
        "does not say what is beside one that differs: it stays until that is lost",
        Before(
            "a",
            rows={"a": MISSING},
            really=(
                has_two("a", first_differs=True),
                refuses("a", Operation.LOCATE, ResultReason.PERMISSION_DENIED),
            ),
        ),
        remove("a", sole_copy()),
        sweep("a"),
        rows({"a": DIFFERENT}),
        is_well("a"),
        loses_object("a", "imported again"),
        remove("a", ACCEPTED),
    ),
    *(
        case(
            f"hides what was missing, by {reason.name}: that is not lost, and it may not move either",
            Before("a", moves={"a": BACKUP}, rows={"a": MISSING}, really=(refuses("a", Operation.GET, reason),)),
            remove("a", sole_copy()),
            move("a", not_shown()),
        )
        for reason in (ResultReason.PERMISSION_DENIED, ResultReason.GENERAL_FAILURE, ResultReason.ITEM_NOT_FOUND)
    ),
    case(
        "has numbered all objects anew, the canary too: it has lost none, and may not move either",
        Before("a", moves={"a": BACKUP}, rows={"a": MISSING}, really=(is_renumbered("a"),)),
        remove("a", sole_copy()),
        move("a", not_shown()),
        sweep("a"),
        rows({"a": MISSING}),
        keeper_round(),
        rows({"a": PRESENT}),
    ),
    case(
        "an account of an SVM hears no reason of a move or a removal",
        Before("a", moves={"a": BACKUP}, of_svm=True, rows={"a": MISSING}, really=(is_imported_again("a"),)),
        move("a", not_shown()),
        remove("a", sole_copy()),
    ),
]
"""Whether a server that was found without a key really is without it."""

REMOVALS: Final = [*ELSEWHERE, *IN_DOUBT]
