"""What the page of survival says, as tables: of failures now and chosen, of new keys, of combinations, of marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations as sets_of

import pytest

from keystead.core import errors
from keystead.core.keys.away import Away
from keystead.core.keys.survival import CopyMark, KeyGroup, KeyName, survival
from keystead.core.model import Job, JobState, KeyManager, KeyServer
from keystead.core.server_address import ServerAddress
from keystead.service.keys.reporting.survival import Outlook
from keystead.web.survival import REFUSALS, answer, cards, choose, new_keys, query_of
from keystead.web.survival_tables import (
    IN_DOMAIN,
    already,
    combinations,
    job_line,
    key_rows,
    legend,
    survives,
    weakness,
)
from keystead.web.tones import Tone

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MANAGER = KeyManager("km", None, True, "client", ("ca",))
PAIRED = {"a": "a", "b": "a", "c": "c"}
DOWN, UNKNOWN = Away.NOT_RESPONDING, Away.UNKNOWN


def group(holders: str, keys: int, **marks: CopyMark) -> KeyGroup:
    """Return keys whose proven copies are on these servers; the other servers lack them unless ``marks`` say more."""
    times = dict.fromkeys(map(frozenset, holders), NOON)
    named = tuple(KeyName(f"{holders}{number}", f"{holders}-{number:02}") for number in range(keys))
    others = {name: CopyMark.MISSING for name in "abcd" if name not in holders} | marks
    return KeyGroup(frozenset(times), keys, times, named, others)


def outlook(
    names: str,
    *groups: KeyGroup,
    domain_of: dict[str, str] | None = None,
    away: dict[str, Away] | None = None,
    shared: str = "",
    **facts: object,
) -> Outlook:
    """Return the outlook of servers whose uuids are letters. ``shared`` is a secondary of the first two."""
    servers = tuple(
        KeyServer(
            name,
            "km",
            position,
            ServerAddress(f"{name}.example", 5696),
            25,
            10,
            "",
            (shared,) if shared and position < 2 else (),
        )
        for position, name in enumerate(names)
    )
    of = {name: (domain_of or {}).get(name, name) for name in names}
    gone = away or {}
    at_primary = {name: "" for name in names if name not in gone}
    given = {"readable_at": at_primary, "unlearned": frozenset(), "refusal": None, "manager": MANAGER} | facts
    return Outlook(vserver="vs1", servers=servers, domain_of=of, survival=survival(servers, of, groups, gone), **given)  # type: ignore[arg-type]


# --- what fails ---


@pytest.mark.parametrize(
    ("away", "asked", "fails", "servers", "is_now"),
    [
        pytest.param({}, None, "", "", True, id="all answer"),
        pytest.param({"c": DOWN}, None, "c", "c", True, id="what is lost has failed"),
        pytest.param({"c": DOWN}, ["a"], "a", "ab", False, id="the lost one is back"),
        pytest.param({"c": DOWN}, ["c"], "c", "c", True, id="the same as now"),
        pytest.param({"c": DOWN}, [], "", "", False, id="nothing fails"),
        pytest.param({"b": DOWN}, None, "", "b", True, id="one of two is lost: its domain answers"),
        pytest.param({"b": DOWN}, ["c"], "c", "bc", False, id="it stays lost"),
        pytest.param({"b": DOWN}, ["a"], "a", "ab", False, id="the domain fails with both"),
    ],
)
def test_what_fails(away: dict[str, Away], asked: list[str] | None, fails: str, servers: str, is_now: bool) -> None:  # noqa: FBT001
    """Domains that cannot be read now have failed, until somebody chooses otherwise."""
    choice = choose(outlook("abc", group("abc", 1), domain_of=PAIRED, away=away), asked)
    assert (choice.domains, choice.servers, choice.is_now) == (set(fails), set(servers), is_now)
    assert choice.query == ("" if is_now else query_of(fails))


def test_a_stranger_fails_nothing() -> None:
    """What is no domain is left out, and named once."""
    choice = choose(outlook("ab", group("ab", 1)), ["nobody", "a", "nobody"])
    assert (choice.domains, choice.strangers) == ({"a"}, ("nobody",))


# --- the answer ---


@pytest.mark.parametrize(
    ("away", "asked", "tone", "readable", "headline"),
    [
        pytest.param({}, None, Tone.OK, 8, "Every key can be read.", id="all answer"),
        pytest.param({}, ["b"], Tone.OK, 8, "Nothing is lost: every key could be read.", id="nothing lost"),
        pytest.param({}, ["a"], Tone.BAD, 5, "3 keys could not be read.", id="lost"),
        pytest.param({"a": DOWN}, None, Tone.BAD, 5, "3 keys cannot be read.", id="lost now"),
        pytest.param({"a": UNKNOWN}, None, Tone.UNKNOWN, 5, "Of 3 keys it is not known.", id="not known"),
        pytest.param(
            {"a": DOWN, "b": UNKNOWN, "c": UNKNOWN},
            None,
            Tone.BAD,
            0,
            "3 keys cannot be read. Of 5 more keys it is not known.",
            id="both",
        ),
        pytest.param({"a": UNKNOWN}, ["a", "b"], Tone.BAD, 5, "3 keys could not be read.", id="chosen to fail"),
    ],
)
def test_the_answer(away: dict[str, Away], asked: list[str] | None, tone: Tone, readable: int, headline: str) -> None:
    """How many keys can be read; what nobody knows is neither lost nor readable."""
    found = outlook("abc", group("abc", 5), group("a", 3), away=away)
    said = answer(found, choose(found, asked))
    assert (said.tone, said.readable, said.keys, said.headline) == (tone, readable, 8, headline)


def test_lost_keys_are_named() -> None:
    """The first ten, and how many more; apart from those of which it is not known."""
    found = outlook("abc", group("a", 12), group("b", 2), away={"a": DOWN, "b": UNKNOWN})
    surely, doubtful = answer(found, choose(found, None)).lost
    assert (surely.names[0], len(surely.names), surely.more) == ("a-00", 10, 2)
    assert (doubtful.names, doubtful.more) == (("b-00", "b-01"), 0)


@pytest.mark.parametrize("away", [{}, {"a": DOWN}, {"a": UNKNOWN}, {"a": DOWN, "b": DOWN}])
def test_without_a_key_nothing_is_lost(away: dict[str, Away]) -> None:
    """Whatever the servers do."""
    found = outlook("ab", away=away)
    said = answer(found, choose(found, None))
    assert (said.tone, said.headline, said.lost) == (Tone.OK, "There is no key that could be lost.", ())
    assert survives(found.survival).text == "There is no key that could be lost."
    assert key_rows(found) == []


def test_one_server() -> None:
    """It is all there is."""
    found = outlook("a", group("a", 2))
    (only,) = combinations(found)
    assert [(row.name, row.keys, row.more) for row in only.rows] == [("a.example", 2, 2)]
    assert survives(found.survival).text == "If one more replication domain fails, 2 keys could not be read."
    assert (key_rows(found)[0].domains, key_rows(found)[0].tone) == (1, Tone.WARN)


def test_without_servers_nothing_breaks() -> None:
    """No picture, no combination; the keys are lost, and new ones are refused."""
    found = outlook("", group("", 3), refusal=errors.NO_KEY_SERVERS)
    said = answer(found, choose(found, None))
    assert (cards(found, choose(found, None)), combinations(found)) == ([], [])
    assert (said.readable, said.left) == (0, ())
    assert said.new_keys.text == "New keys are refused: the key manager has no key server."


# --- new keys ---


@pytest.mark.parametrize(
    ("names", "facts", "asked", "tone", "said"),
    [
        ("abcd", {}, None, Tone.OK, "Enough servers answer for new keys: 3 copies are needed, 4 servers answer."),
        (
            "abcd",
            {"away": {"d": DOWN}},
            None,
            Tone.OK,
            "Enough servers answer for new keys: 3 copies are needed, 3 servers answer.",
        ),
        (
            "abcd",
            {"away": {"c": DOWN, "d": Away.KEYS_HIDDEN}},
            None,
            Tone.BAD,
            "New keys are refused: 3 copies are needed, 2 servers answer.",
        ),
        (
            "abcd",
            {},
            ["a", "b", "c"],
            Tone.BAD,
            "New keys would be refused: 3 copies are needed, 1 server is left.",
        ),
        (
            "abcd",
            {},
            ["a"],
            Tone.OK,
            "Enough servers would be left for new keys: 3 copies are needed, 3 servers are left.",
        ),
        (
            "abcd",
            {"away": {"c": DOWN, "d": UNKNOWN}},
            None,
            Tone.UNKNOWN,
            "Whether new keys are accepted is not known: 3 copies are needed, 2 servers surely take them, 1 perhaps.",
        ),
        (
            "abcd",
            {"away": {"b": DOWN, "c": DOWN, "d": UNKNOWN}},
            None,
            Tone.BAD,
            "New keys are refused: 3 copies are needed, 1 server surely takes them, 1 perhaps.",
        ),
        (
            "ab",
            {"unlearned": frozenset("ab")},
            None,
            Tone.UNKNOWN,
            "Whether new keys are accepted is not known: 2 copies are needed, 0 servers surely take them, 2 perhaps.",
        ),
        (
            "abc",
            {"domain_of": PAIRED},
            None,
            Tone.OK,
            "Enough servers answer for new keys: 2 copies are needed, 2 replication domains answer.",
        ),
        (
            "ab",
            {"manager": replace(MANAGER, min_copies=3)},
            None,
            Tone.BAD,
            "New keys are refused: 3 copies are needed, 2 servers answer.",
        ),
        (
            "a",
            {"manager": replace(MANAGER, min_copies=1)},
            None,
            Tone.OK,
            "Enough servers answer for new keys: 1 copy is needed, 1 server answers.",
        ),
    ],
)
def test_new_keys(names: str, facts: dict[str, object], asked: list[str] | None, tone: Tone, said: str) -> None:
    """By the rule of their creation: so many replication domains must hold a proven copy."""
    found = outlook(names, group(names, 1), **facts)  # type: ignore[arg-type]
    shown = new_keys(found, choose(found, asked))
    assert (shown.tone, shown.text.removesuffix(" A full server would still refuse.")) == (tone, said)


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_refuses_all_keys(kind: errors.ErrorKind) -> None:
    """Whatever the servers do; with ONTAP's code."""
    found = outlook("ab", refusal=kind)
    shown = new_keys(found, choose(found, None))
    assert (shown.tone, shown.code) == (Tone.BAD, kind.code)


def test_a_shared_secondary_is_one_place() -> None:
    """Two servers that only it answers for hold one copy of a new key; and none if another that shares it fails."""
    found = outlook("ab", group("ab", 1), shared="s.example", readable_at={"a": "s.example", "b": "s.example"})
    text = "New keys are refused: 2 copies are needed, 1 server answers."
    assert new_keys(found, choose(found, None)).text == text
    half = replace(found, readable_at={"a": "s.example", "b": ""})
    assert new_keys(half, choose(half, ["b"])).text.endswith("2 copies are needed, 0 servers are left.")
    notes = " ".join(answer(found, choose(found, None)).notes)
    assert "share a secondary" in notes
    assert "share a secondary" not in " ".join(answer(outlook("ab"), choose(outlook("ab"), None)).notes)
    assert cards(found, choose(found, None))[0].servers[0].word == "only its secondary s.example answers"


# --- the picture ---


@pytest.mark.parametrize(
    ("away", "asked", "states"),
    [
        ({}, None, ["all answer", "answers"]),
        ({"c": DOWN}, None, ["all answer", "lost now"]),
        ({"c": UNKNOWN}, None, ["all answer", "not known"]),
        ({"c": UNKNOWN}, ["c", "a"], ["fails", "fails"]),
        ({"c": DOWN}, ["a"], ["fails", "as if it were back"]),
        ({"b": DOWN}, None, ["1 of 2 servers answer", "answers"]),
        ({"a": DOWN, "b": UNKNOWN}, None, ["lost now", "answers"]),
    ],
)
def test_how_domains_stand(away: dict[str, Away], asked: list[str] | None, states: list[str]) -> None:
    """Now, and as somebody chose."""
    found = outlook("abc", group("ac", 4), domain_of=PAIRED, away=away)
    shown = cards(found, choose(found, asked))
    assert [card.word for card in shown] == states
    assert [(card.name, card.keys, card.share) for card in shown] == [
        ("a.example + b.example", 4, 100.0),
        ("c.example", 4, 100.0),
    ]
    assert [card.place for card in shown] == [25.0, 75.0]


def test_a_declared_domain_has_its_name() -> None:
    """Else it is named by its servers."""
    found = outlook("abc", domain_of=PAIRED)
    named = [replace(server, replication_domain="fin-a") if server.uuid in "ab" else server for server in found.servers]
    found = replace(found, servers=tuple(named))
    assert [card.name for card in cards(found, choose(found, None))] == ["fin-a", "c.example"]


# --- combinations ---


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
    found = outlook("abc", group("abc", 1), away={"a": DOWN, "b": UNKNOWN, "c": UNKNOWN})
    assert already(found) == (
        "a.example counts as failed in every row: no copy there can be read now."
        " b.example and c.example count as failed in every row: no node has looked there."
    )


# --- keys by server ---


def test_the_five_marks() -> None:
    """Each has a word and a shape of its own."""
    found = outlook(
        "abcd", group("ab", 1, c=CopyMark.DIFFERENT, d=CopyMark.UNKNOWN), group("a", 2), away={"b": DOWN}
    )
    rows = key_rows(found)
    assert [[mark.word for mark in row.marks] for row in rows] == [
        ["proven", "missing", "missing", "missing"],
        ["proven", "proven, away", "different", "not known"],
    ]
    assert [(row.keys, row.domains, row.tone, row.share) for row in rows] == [
        (2, 1, Tone.WARN, 66.7),
        (1, 2, Tone.OK, 33.3),
    ]
    assert len({mark.icon for mark in legend(found)}) == len({mark.word for mark in legend(found)}) == 5


def test_a_copy_in_the_domain_is_enough() -> None:
    """A server of two that replicate needs no copy of its own; one whose domain has none lacks it."""
    found = outlook("abc", group("a", 1), group("c", 1), domain_of=PAIRED)
    words = [[mark.word for mark in row.marks] for row in key_rows(found)]
    assert words == [["proven", IN_DOMAIN.word, "missing"], ["missing", "missing", "proven"]]
    assert legend(found)[-1] is IN_DOMAIN


# --- jobs, and the list ---


@pytest.mark.parametrize(
    ("state", "message", "shown"),
    [
        (JobState.RUNNING, "3 of 8 records complete.", (Tone.UNKNOWN, "runs", "3 of 8 records complete.")),
        (JobState.SUCCESS, "success", (Tone.OK, "done", "")),
        (JobState.SUCCESS, "2 copies written", (Tone.OK, "done", "2 copies written")),
        (JobState.FAILURE, "Too few.", (Tone.BAD, "failed", "Too few.")),
    ],
)
def test_jobs(state: JobState, message: str, shown: tuple[Tone, str, str]) -> None:
    """How far a job is."""
    line = job_line(Job("j", "n", None, "admin", "POST /x", state, message, 0, "", NOON), "Prove")
    assert (line.tone, line.state, line.message) == shown


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
