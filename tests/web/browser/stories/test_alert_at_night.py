"""An alert names a page. Who opens its link sees that page after one login at most, and what to do on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from keystead.core import events
from keystead.core.forwarding.pages import page_path
from keystead.core.model import Event
from tests.web.browser.chromium import in_browser
from tests.web.browser.world import EXAMPLES

if TYPE_CHECKING:
    from tests.web.browser.stories.conftest import Story

pytestmark = [*in_browser, pytest.mark.long]


@pytest.mark.parametrize("path", ["/", "/keys?state=retired", *EXAMPLES])
async def test_a_link_leads_to_its_page(story: Story, path: str) -> None:
    """With one login, and then with none."""
    wanted = EXAMPLES[path](story.world) if path in EXAMPLES else path
    woken = await story.visits.visitor()
    await woken.log_in(path=wanted)
    await woken.page.locator("h1").wait_for()
    assert woken.path == wanted
    again = await woken.open(wanted)
    assert (again.status, woken.path) == (200, wanted)


async def test_the_link_of_each_kind_of_event_opens_its_page(story: Story) -> None:
    """The link that a forwarded event carries; those of some kinds are the same."""
    values = (("address", story.world.servers[1].address),)
    happened = [Event("n", 1, datetime.now(UTC), kind, "alert", None, values, "") for kind in events.KINDS]
    woken = await story.visits.visitor("admin")
    for path in dict.fromkeys(page_path(each, story.world.vs2) for each in happened):
        answer = await woken.open(path)
        assert (answer.status, woken.path) == (200, path)
    assert woken.complaints == []


async def test_the_first_page_says_which_and_why(story: Story) -> None:
    """The lost server comes first, with the very certificate that is at fault and the command that helps."""
    woken = await story.visits.visitor()
    await woken.log_in()
    first = await woken.page.locator("#items > li").first.inner_text()
    assert story.world.servers[1].address in first
    assert "serial number" in first
    assert "renew it on the key server" in first
    assert "keystead security key-manager external probe" in first
