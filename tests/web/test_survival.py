"""What the page of survival says: of failures now and chosen, of keys that are lost, of new keys, of domains."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.away import Away
from keystead.core.keys.survival import KeyName
from keystead.web.survival import answer, cards, choose, new_keys
from keystead.web.tones import Tone
from tests.web.outlooks import DOWN, MANAGER, PAIRED, UNKNOWN, group, outlook

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
def test_what_fails(away: dict[str, Away], asked: list[str] | None, fails: str, servers: str, is_now: bool) -> None:
    """Domains that cannot be read now have failed, until somebody chooses otherwise."""
    choice = choose(outlook("abc", group("abc", 1), domain_of=PAIRED, away=away), asked)
    assert (set(choice.domains), set(choice.servers), choice.is_now) == (set(fails), set(servers), is_now)


def test_a_stranger_fails_nothing() -> None:
    """What is no domain is left out, and named once."""
    choice = choose(outlook("ab", group("ab", 1)), ["nobody", "a", "nobody"])
    assert (set(choice.domains), choice.strangers) == ({"a"}, ("nobody",))


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
    assert (surely.keys[0], len(surely.keys), surely.more) == (KeyName("a0", "a-00"), 10, 2)
    assert ([key.name for key in doubtful.keys], doubtful.more) == (["b-00", "b-01"], 0)


@pytest.mark.parametrize("away", [{}, {"a": DOWN}, {"a": UNKNOWN}, {"a": DOWN, "b": DOWN}])
def test_without_a_key_nothing_is_lost(away: dict[str, Away]) -> None:
    """Whatever the servers do."""
    found = outlook("ab", away=away)
    said = answer(found, choose(found, None))
    assert (said.tone, said.headline, said.lost) == (Tone.OK, "There is no key that could be lost.", ())


def test_without_servers_nothing_breaks() -> None:
    """No picture; the keys are lost, and new ones are refused."""
    found = outlook("", group("", 3), refusal=OntapError(errors.NO_KEY_SERVERS))
    said = answer(found, choose(found, None))
    assert cards(found, choose(found, None)) == []
    assert (said.readable, said.left) == (0, ())
    assert said.new_keys.text == "New keys are refused. No key servers found."


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


@pytest.mark.parametrize("kind", [errors.NOT_ENABLED, errors.CERTIFICATE_NOT_INSTALLED, errors.NO_KEY_SERVERS])
def test_what_refuses_all_keys(kind: errors.ErrorKind) -> None:
    """Whatever the servers do; with ONTAP's text and code."""
    found = outlook("ab", refusal=OntapError(kind))
    shown = new_keys(found, choose(found, None))
    assert (shown.tone, shown.code) == (Tone.BAD, kind.code)
    assert shown.text == f"New keys are refused. {OntapError(kind).message}"


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


def test_a_key_manager_that_is_not_enabled() -> None:
    """The page says that nobody looks at its key servers."""
    said = {}
    for enabled in (True, False):
        found = outlook("ab", group("ab", 1), manager=replace(MANAGER, enabled=enabled))
        said[enabled] = " ".join(answer(found, choose(found, None)).notes)
    assert said == {True: "", False: "This key manager is not enabled: no node looks at its key servers."}


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
