"""What would survive, drawn: key servers that do not respond now, and what a removal would leave."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from keystead.cli.security_key_manager_survival import draw, left_sole, not_responding

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
            {"domains": list(failed), "keys": keys} | ({"key_ids": ["0" * 80]} if keys else {})
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


def server(address: str, *states: str) -> dict[str, Any]:
    """Return a key server as nodes see it."""
    return {"server": address, "connectivity": {"node_states": [{"state": state} for state in states]}}


def test_servers_that_do_not_respond() -> None:
    """A node says so, and none says otherwise; nothing is said of what nobody has looked at."""
    seen = [
        server("down", "not_responding", "unknown"),
        server("up", "not_responding", "available"),
        server("new", "unknown"),
        {"server": "inactive"},
    ]
    assert not_responding(seen) == {"down"}


def test_domains_that_do_not_respond_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """All servers of a domain must be away; how many keys that costs is said."""
    draw(survival(["ac", "ab"]), {"ks1:5696", "ks2:5696", "ks4:5696"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        "domain 1: ks1:5696 (does not respond now)",
        "domain 2: ks2:5696, ks3:5696",
        "domain 3: ks4:5696 (does not respond now)",
        "2 keys: any 1 of 3 domains may fail without a loss",
        "0 keys in one domain only, 0 without a proven copy",
        "2 of 3 domains do not respond now: 1 key cannot be read from key servers",
    ]
    assert lines[lines.index("unreadable after x x x, and 1 more:") + 1] == "0" * 80


def test_one_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    """In words for one: no domain may fail, one does not respond."""
    draw(survival(["a"]), {"ks1:5696"})
    out = capsys.readouterr().out
    assert "1 key: no domain may fail without a loss\n1 key in one domain only" in out
    assert "1 of 3 domains does not respond now: 1 key cannot be read from key servers" in out
