"""The first page: what it says of key servers that really are lost, to whom, and in which order."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.keys.away import Away
from keystead.core.model import KeyManager, KeyServer, Observation, PeerCertificate, State, Svm
from keystead.core.outages import Outage
from keystead.core.server_address import ServerAddress
from keystead.service.attention import Overview
from keystead.web.overview import (
    HISTORY,
    HORIZON,
    SOON,
    End,
    folded,
    gaps,
    rows,
    standing,
    state_tone,
    tone_of_end,
    verdict,
)
from keystead.web.rendering import environment
from keystead.web.survival import Sentence
from keystead.web.tones import Tone
from tests.core.attention.test_key_managers import group, watched
from tests.web.conftest import SVM

if TYPE_CHECKING:
    from keystead.core.attention.key_managers import Watched
    from keystead.service.ports.store import Transaction
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.web.conftest import Browser, Site

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERVER = KeyServer("s", "km", 0, ServerAddress("ks1", 5696), 25, 10, "", ("second",))
FINE, LOST, UNKNOWN = State.AVAILABLE, State.NOT_RESPONDING, State.UNKNOWN


def seen(state: State, hours: float, host: str = "", reason: str = "", **more: Any) -> Observation:
    """Return what the node has observed of an address of the server for so many hours."""
    return Observation("n", "s", host, state, NOON - hours * HOUR, "tls" if state is LOST else "", reason, **more)


SECOND = seen(FINE, 9, "second")
ENDS = (PeerCertificate("ks1", "CA", "3F", NOON + HOUR),)


async def test_without_a_key_manager(browser: Browser) -> None:
    """The page says so, and how to make one."""
    page = (await browser.log_in()).content.decode()
    assert "There is no key manager yet." in page
    assert "No key server is lost. There is no key yet." in page


async def test_a_lost_server_comes_first(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Its cell says why, and the verdict counts it."""
    servers = [server.address for server in pykmip_group.primaries[:2]]
    sound = await site.key_manager(pki, servers, svm={"uuid": SVM.uuid})
    lost = await site.key_manager(pki, servers)
    await site.observe(sound, (State.AVAILABLE, ""), (State.AVAILABLE, ""))
    await site.observe(lost, (State.AVAILABLE, ""), (State.NOT_RESPONDING, "server_certificate_expired"))
    page = (await browser.log_in()).content.decode()
    assert "1 key server is lost. There is no key yet." in page
    assert "server certificate expired" in page
    assert page.index(f'id="row-{lost}"') < page.index(f'id="row-{sound}"')
    assert "1 of 2 answer" in page


async def test_more_key_managers_than_a_page_shows(site: Site, browser: Browser) -> None:
    """The worst 25, the worst first; the others are counted by their state."""
    count = 28

    def work(tx: Transaction) -> None:
        (node,) = tx.nodes()
        for number in range(count):
            svm, state = Svm(str(uuid4()), f"svm{number:02}"), LOST if number == count - 1 else FINE
            tx.add_svm(svm)
            tx.add_key_manager(
                KeyManager(f"km{number}", svm, enabled=True, client_certificate="", server_ca_certificates=())
            )
            address = ServerAddress(f"ks{number}", 5696)
            tx.add_key_servers([KeyServer(f"s{number}", f"km{number}", 0, address, 25, 10, "", ())])
            reason = ("tls", "server_certificate_expired") if state is LOST else ("", "")
            tx.put_observations([Observation(node.uuid, f"s{number}", "", state, NOON, *reason)], new=True)

    await site.open_.store.write(work)
    page = (await browser.log_in()).content.decode()
    shown = re.findall(r'id="row-(km\d+)"', page)
    assert len(shown) == len(set(shown)) == 25
    assert shown[0] == f"km{count - 1}"
    assert "1 key server is lost." in page
    assert "3 more key managers: 3 available." in page


async def test_what_an_account_of_an_svm_sees(site: Site, browser: Browser, pki: Pki, pykmip_group: Group) -> None:
    """Its own key manager, without reasons; nothing of the cluster's."""
    servers = [server.address for server in pykmip_group.primaries[:2]]
    own = await site.key_manager(pki, servers, svm={"uuid": SVM.uuid})
    other = await site.key_manager(pki, servers)
    await site.observe(own, (State.AVAILABLE, ""), (State.NOT_RESPONDING, "connection_refused"))
    page = (await browser.log_in("vs1-admin")).content.decode()
    assert f'id="row-{own}"' in page
    assert other not in page
    assert "connection refused" not in page
    assert "connection_refused" not in page
    assert "egress_allow" not in page


async def test_who_may_not_see_it(site: Site, browser: Browser) -> None:
    """A key reader reads keys and nothing else. The denial is in the audit log, as one of the API is."""
    page = await browser.log_in("reader")
    assert page.status == 403
    assert b"Needs attention" not in page.content
    (node,) = await site.open_.store.read(lambda tx: tx.nodes())
    *_, last = await site.open_.store.read(lambda tx: tx.audit_records(node.uuid, 1, 1000))
    assert (last.account, last.method, last.path, last.code) == ("reader", "GET", "/", str(errors.NOT_AUTHORIZED.code))


def test_names_are_text() -> None:
    """Markup in names is shown, never obeyed: templates escape."""
    shown = environment().from_string("{{ name }}").render(name="<img src=x onerror=alert(1)>&\"'")
    assert shown == "&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;"


def found_of(*managers: Watched) -> Overview:
    """Return what was found of key managers, without an item."""
    return Overview([], list(managers), [], [], "c1", NOON)


NEVER_LOOKED = {"a": Away.UNKNOWN, "b": Away.UNKNOWN}
DOWN = {"a": Away.NOT_RESPONDING, "b": Away.NOT_RESPONDING}


@pytest.mark.parametrize(
    ("managers", "said"),
    [
        ([], "There is no key yet."),
        ([((), NEVER_LOOKED)], "There is no key yet."),
        ([([group("ab", 5)], {})], "Every key can be read."),
        ([([group("ab", 5)], {}), ((), NEVER_LOOKED)], "Every key can be read."),
        ([([group("a", 3)], DOWN)], "3 keys cannot be read."),
        ([([group("a", 3)], DOWN), ((), NEVER_LOOKED)], "3 keys cannot be read."),
        (
            [([group("a", 3)], DOWN), ([group("ab", 2)], NEVER_LOOKED)],
            "3 keys cannot be read. Of 2 more keys it is not",
        ),
        ([([group("ab", 1)], NEVER_LOOKED)], "Of 1 key it is not known yet."),
    ],
)
def test_a_loss_is_never_hidden_by_a_doubt(managers: list[Any], said: str) -> None:
    """What cannot be read for sure comes first. A key manager without keys raises no doubt."""
    shown = verdict(found_of(*(watched(groups=groups, away=away) for groups, away in managers)))
    assert shown.headline.startswith(f"No key server is lost. {said}")


@pytest.mark.parametrize(
    ("away", "tone", "text"),
    [
        ({}, Tone.OK, "Any one more replication domain may fail without a loss."),
        (NEVER_LOOKED, Tone.UNKNOWN, "Of 5 keys it is not known."),
        (DOWN, Tone.BAD, "5 keys cannot be read."),
    ],
)
def test_after_a_restart_nothing_is_called_lost(away: dict[str, Away], tone: Tone, text: str) -> None:
    """While no node has looked, the row says that it is not known."""
    (row,), _ = rows(found_of(watched(groups=[group("ab", 5)], away=away)), {})
    assert row.said == Sentence(tone, text)


@pytest.mark.parametrize(
    ("states", "tone"),
    [
        ([], Tone.UNKNOWN),
        ([State.UNKNOWN], Tone.UNKNOWN),
        ([State.AVAILABLE], Tone.OK),
        ([State.AVAILABLE, State.UNKNOWN], Tone.UNKNOWN),
        ([State.AVAILABLE, State.NOT_RESPONDING], Tone.BAD),
    ],
)
def test_the_worst_node_counts(states: list[State], tone: Tone) -> None:
    """A state that no node knows is neither good nor bad."""
    assert state_tone(Observation(str(at), "s", "", state, NOON) for at, state in enumerate(states)) is tone


@pytest.mark.parametrize(
    ("observed", "away", "tone", "note", "hours"),
    [
        ([], None, Tone.UNKNOWN, "no node has looked yet", None),
        ([seen(UNKNOWN, 2, reason="look_failed"), SECOND], None, Tone.UNKNOWN, "look failed", 2),
        ([seen(UNKNOWN, 2), SECOND], None, Tone.UNKNOWN, "", 2),  # an account of an SVM sees no reason
        ([seen(FINE, 5), SECOND], None, Tone.OK, "", 5),
        ([seen(FINE, 5, certificates=ENDS), SECOND], None, Tone.WARN, "certificate ends in 1 hour", 5),
        ([seen(LOST, 3), SECOND], None, Tone.WARN, "tls failed", 3),
        ([seen(LOST, 3, reason="not_tls"), SECOND], Away.NOT_RESPONDING, Tone.BAD, "not tls", 3),
        ([seen(FINE, 5), seen(LOST, 3, "second")], None, Tone.WARN, "a secondary is lost", 3),
        ([seen(FINE, 5)], None, Tone.WARN, "the state of a secondary is not known", 5),
        (
            [seen(FINE, 5, hidden_since=NOON - HOUR), SECOND],
            Away.KEYS_HIDDEN,
            Tone.BAD,
            "does not show our keys",
            1,
        ),
    ],
)
def test_how_a_server_stands(
    observed: list[Observation], away: Away | None, tone: Tone, note: str, hours: float | None
) -> None:
    """With its secondaries, why, and since when: a server that hides its keys since it does so."""
    found = standing(SERVER, observed, away, NOON)
    assert (found.tone, found.note) == (tone, note)
    assert found.since == (None if hours is None else NOON - hours * HOUR)


@pytest.mark.parametrize(("begin", "end", "gap"), [(24, 12, (0.0, 50.0)), (6, 0, (75.0, 25.0)), (0.01, 0, (99.2, 0.8))])
def test_outages_are_places_in_a_day(begin: float, end: float, gap: tuple[float, float]) -> None:
    """In percent; a short one can still be seen, and stays inside."""
    assert gaps([Outage(NOON - begin * HOUR, NOON - end * HOUR)], NOON, HISTORY) == (gap,)


@pytest.mark.parametrize(
    ("left", "tone", "place"),
    [
        (-HOUR, Tone.BAD, 0.0),
        (SOON - HOUR, Tone.WARN, 15.0),
        (SOON, Tone.OK, 15.0),
        (HORIZON, Tone.OK, 100.0),
    ],
)
def test_when_certificates_end(left: timedelta, tone: Tone, place: float) -> None:
    """Ended, within a month, later."""
    end = End("cn", "ours", "CA", left, NOON)
    assert (end.tone, end.place) == (tone, place)
    assert tone_of_end(None) is Tone.UNKNOWN


def test_what_a_page_does_not_show_is_counted() -> None:
    """By state, the worst first."""
    assert (
        folded([Tone.OK, Tone.OK, Tone.UNKNOWN, Tone.BAD]) == "4 more key managers: 1 lost, 1 not known, 2 available."
    )
    assert folded([]) == ""
