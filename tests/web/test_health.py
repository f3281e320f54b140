"""The page of health: what it says of the nodes and of this one, to whom, and each check in words."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.attention.items import Item, Severity, Subject
from keystead.core.availability import SERVER, UsedCertificate
from keystead.core.keys.model import Incarnation, Lease
from keystead.core.model import ONTAP_LEVEL, Node
from keystead.service.cluster.health import HealthView
from keystead.service.cluster.leases import KEEPER
from keystead.service.ports.process import ListenerFacts, NodeFacts
from keystead.web.health import GIB, _destruction, checks, headline, keeper_of, node_rows
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from keystead.web.health import Check
    from tests.web.conftest import Browser, Site

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
MARKUP = "<b>bold</b>&"
FACTS = NodeFacts("n-1", "sqlite", "0042", "/data", NOON - DAY, 8 * GIB, 10 * GIB, NOON, False, False, (), False)
SHOWN = UsedCertificate("ks1", "1", "Our CA", SERVER, None, "c1", NOON + 89 * DAY, not_before=NOON - DAY)
VIEW = HealthView(
    nodes=(Node("n-1", "one", ONTAP_LEVEL), Node("n-2", "two", ONTAP_LEVEL)),
    keeper=Lease(KEEPER, "n-2/abcd", 1, NOON + DAY),
    incarnation=Incarnation("i", 3, NOON - DAY, "restored", "s", destroys=True),
    own=FACTS,
    not_ready="",
    listener=ListenerFacts("127.0.0.1:8443", SHOWN, 3, 1000),
    time=NOON,
)


def check(view: HealthView, name: str) -> Check:
    """Return one of the checks of a view."""
    (found,) = [each for each in checks(view, ("TLSv1.3", "TLSv1.2")) if each.name == name]
    return found


async def test_a_fresh_cluster(site: Site, browser: Browser) -> None:
    """Its node is up, nobody keeps keys in this process, and there is no backup; loopback is for trials."""
    page = (await browser.log_in(url="/health")).content.decode()
    assert "answers here" in page
    assert "No node has kept keys yet." in page
    assert "This node has made no backup yet." in page
    assert "SQLite answers and commits, with schema " in page
    assert str(site.open_.services.health._facts().folder) in page
    assert "egress_allow lets key servers be on this host" in page
    assert "Take the loopback networks out of KEYSTEAD_EGRESS_ALLOW" in page
    assert "This process has no listener of its own." in page


async def test_a_keeper_and_a_silent_node(site: Site, browser: Browser) -> None:
    """The silent node comes first, and names are text."""
    own = site.open_.services.health._facts().uuid
    later = datetime.now(UTC) + DAY

    def store(tx: Any) -> None:
        tx.put_lease(Lease(KEEPER, f"{own}/abcd", 1, later))
        tx.put_node(Node("gone", MARKUP, ONTAP_LEVEL))
        tx.hear_node(own, datetime.now(UTC))

    await site.open_.store.write(store)
    page = (await browser.log_in("auditor", url="/health")).content.decode()
    assert page.index("silent") < page.index("keeps keys")
    assert "keeps the keys: it writes missing copies" in page
    assert "<b>bold" not in page
    assert "The node has given no sign of life." in page
    assert "/nodes/gone/remove" not in page
    admin = site.browser()
    assert "/nodes/gone/remove" in (await admin.log_in("admin", url="/health")).content.decode()
    assert "node-gone" not in (await admin.submit("/nodes/gone/remove")).content.decode()


@pytest.mark.parametrize("account", ["vs1-admin", "vs1-auditor", "reader"])
async def test_who_may_not_see_it(site: Site, browser: Browser, account: str) -> None:
    """Neither accounts of an SVM nor key readers: it is about the cluster."""
    page = await browser.log_in(account, url="/health")
    assert page.status == 403
    assert site.open_.services.health._facts().folder not in page.content.decode()
    assert b'href="/health"' not in page.content


async def test_a_full_disk(site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told as a check, and as something that needs attention."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=100 * GIB, free=GIB))
    page = (await browser.log_in(url="/health")).content.decode()
    assert "nearly full" in page
    assert "1.0 of 100.0 GiB are free." in page
    assert "of the service itself need attention." in page
    assert site.open_.services.health._facts().free == GIB


async def test_polls_find_nothing_new(browser: Browser) -> None:
    """While nothing but ages and figures change."""
    first = await browser.log_in(url="/health")
    assert (await browser.send("GET", "/health", if_none_match=first.headers["etag"])).status == 304


@pytest.mark.parametrize(
    ("changed", "name", "tone", "word", "said"),
    [
        ({}, "Keeping of keys", Tone.OK, "kept", "two keeps the keys"),
        ({"keeper": None}, "Keeping of keys", Tone.WARN, "nobody", "No node has kept keys yet."),
        ({"time": NOON + 2 * DAY}, "Keeping of keys", Tone.WARN, "nobody", "The last one was two, until"),
        ({"keeper": Lease(KEEPER, "x/1", 1, NOON)}, "Keeping of keys", Tone.WARN, "nobody", "a node that is gone"),
        ({}, "Database", Tone.OK, "ready", "SQLite answers and commits, with schema 0042"),
        ({"not_ready": "it commits nothing"}, "Database", Tone.BAD, "not ready", "calls: it commits nothing (SQLite)"),
        ({}, "Destruction", Tone.OK, "allowed", "incarnation 3"),
        (
            {},
            "Listener",
            Tone.OK,
            "sound",
            "127.0.0.1:8443 with TLSv1.3 and TLSv1.2. The certificate of ks1,",
        ),
        ({"time": NOON + 80 * DAY}, "Listener", Tone.WARN, "ends soon", "ends in 9 days, on 2026-05-29."),
        ({"time": NOON + 90 * DAY}, "Listener", Tone.BAD, "ended", "ended 1 day ago, on 2026-05-29."),
        ({"listener": None}, "Listener", Tone.UNKNOWN, "not known", "no listener of its own"),
    ],
)
def test_checks(changed: dict[str, Any], name: str, tone: Tone, word: str, said: str) -> None:
    """Each state of what all nodes share, and of the listener."""
    found = check(replace(VIEW, **changed), name)
    assert (found.tone, found.word) == (tone, word)
    assert said in found.sentence


@pytest.mark.parametrize(
    ("changed", "name", "tone", "word", "said"),
    [
        ({}, "Backup", Tone.OK, "recent", "The last backup was made"),
        ({"last_backup": NOON - 8 * DAY}, "Backup", Tone.WARN, "old", "The last backup was made"),
        ({"last_backup": None}, "Backup", Tone.UNKNOWN, "none", "This node has made no backup yet."),
        ({"last_backup": None, "made": NOON - 8 * DAY}, "Backup", Tone.WARN, "none", "It was made"),
        ({"makes_bundles": True}, "Backup", Tone.OK, "recent", "The last recovery bundle was made"),
        ({"engine": "postgresql"}, "Database", Tone.OK, "ready", "PostgreSQL answers"),
        ({}, "Disk", Tone.OK, "has room", "/data"),
        ({"free": GIB // 4}, "Disk", Tone.WARN, "nearly full", "/data"),
        ({}, "Audit records of reads", Tone.OK, "stored", "All are in the database."),
        ({"reads_wait": True}, "Audit records of reads", Tone.WARN, "waiting", "on this node's disk"),
        ({}, "Settings", Tone.OK, "for production", "None simulates anything"),
        (
            {"simulated": ("simulate_release",)},
            "Settings",
            Tone.WARN,
            "for trials",
            "simulate_release has calls",
        ),
        ({"allows_loopback": True}, "Settings", Tone.WARN, "for trials", "egress_allow lets"),
    ],
)
def test_checks_of_the_node(changed: dict[str, Any], name: str, tone: Tone, word: str, said: str) -> None:
    """Each state of what a node knows of itself."""
    found = check(replace(VIEW, own=FACTS._replace(**changed)), name)
    assert (found.tone, found.word) == (tone, word)
    assert said in found.sentence


def test_destruction_waits_while_nodes_vouch() -> None:
    """Nobody has to act, so it is no warning."""
    waits = Incarnation("u", 3, NOON, "created", "s", destroys=False, vouching="t", vouching_since=NOON)
    found = _destruction(waits)
    assert (found.tone, found.word, found.time) == (Tone.UNKNOWN, "waits", NOON)


def test_held_destruction_comes_first() -> None:
    """Of checks, the worst comes first; figures of what changes are apart."""
    held = replace(VIEW.incarnation, destroys=False)
    first = checks(replace(VIEW, incarnation=held), ())[0]
    assert (first.name, first.word, first.time) == ("Destruction", "held", NOON - DAY)
    assert "(restored)" in first.sentence
    assert check(VIEW, "Listener").figure == "3 of 1,000 connections are in use."
    assert check(VIEW, "Disk").figure == "8.0 of 10.0 GiB are free."


def test_nodes_in_order() -> None:
    """The silent one first; one keeps keys, one answers."""
    down = replace(VIEW, nodes=(VIEW.nodes[0], replace(VIEW.nodes[1], up=False)))
    assert [(row.of.name, row.is_own, row.keeps, row.word) for row in node_rows(down)] == [
        ("two", False, True, "silent"),
        ("one", True, False, "up"),
    ]
    assert keeper_of(replace(VIEW, keeper=None)) == ""


def test_the_headline() -> None:
    """Counts what needs attention."""
    item, sound = Item(Subject.DISK, "/data", Severity.WARNING, "r", "a", "c"), checks(VIEW, ())[0]
    assert headline([], sound) == (Tone.OK, "Nothing of the service itself needs attention.")
    assert headline([item], sound)[1] == "1 thing of the service itself needs attention."
    assert headline([item, item], sound) == (Tone.WARN, "2 things of the service itself need attention.")


@pytest.mark.parametrize(
    ("changed", "count", "tone", "said"),
    [
        ({"not_ready": "the database commits nothing"}, 0, Tone.BAD, "Database: not ready."),
        ({"not_ready": "the database commits nothing"}, 1, Tone.BAD, "Database: not ready."),
        ({"keeper": None}, 0, Tone.WARN, "Keeping of keys: nobody."),
        ({"keeper": None}, 1, Tone.WARN, "1 thing of the service itself needs attention."),
        ({"listener": None}, 0, Tone.OK, "Nothing of the service itself needs attention."),
    ],
)
def test_a_bad_check_is_in_the_headline(changed: dict[str, Any], count: int, tone: Tone, said: str) -> None:
    """It is as bad as the worst of the items and the checks. What is not known is not bad."""
    item = Item(Subject.DISK, "/data", Severity.WARNING, "r", "a", "c")
    assert headline([item] * count, checks(replace(VIEW, **changed), ())[0]) == (tone, said)


def test_a_node_that_was_stopped() -> None:
    """It is said, not only that it is silent."""
    stopped = replace(VIEW, nodes=(VIEW.nodes[0], replace(VIEW.nodes[1], up=False, has_left=True)))
    assert [(row.of.name, row.word) for row in node_rows(stopped)] == [("two", "stopped"), ("one", "up")]


@pytest.mark.parametrize("up", [True, False])
def test_a_starting_node(*, up: bool) -> None:
    """Is neither silent nor up: it is not known what it sees."""
    starts = replace(VIEW, nodes=(VIEW.nodes[0], replace(VIEW.nodes[1], up=up, starting=True)))
    assert [(row.of.name, row.tone, row.word) for row in node_rows(starts)] == [
        ("two", Tone.UNKNOWN, "starting"),
        ("one", Tone.OK, "up"),
    ]
