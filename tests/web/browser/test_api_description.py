"""``/docs/api`` in a real browser: the search, the calls to copy, and the page without scripts."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import pytest

from keystead.api.description.openapi import document
from tests.web.browser import scripts
from tests.web.browser.chromium import DESK, PHONE, in_browser

if TYPE_CHECKING:
    from tests.web.browser.chromium import Visits

pytestmark = in_browser

PATH: Final = "/docs/api"
KEY_SERVER: Final = "/api/security/key-managers/{uuid}/key-servers/{server}"
SHOWN: Final = "details.operation:visible"


@pytest.mark.parametrize("size", [DESK, PHONE])
async def test_the_search_shows_what_fits_as_one_types(visits: Visits, size: dict[str, int]) -> None:
    """By path, method, summary and error code; with the keyboard alone; it says how many are shown."""
    visitor = await visits.visitor(viewport=size)
    await visitor.open(PATH)
    page, field = visitor.page, visitor.page.get_by_role("searchbox")
    every = await page.locator("details.operation").count()
    assert await page.locator("#shown").inner_text() == f"{every} of {every} operations"
    await page.get_by_role("navigation").get_by_role("link").last.focus()
    await page.keyboard.press("Tab")
    await page.keyboard.type(f"delete {KEY_SERVER}")
    assert await page.locator(SHOWN).count() == 1
    assert await page.locator("#shown").inner_text() == f"1 of {every} operations"
    assert not await page.get_by_role("heading", name="Errors").is_visible()
    await page.keyboard.press("Escape")
    assert await page.locator(SHOWN).count() == every
    for word, holds in (("LIST SVMS", "/api/svm/svms"), ("65536", "")):
        await field.fill(word)
        found = await page.locator(SHOWN).evaluate_all("(nodes) => nodes.map((node) => node.textContent)")
        assert 0 < len(found) < every, word
        assert all((holds or word) in text for text in found), word
    await field.fill("no such thing")
    assert await page.locator("#shown").inner_text() == f"0 of {every} operations"
    assert await page.evaluate(scripts.SIDEWAYS) == 0
    assert visitor.complaints == []


async def test_a_link_to_what_the_search_hides_ends_the_search(visits: Visits) -> None:
    visitor = await visits.visitor()
    await visitor.open(PATH)
    await visitor.page.get_by_role("searchbox").fill("svms")
    await visitor.page.get_by_role("navigation").get_by_role("link", name="Errors").click()
    assert await visitor.page.get_by_role("heading", name="Errors", exact=True).is_visible()
    assert await visitor.page.get_by_role("searchbox").input_value() == ""


async def test_a_call_is_copied_as_curl(visits: Visits) -> None:
    """With this service's own origin, the body of the example, and no password."""
    visitor = await visits.visitor(permissions=["clipboard-read", "clipboard-write"])
    await visitor.open(PATH)
    operation = visitor.page.locator(f"#{document()['paths']['/api/svm/svms']['post']['operationId']}")
    await operation.locator("summary").press("Enter")
    await operation.get_by_role("button", name="Copy as curl").press("Enter")
    await operation.get_by_text("Copied.").wait_for()
    words = shlex.split(await visitor.page.evaluate("() => navigator.clipboard.readText()"))
    assert words[:5] == ["curl", "--user", "admin", "--request", "POST"]
    assert words[-3:] == ["--data", '{"name": "vs0"}', f"{visitor.url}/api/svm/svms"]
    assert visitor.complaints == []


async def test_where_nothing_can_be_copied_the_command_is_shown(visits: Visits) -> None:
    visitor = await visits.visitor()
    await visitor.page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    await visitor.open(PATH)
    operation = visitor.page.locator(f"#{document()['paths']['/api/svm/svms']['get']['operationId']}")
    await operation.locator("summary").click()
    await operation.get_by_role("button", name="Copy as curl").click()
    await operation.get_by_text(f"curl --user admin --request GET '{visitor.url}/api/svm/svms'").wait_for()


async def test_without_scripts_the_page_is_whole_and_has_no_search(visits: Visits) -> None:
    visitor = await visits.visitor(java_script_enabled=False)
    await visitor.open(PATH)
    assert await visitor.page.get_by_role("searchbox").count() == 0
    await visitor.page.locator("details.operation summary").first.click()
    assert await visitor.page.get_by_role("button").count() == 0
    assert await visitor.page.get_by_role("heading", name="Answers").is_visible()
