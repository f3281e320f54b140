"""The survival report as text, and what a removal would leave."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from keystead.cli.security_key_manager_survival import draw, left_sole

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVERS = {"a": ["ks1:5696"], "b": ["ks2:5696", "ks3:5696"], "c": ["ks4:5696"]}


def survival(covers: Sequence[str]) -> dict[str, Any]:
    """Return what the service says of keys; each is named by the domains that hold a proven copy of it."""
    sets = [failed for number in (1, 2, 3) for failed in combinations("abc", number)]
    lost = {failed: sum(set(cover) <= set(failed) for cover in covers) for failed in sets}
    return {
        "keys": len(covers),
        "survives": min((len(failed) for failed, keys in lost.items() if keys), default=4) - 1,
        "sole_copies": sum(len(cover) == 1 for cover in covers),
        "unproven": sum(not cover for cover in covers),
        "domains": [{"uuid": uuid, "servers": servers} for uuid, servers in SERVERS.items()],
        "losses": [
            {"domains": list(failed), "keys": keys, "key_names": ["vol1", "vol2", "vol3", "vol4"][:keys]}
            for failed, keys in lost.items()
        ],
    }


@pytest.mark.parametrize(
    ("covers", "removed", "sole"),
    [
        (["abc", "abc"], ["ks1"], 0),
        (["abc", "ab", "bc"], ["KS1:5696"], 1),
        (["abc", "ab", "bc"], ["ks1", "ks4"], 3),
        (["ab", ""], ["ks1"], 1),
        (["ab"], ["ks2"], 0),
        (["ab"], ["ks2", "ks3"], 1),
        (["a"], [], 1),
        (["a"], ["192.0.2.1"], 0),
        ([], ["ks1"], 0),
        (["ab"], ["no address:"], 0),
    ],
)
def test_keys_with_one_domain_left(covers: list[str], removed: list[str], sole: int) -> None:
    """A domain goes when all its servers go, however they are spelled; keys without a proven copy do not count."""
    assert left_sole(survival(covers), removed) == sole


def now(**fields: Any) -> dict[str, Any]:
    """Return what the service says of this moment: all is well but for these fields."""
    return {
        "now": {"survives": 1, "at_risk": 2, "unreadable": 0, "oldest_proof": "2026-03-01T12:00:00.5+00:00"} | fields
    }


@pytest.mark.parametrize(
    ("fields", "keys", "said"),
    [
        ({}, 2, "Right now 1 more domain may fail. 2 keys would be lost with 2."),
        ({"survives": 0, "at_risk": 1}, 2, "Right now no more domain may fail. 1 key would be lost with 1."),
        (
            {"unreadable": 5, "unreadable_key_names": ["a", "b", "c", "d", "e"], "survives": 0, "at_risk": 6},
            9,
            (
                "Right now 5 keys cannot be read from any key server: a, b, c and 2 more."
                " 1 more key would be lost with 1 more domain."
            ),
        ),
        (
            {"unreadable": 1, "unreadable_key_names": ["a"], "survives": 0, "at_risk": 1},
            1,
            "Right now 1 key cannot be read from any key server: a.",
        ),
        (
            {"away": [{"server": "ks1:5696", "reason": "unknown"}], "unreadable": 1, "at_risk": 1, "survives": 0},
            1,
            "Right now nobody knows which keys can be read: no node has looked at the key servers yet.",
        ),
        ({}, 0, "There is no key in use, and none that can be recovered."),
    ],
)
def test_the_first_line_is_the_present(
    capsys: pytest.CaptureFixture[str], fields: dict[str, Any], keys: int, said: str
) -> None:
    """How many more domains may fail, or which keys cannot be read; then the age of the proof."""
    draw(survival(["abc"] * keys) | now(**fields))
    assert capsys.readouterr().out.splitlines()[:2] == [
        said,
        "The oldest proof that this rests on is of 2026-03-01T12:00:00+00:00.",
    ]


def test_servers_that_are_away_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with the reason; then what could fail while all others answer."""
    away = [{"server": "ks1:5696", "reason": "not_responding"}, {"server": "ks3:5696", "reason": "keys_hidden"}]
    draw(survival(["ac", "ab"]) | now(away=away))
    lines = capsys.readouterr().out.splitlines()
    assert lines[3:8] == [
        "domain 1: ks1:5696 (does not respond)",
        "domain 2: ks2:5696, ks3:5696 (does not show its keys)",
        "domain 3: ks4:5696",
        "2 keys: any 1 of 3 domains may fail while all others answer",
        "0 keys in one domain only, 0 without a proven copy",
    ]
    assert "unreadable after x x x: vol1, vol2" in lines


def test_patterns_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Keys whose copies lie alike are one paragraph; those beyond the tenth pattern are counted."""
    copies = [{"server": "ks1:5696", "state": "proven"}, {"server": "ks4:5696", "state": "proven_away"}]
    pattern = {
        "keys": 5,
        "key_names": ["a", "b", "c", "d"],
        "oldest_proof": "2026-03-01T12:00:00+00:00",
        "copies": copies,
    }
    draw(survival(["abc"]) | now() | {"patterns": [pattern, *[{"keys": 2, "key_names": ["e", "f"]}] * 11]})
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("5 keys: a, b, c and 2 more, oldest proof 2026-03-01T12:00:00+00:00")
    assert lines[start + 1 : start + 5] == ["  ks1:5696: proven", "  ks4:5696: proven, away", "", "2 keys: e, f"]
    assert lines[-1] == "4 keys more lie otherwise: --output json"
