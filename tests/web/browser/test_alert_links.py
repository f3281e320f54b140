"""The link in an alert, opened without a session: one login leads to the page itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keystead.core import events
from keystead.core.forwarding.pages import page_path
from keystead.core.model import Event
from tests.web.browser.chromium import in_browser

if TYPE_CHECKING:
    from tests.web.browser.chromium import Visits
    from tests.web.browser.world import World

pytestmark = in_browser


async def test_one_login_leads_to_the_page_of_an_alert(visits: Visits, shown: World) -> None:
    """Then the link of every other kind of event opens its page at once."""
    values = (("address", shown.servers[1].address),)
    happened = [Event("n", 1, datetime.now(UTC), kind, "alert", None, values, "") for kind in events.KINDS]
    first, *others = dict.fromkeys(page_path(each, shown.vs2) for each in happened)
    woken = await visits.visitor()
    await woken.log_in(path=first)
    await woken.page.get_by_role("heading", name=shown.servers[1].address).first.wait_for()
    assert woken.path == first
    for path in others:
        answer = await woken.open(path)
        assert (answer.status, woken.path) == (200, path)
    assert woken.complaints == []
