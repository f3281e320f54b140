"""Every page that can be opened, in a real browser. New pages are covered by themselves.

A page whose path has parameters needs an example in ``world.EXAMPLES``. The snapshots of what a screen reader is told
are beside this file; ``KEYSTEAD_WRITE_SNAPSHOTS=1`` writes them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from keystead.web.security import HEADERS
from tests.web.browser import scripts
from tests.web.browser.checkers import html_errors, needs_axe, needs_nu, violations
from tests.web.browser.chromium import DESK, PHONE, Visits, in_browser
from tests.web.browser.world import PATHS, page_of

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.web.browser.chromium import Visitor
    from tests.web.browser.world import World

pytestmark = in_browser

MAIN: Final = "main > :not(.top)"
"""What a page says, without the line about how fresh it is."""

AS_BROWSERS: Final = {"accept": "text/html"}
SNAPSHOTS: Final = Path(__file__).parent / "snapshots"
MASKS: Final = (
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
    (r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", "PEM"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"\d\d [A-Z][a-z]{2} \d{4}(, \d\d:\d\d)?", "DAY"),
    (r"\d\d:\d\d:\d\d UTC", "CLOCK"),
    (r"\d+ (second|minute|hour|day)s?", "SPAN"),
    (r"\d+ ms", "LATENCY"),
    (r"[\d,]+ to watch it, [\d,]+ for keys", "REQUESTS"),
    (r"\d+\.\d+ %", "SHARE"),
    (r"The data directory is \S+ [\d.]+ of [\d.]+ GiB are free", "DISK"),
    (r"[\d,]+ of [\d,]+ connections are in use", "CONNECTIONS"),
    (r"with schema \d+", "with schema REVISION"),
    (r"(http_port: |port=)\d+", r"\1PORT"),
    (r"(It )?(has not shown our keys yet|showed our keys before)", "KEYS SHOWN"),
    (r'(textbox "Port": )"\d+"', r"\1PORT"),
    (r'(term: Open connections\n +- definition: )"\d+"', r"\1NUMBER"),
    (r"\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b", "FINGERPRINT"),
    (r"\b[0-9A-Fa-f]{24,}\b", "NUMBER"),
)
"""What differs from run to run, and the words that stand for it in snapshots."""


def masked(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text, flags=re.DOTALL)
    return text


async def opened(visits: Visits, world: World, path: str, **options: Any) -> Visitor:
    """Return a visitor who sees a page as the administrator."""
    visitor = await visits.visitor("admin", **options)
    answer = await visitor.open(page_of(path, world))
    assert answer.status == 200, path
    return visitor


@pytest.mark.parametrize("path", PATHS)
async def test_it_opens(visits: Visits, shown: World, path: str) -> None:
    """Without an error in the browser's console, with the headers on every answer, and not wider than a phone."""
    visitor = await opened(visits, shown, path, viewport=PHONE)
    assert await visitor.page.locator("h1").count() == 1
    assert await visitor.page.evaluate(scripts.SIDEWAYS) == 0
    ids = await visitor.page.locator("[id]").evaluate_all("(nodes) => nodes.map((node) => node.id)")
    assert len(ids) == len(set(ids))
    assert {"text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8"} == {
        answer.headers["content-type"] for answer in visitor.answers
    }
    for answer in visitor.answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.url
    assert visitor.answers[0].headers["cache-control"] == "no-store"
    assert visitor.complaints == []


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
async def test_it_is_accessible(visits: Visits, shown: World, path: str, scheme: str) -> None:
    """No rule of axe is broken, in either colours."""
    visitor = await opened(visits, shown, path, color_scheme=scheme)
    assert await violations(visitor.page) == []


@needs_axe
async def test_the_login_is_accessible(chromium: Browser, stage: World) -> None:
    """The one page that needs no login, and is not declared as the others are; also after a wrong password."""
    visits = Visits(chromium, stage.service.url)
    visitor = await visits.visitor(viewport=PHONE)
    await visitor.open("/login")
    assert await violations(visitor.page) == []
    assert visitor.complaints == []
    await visitor.fill_login("admin", "wrong")
    await visitor.page.get_by_role("alert").wait_for()
    assert await violations(visitor.page) == []
    assert await visitor.page.evaluate(scripts.SIDEWAYS) == 0
    await visits.close()


@needs_nu
@pytest.mark.long
async def test_the_html_is_valid(visits: Visits, shown: World, tmp_path: Path) -> None:
    """By the Nu checker, as the server sent it."""
    visitor = await visits.visitor("admin")
    files = []
    for number, path in enumerate(PATHS):
        answer = await visitor.context.request.get(f"{visitor.url}{page_of(path, shown)}", headers=AS_BROWSERS)
        files.append(tmp_path / f"{number:02}{path.replace('/', '-')}.html")
        files[-1].write_bytes(await answer.body())
    assert html_errors(files) == []


@pytest.mark.long
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("path", PATHS)
async def test_everything_is_reached_by_keyboard(
    visits: Visits, shown: World, path: str, viewport: dict[str, int]
) -> None:
    """Tab leads to all that can be used; the focus has a ring and is never covered. Targets are large enough."""
    visitor = await opened(visits, shown, path, viewport=viewport)
    assert await visitor.page.evaluate(scripts.SMALL_TARGETS) == []
    wanted = await visitor.page.evaluate(scripts.NUMBERED)
    reached, wrong = set(), []
    for _ in range(2 * len(wanted) + 30):  # a field of date and time takes several
        await visitor.page.keyboard.press("Tab")
        focused = await visitor.page.evaluate(scripts.FOCUSED)
        if focused is None:
            break
        reached.add(int(focused["number"]))
        if not (focused["seen"] and focused["ring"]):
            wrong.append(focused)
    assert [text for number, text in enumerate(wanted) if number not in reached] == []
    assert wrong == []


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
async def test_it_keeps_to_what_users_chose(visits: Visits, shown: World, path: str) -> None:
    """With colours forced, shapes and edges are seen. With less motion, nothing moves."""
    visitor = await opened(visits, shown, path, forced_colors="active", reduced_motion="reduce")
    assert await visitor.page.evaluate(scripts.UNSEEN_ICONS) == []
    assert await visitor.page.evaluate(scripts.BORDERLESS) == []
    assert await visitor.page.evaluate(scripts.MOVING) == []


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
async def test_what_a_screen_reader_is_told(visits: Visits, shown: World, path: str) -> None:
    """The accessibility tree is the one that was looked at last.

    Lines are compared without their order: rows that are sorted by ports or by seconds change places from run to run.
    """
    visitor = await opened(visits, shown, path, java_script_enabled=False)
    told = masked(await visitor.page.locator("body").aria_snapshot())
    file = SNAPSHOTS / f"{re.sub('[^a-z]+', '-', path).strip('-') or 'overview'}.yml"
    if os.environ.get("KEYSTEAD_WRITE_SNAPSHOTS"):
        file.write_text(f"{told}\n")
    advice = "run this test with KEYSTEAD_WRITE_SNAPSHOTS=1, and look at the difference"
    assert sorted(file.read_text().splitlines()) == sorted(told.splitlines()), advice


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
async def test_it_needs_no_script(visits: Visits, shown: World, path: str) -> None:
    """Without scripts a page says the same, and its forms can be sent: each has a target, and a button that works."""
    with_scripts = await opened(visits, shown, path)
    without = await opened(visits, shown, path, java_script_enabled=False)
    said = [masked("\n".join(await each.page.locator(MAIN).all_inner_texts())) for each in (without, with_scripts)]
    assert said[0] == said[1]
    for form in await without.page.locator("form").all():
        assert (await form.get_attribute("action") or "").startswith("/")
        assert await form.get_attribute("method") in {"post", "get"}
        assert await form.locator("button:not([type=button]):enabled").count()
