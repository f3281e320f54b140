"""What stands below the picture of survival, as tables: combinations, marks, jobs, and key managers in their order."""

from __future__ import annotations

from itertools import combinations as sets_of

from keystead.core.keys.survival import CopyMark
from keystead.web.survival import answer, choose
from keystead.web.survival_tables import (
    IN_DOMAIN,
    already,
    combinations,
    key_rows,
    legend,
    survives,
    weakness,
)
from keystead.web.tones import Tone
from tests.web.outlooks import DOWN, PAIRED, UNKNOWN, group, outlook

# --- combinations ---


def test_one_server() -> None:
    """It is all there is. Without a key or a server there is nothing to say."""
    assert (combinations(outlook("")), key_rows(outlook("ab"))) == ([], [])
    found = outlook("a", group("a", 2))
    (only,) = combinations(found)
    assert [(row.name, row.keys, row.more) for row in only.rows] == [("a.example", 2, 2)]
    assert survives(found.survival).text == "If one more replication domain fails, 2 keys could not be read."
    assert (key_rows(found)[0].readable, key_rows(found)[0].tone) == (1, Tone.WARN)


def test_every_further_failure() -> None:
    """Of one, two and three more domains, the worst first; what is lost already is lost in each."""
    found = outlook("abcd", group("abcd", 5), group("bd", 2), group("d", 1), away={"d": DOWN})
    tables = combinations(found)
    assert [(table.title, table.losing, len(table.rows)) for table in tables] == [
        ("One more fails", 1, 3),
        ("Two more fail", 2, 3),
        ("Three more fail", 1, 1),
    ]
    assert [(row.name, row.keys, row.more) for row in tables[0].rows] == [
        ("b.example", 3, 2),
        ("a.example", 1, 0),
        ("c.example", 1, 0),
    ]
    assert tables[0].rows[0].marks == ("", "fails", "", "gone")
    assert already(found) == "d.example counts as failed in every row: no copy there can be read now."


def test_a_combination_leads_to_its_answer() -> None:
    """The page that a row leads to counts the same keys."""
    found = outlook("abcd", group("abcd", 5), group("ab", 2), group("d", 1), away={"d": DOWN})
    for table in combinations(found):
        for row in table.rows:
            failing = [part.removeprefix("fail=") for part in row.query.split("&")[1:]]
            said = answer(found, choose(found, failing))
            assert said.keys - said.readable == row.keys


def test_at_most_three_are_combined() -> None:
    """Of four domains, all sets of one to three."""
    found = outlook("abcd", group("abcd", 1))
    sizes = [len(table.rows) for table in combinations(found)]
    assert sizes == [len(list(sets_of("abcd", number))) for number in (1, 2, 3)]


def test_unknown_servers_are_named_apart() -> None:
    """Nobody has looked there, so they are not called lost."""
    found = outlook("abcd", group("abcd", 1), away={"a": DOWN, "b": UNKNOWN, "c": UNKNOWN, "d": UNKNOWN})
    assert already(found) == (
        "a.example counts as failed in every row: no copy there can be read now."
        " b.example, c.example and d.example count as failed in every row: no node has looked there."
    )


# --- keys by server ---


def test_the_five_marks() -> None:
    """Each has a word and a shape of its own."""
    found = outlook("abcd", group("ab", 1, c=CopyMark.DIFFERENT, d=CopyMark.UNKNOWN), group("a", 2), away={"b": DOWN})
    rows = key_rows(found)
    assert [[mark.word for mark in row.marks] for row in rows] == [
        ["proven", "missing", "missing", "missing"],
        ["proven", "proven, away", "different", "not known"],
    ]
    assert [(row.keys, row.readable, row.tone, row.share) for row in rows] == [
        (2, 1, Tone.WARN, 66.7),
        (1, 1, Tone.WARN, 33.3),
    ]
    assert len({mark.icon for mark in legend(found)}) == len({mark.word for mark in legend(found)}) == 5


def test_a_copy_in_the_domain_is_enough() -> None:
    """A server of two that replicate needs no copy of its own; one whose domain has none lacks it."""
    found = outlook("abc", group("a", 1), group("c", 1), domain_of=PAIRED)
    words = [[mark.word for mark in row.marks] for row in key_rows(found)]
    assert words == [["proven", IN_DOMAIN.word, "missing"], ["missing", "missing", "proven"]]
    assert legend(found)[-1] is IN_DOMAIN


# --- the list ---


def test_who_survives_least_comes_first() -> None:
    """Lost keys before none; then by how many more domains may fail; without a key last."""
    lost = outlook("ab", group("a", 3), away={"a": DOWN}).survival
    doubtful = outlook("ab", group("a", 2), away={"a": UNKNOWN}).survival
    weak = outlook("ab", group("ab", 1), away={"a": DOWN}).survival
    sound = outlook("abc", group("abc", 9)).survival
    empty = outlook("ab").survival
    ordered = sorted([empty, sound, weak, doubtful, lost], key=weakness)
    assert [survives(each).text for each in ordered] == [
        "3 keys cannot be read.",
        "Of 2 keys it is not known.",
        "If one more replication domain fails, 1 key could not be read.",
        "Any 2 more replication domains may fail without a loss.",
        "There is no key that could be lost.",
    ]
