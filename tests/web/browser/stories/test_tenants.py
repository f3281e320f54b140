"""Accounts with less rights walk through all pages that they are led to, and see nothing of others."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.web.browser.chromium import in_browser

if TYPE_CHECKING:
    from tests.web.browser.chromium import Visitor
    from tests.web.browser.stories.conftest import Story

pytestmark = [*in_browser, pytest.mark.long]

OWN_FORMS = ("/theme", "/logout", "/sessions/", "/accounts/auditor/password")
"""Paths of forms that are for everybody: colours, sessions, the password of one's own account."""


async def walk(visitor: Visitor) -> dict[str, str]:
    """Follow every link of the console from the first page, and return the HTML of all pages by path."""
    found: dict[str, str] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        answer = await visitor.open(path)
        assert answer.status == 200, path
        found[path] = await visitor.page.content()
        hrefs = await visitor.page.locator("a[href]").evaluate_all("(links) => links.map((link) => link.href)")
        leads = {f"{parts.path}{'?' * bool(parts.query)}{parts.query}" for parts in map(urlsplit, hrefs)}
        pages = {each for each in leads if not each.startswith("/docs/") and "/reports/" not in each}
        waiting += sorted(pages - set(found) - set(waiting))
    return found


async def test_an_account_of_an_svm(story: Story) -> None:
    """It finds its keys and certificates. Nothing names the other SVM, its servers, keys, or the cluster's accounts."""
    tenant = await story.visits.visitor("vs1-admin")
    pages = await walk(tenant)
    assert {"/", "/keys", "/keys/create", "/certificates", "/sessions"} <= set(pages)
    everything = "\n".join(pages.values())
    assert "vol1" in everything
    others = ["vs2", "vol3", story.world.vs2, "auditor", *(server.address for server in story.world.servers)]
    assert [each for each in others if each in everything] == []
    for path in (f"/keys/{story.world.vs2}/{story.world.other_key}", f"/keys?key_manager={story.world.vs2}"):
        await tenant.open(path)
        assert [each for each in others if each in await tenant.text()] == []
    assert [each for each in tenant.complaints if "404" not in each] == []


async def test_an_auditor_presses_nothing(story: Story) -> None:
    """Who may only read sees all, and no form that changes anything."""
    auditor = await story.visits.visitor("auditor")
    pages = await walk(auditor)
    assert "vol1" in pages["/keys"]
    assert "vol3" in pages["/keys"]
    for path in pages:
        await auditor.open(path)
        actions = await auditor.page.locator("form[method=post]").evaluate_all(
            "(forms) => forms.map((form) => form.getAttribute('action'))"
        )
        assert [each for each in actions if not each.startswith(OWN_FORMS)] == [], path
    assert (await auditor.open("/keys/create")).status == 403
    assert (await auditor.open("/certificates/install")).status == 403
