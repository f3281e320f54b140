"""An open page keeps itself true: values change in place, nothing moves under the reader, and old values say so.

The browser's clock is wound on by the test; the service, its key servers and the requests are real.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from playwright.async_api import expect

from keystead.testing.key_servers import KeyServers
from tests.web.browser import scripts
from tests.web.browser.chromium import Visits, in_browser
from tests.web.browser.world import PATHS, QUICK, make_key, make_svm, page_of, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, Locator, Page, Response

    from tests.peers.keystead import Client, Installation, Service
    from tests.web.browser.chromium import Visitor
    from tests.web.browser.world import World

pytestmark = [*in_browser, pytest.mark.long]

POLL_MS: Final = 5_000
SOUND: Final = "cell warn"
"""The class of a sound server's cell: the certificates of tests end within a month."""


@dataclass
class Watched:
    """A service with one SVM, of which nothing is lost yet."""

    service: Service
    call: Client
    servers: KeyServers
    key_manager: str

    def lose(self, number: int) -> None:
        """Have a key server refuse connections, and wait until the service knows. The others are sound."""
        self.servers[number].kill()
        states = len(self.servers) * ["available"]
        states[number] = "not_responding"
        settled(self.call, self.key_manager, states)


@pytest.fixture
def watched(installation: Installation) -> Iterator[Watched]:
    """A service of the test's own, with a key."""
    with (
        KeyServers(2, one_ca=True) as servers,
        replace(installation, settings=QUICK).serving() as service,
        service.client() as call,
    ):
        manager, _ = make_svm(call, "vs1", [each.address for each in servers], servers.client, servers.cas)
        settled(call, manager, ["available", "available"])
        make_key(call, manager, "vol1")
        yield Watched(service, call, servers, manager)


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(chromium: Browser, watched: Watched) -> AsyncIterator[Visitor]:
    """The administrator at the overview, whose clock stands still. The page has asked once, so it knows its tag."""
    visits = Visits(chromium, watched.service.url)
    made = await visits.visitor("admin")
    now = datetime.now(UTC)
    await made.page.clock.install(time=now)
    await made.open("/")
    await made.page.clock.pause_at(now + timedelta(seconds=60))
    await poll(made.page)
    yield made
    await visits.close()


async def poll(page: Page) -> Response:
    """Let the page ask, and wait for the answer to be taken. Return it."""
    async with page.expect_response(lambda answer: "x-poll" in answer.request.headers) as asked:
        await page.clock.run_for(POLL_MS)
    answer = await asked.value
    await answer.finished()
    await page.evaluate("() => new Promise((done) => queueMicrotask(done))")
    return answer


def cell(page: Page, number: int) -> Locator:
    """Return the cell of a primary key server."""
    return page.locator("td.cell").nth(number)


async def test_values_change_in_place(watched: Watched, visitor: Visitor) -> None:
    """The page is the same page: what was marked on it, its focus and the cell itself stay."""
    page = visitor.page
    await page.evaluate("document.body.dataset.same = 'yes'; document.querySelector('td.cell').before = 'kept'")
    await page.get_by_role("button", name="Dark").focus()
    await expect(cell(page, 0)).to_have_class(SOUND)
    watched.lose(0)
    await poll(page)
    await expect(cell(page, 0)).to_have_class("cell bad")
    await expect(cell(page, 0)).to_contain_text("connection refused")
    assert await page.evaluate("document.body.dataset.same") == "yes"
    assert await page.evaluate("document.querySelector('td.cell').before") == "kept"
    await expect(page.get_by_role("button", name="Dark")).to_be_focused()


async def test_ages_go_on(visitor: Visitor) -> None:
    """What changes without news, as an age or a latency, is read once a minute."""
    page = visitor.page
    latency = page.locator(".latency").first
    shown = await latency.inner_text()
    await latency.evaluate("(node) => { node.textContent = 'old'; }")
    answers = [await poll(page) for _ in range(12)]
    assert sum("if-none-match" not in each.request.headers for each in answers) == 1
    await expect(latency).not_to_have_text("old")
    assert shown.endswith("ms")


@pytest.mark.parametrize("path", PATHS)
async def test_every_page_stays_live(visits: Visits, shown: World, path: str) -> None:
    """It takes the answers of its polls, without an error."""
    visitor = await visits.visitor("admin")
    page, now = visitor.page, datetime.now(UTC)
    await page.clock.install(time=now)
    await visitor.open(page_of(path, shown))
    await page.clock.pause_at(now + timedelta(seconds=60))
    for _ in range(3):
        await poll(page)
    await page.clock.run_for(1_000)
    await expect(page.locator("#fresh-text")).to_have_text("Live")
    assert visitor.complaints == []


async def test_a_refused_form_asks_nothing(visits: Visits) -> None:
    """Its path takes forms only, so what it says stays as it is."""
    visitor = await visits.visitor("admin")
    page, now = visitor.page, datetime.now(UTC)
    await page.clock.install(time=now)
    await visitor.open("/create-account")
    await page.get_by_label("Name").fill("ab")
    await visitor.submit("Create")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.clock.run_for(4 * POLL_MS)
    assert asked == []
    await expect(page.locator(".fresh")).to_contain_text("As of")


@pytest.mark.parametrize("holds", ["pointer", "focus"])
async def test_what_somebody_holds_stays(watched: Watched, visitor: Visitor, holds: str) -> None:
    """What has the pointer or the focus is not changed under it. The page says so, and shows it when asked to."""
    page = visitor.page
    if holds == "pointer":
        await cell(page, 0).hover()
    else:
        await cell(page, 0).evaluate("(node) => { node.tabIndex = 0; node.focus(); }")
    watched.lose(0)
    await poll(page)
    await expect(cell(page, 0)).to_have_class(SOUND)
    show = page.get_by_role("button", name=re.compile(r"^\d changes?: show$"))
    await expect(show).to_be_visible()
    async with page.expect_navigation():
        await show.evaluate("(node) => node.click()")  # the pointer stays where it is
    await expect(cell(page, 0)).to_have_class("cell bad")


async def test_only_a_changed_verdict_is_announced(watched: Watched, visitor: Visitor) -> None:
    """One region of the page is announced: the verdict. It stays in the page, and changes only with its words."""
    page = visitor.page
    assert await page.locator("[role=status], [role=alert], [role=log], [aria-live]").count() == 1
    await page.evaluate("""() => {
      window.told = [];
      const verdict = document.querySelector('[role=status]');
      new MutationObserver(() => window.told.push(verdict.textContent)).observe(
        verdict, {childList: true, subtree: true, characterData: true});
    }""")
    keys = page.locator('[data-label="Keys"]')
    await expect(keys).to_have_text("1")
    make_key(watched.call, watched.key_manager, "vol2")
    await poll(page)
    await expect(keys).to_have_text("2")
    assert await page.evaluate("window.told") == []
    watched.lose(0)
    await poll(page)
    assert "1 key server is lost" in await page.evaluate("window.told.at(-1)")


async def test_it_can_be_paused(watched: Watched, visitor: Visitor) -> None:
    """Paused, it asks nothing and changes nothing, until it goes on."""
    page = visitor.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator("#fresh-text")).to_have_text("Paused")
    watched.lose(0)
    await page.clock.run_for(4 * POLL_MS)
    assert asked == []
    await expect(cell(page, 0)).to_have_class(SOUND)
    await page.get_by_role("button", name="Go on").click()
    await poll(page)
    await expect(cell(page, 0)).to_have_class("cell bad")
    await page.clock.run_for(1_000)
    await expect(page.locator("#fresh-text")).to_have_text("Live")


async def test_old_values_say_so(watched: Watched, visitor: Visitor) -> None:
    """After two polls without an answer the page says how old it is, and nothing on it is green any more."""
    page = visitor.page
    await page.clock.run_for(1_000)
    await expect(page.locator("#fresh-text")).to_have_text("Live")
    green = await page.locator(".strip .fill-ok").first.evaluate("(node) => getComputedStyle(node).fill")
    watched.service.kill()
    for _ in range(13):
        await page.clock.run_for(1_000)
    await expect(page.locator("#fresh-text")).to_have_text(re.compile(r"^Not updated for 1[234] s$"))
    assert green not in await page.evaluate(scripts.COLOURS)
