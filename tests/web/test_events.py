"""The page of events: what it says, to whom, and what its filter finds."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from keystead.core import events
from keystead.core.model import Svm
from keystead.web.events import SEVERITIES
from tests.web.conftest import SVM

if TYPE_CHECKING:
    from keystead.core.model import Event
    from tests.web.conftest import Browser, Site

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
OTHER = Svm("7f1a3ee8-0a2b-4f4e-9a3f-0a4f2f6a2b11", "vs2")
LOST = {
    "address": "ks1:5696",
    "keyserver_status": "not-responding",
    "node_states": "",
    "stage": "tls",
    "reason": "tls_timed_out",
}
MARKUP = "<b>bold</b>&"


async def happened(site: Site, *found: Event) -> None:
    """Store events of the site's node."""
    (node,) = await site.open_.store.read(lambda tx: tx.nodes())
    own = [replace(event, node=node.uuid) for event in found]
    await site.open_.store.write(lambda tx: tx.add_events(own, 1000))


def lost(at: int, svm: Svm | None, vserver: str) -> Event:
    """Return the loss of a key server, some minutes after noon."""
    return events.NOT_AVAILABLE.happened("", NOON + at * MINUTE, svm, {**LOST, "vserver": vserver})


@pytest.fixture
async def three(site: Site) -> None:
    """Two SVMs and the cluster have lost a key server, one minute after the other; one is back."""
    await site.open_.store.write(lambda tx: tx.add_svm(OTHER))
    back = events.AVAILABLE.happened("", NOON + 3 * MINUTE, SVM, {"vserver": "vs1", "address": "ks1:5696"})
    await happened(site, lost(0, SVM, "vs1"), lost(1, OTHER, "vs2"), lost(2, None, MARKUP), back)


async def test_without_an_event(browser: Browser) -> None:
    """The page says so."""
    assert "Nothing was reported yet." in (await browser.log_in(url="/events")).content.decode()
    assert "No event is like this." in (await browser.open("/events?severity=alert")).content.decode()


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("account", ["admin", "auditor"])
async def test_the_newest_comes_first(browser: Browser, account: str) -> None:
    """As a sentence, with the cause; markup in it is text."""
    text = (await browser.log_in(account, url="/events")).content.decode()
    assert text.index("is available for Vserver &#34;vs1&#34;") < text.index("for Vserver &#34;vs2&#34;")
    assert "It failed in stage &#34;tls&#34;, reason &#34;tls_timed_out&#34;." in text
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;&amp;" in text
    assert text.count("<tr>") == 5


@pytest.mark.usefixtures("three")
async def test_what_an_account_of_an_svm_sees(browser: Browser) -> None:
    """The events of its SVM without the causes, and no field for other SVMs. A filter finds nothing of others."""
    text = (await browser.log_in("vs1-auditor", url="/events")).content.decode()
    assert (text.count("<tr>"), "vs2" in text, "bold" in text) == (3, False, False)
    assert "tls_timed_out" not in text
    assert 'name="svm"' not in text
    for query in ("svm=vs2", "text=tls_timed_out", "text=vs2"):
        assert "No event is like this." in (await browser.open(f"/events?{query}")).content.decode()


async def test_who_may_not_see_them(browser: Browser) -> None:
    """A key reader."""
    assert (await browser.log_in("reader", url="/events")).status == 403


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"severity": "alert"}, 3),
        ({"severity": "notice"}, 1),
        ({"svm": "vs1"}, 2),
        ({"svm": "vs*"}, 3),
        ({"text": "is available"}, 1),
        ({"text": "km.keyserver.not"}, 3),
        ({"text": "a*b"}, 0),
        ({"from": "2026-03-01T12:01"}, 3),
        ({"until": "2026-03-01T12:01"}, 1),
        ({"from": "2026-03-01T13:01:00+01:00", "until": "2026-03-01T12:02"}, 1),
    ],
)
async def test_the_filter(browser: Browser, given: dict[str, str], count: int) -> None:
    """By severity, SVM, text and time; the form keeps what it was filled with."""
    await browser.log_in()
    text = (await browser.open(f"/events?{urlencode(given)}")).content.decode()
    assert text.count("<tr>") == (count + 1 if count else 0)
    assert all(html.escape(each) in text for each in given.values())


async def test_pages_of_the_list(site: Site, browser: Browser) -> None:
    """The next page begins where this one ends, and keeps the filter."""
    await happened(site, *(lost(number, SVM, f"v{number:02}") for number in range(53)))
    first = (await browser.log_in(url="/events?severity=alert")).content.decode()
    (link,) = [part.partition('"')[0] for part in first.split('href="') if part.startswith("/events?")]
    assert ("v52" in first, "v03" in first, "v02" in first, "severity=alert" in link) == (True, True, False, True)
    second = (await browser.open(link.replace("&amp;", "&"))).content.decode()
    assert [f"v{number:02}" in second for number in range(4)] == [True, True, True, False]
    assert 'href="/events">The newest' in second


@pytest.mark.parametrize(
    "given",
    [
        {"severity": "odd"},
        {"text": "x" * 256},
        {"text": "a\0b"},
        {"svm": "\n".join("ab")},
        {"from": "yesterday"},
        {"until": "2026-13-01"},
        {"from": "0001-01-01T00:00:00+23:00"},
    ],
)
async def test_bad_parameters(browser: Browser, given: dict[str, str]) -> None:
    """Are refused with a sentence that names the field."""
    await browser.log_in()
    page = await browser.open(f"/events?{urlencode(given)}")
    (name,) = given
    assert page.status == 400
    assert f"Invalid value for field &#34;{name}&#34;" in page.content.decode()


def test_every_severity_has_a_tone() -> None:
    """Also those of events that are added later."""
    assert {kind.severity for kind in events.KINDS.values()} <= set(SEVERITIES)
