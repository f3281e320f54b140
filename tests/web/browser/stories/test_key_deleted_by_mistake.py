"""A key was deleted by mistake: the administrator gets it back in the console, without a script or a manual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.browser.chromium import in_browser
from tests.web.browser.world import state_of

if TYPE_CHECKING:
    from tests.web.browser.stories.conftest import Story

pytestmark = [*in_browser, pytest.mark.long]


async def test_the_key_is_recovered(story: Story) -> None:
    """From the list to the deleted key, one button, and the key is in use again on every key server."""
    admin = await story.visits.visitor("admin", java_script_enabled=False)
    await admin.open("/keys")
    await admin.page.get_by_label("State").select_option(label="deleted")
    await admin.submit("Filter")
    await admin.page.get_by_role("link", name="vol2").click()
    assert "can be recovered" in await admin.text()
    await admin.submit("Recover this key")
    assert "in use" in await admin.text()
    assert state_of(story.call, story.world.vs1, story.world.deleted) == "committed"


async def test_a_key_is_created_and_deleted(story: Story) -> None:
    """The page of the new key says where its copies are; deleting it says until when it can be recovered."""
    admin = await story.visits.visitor("admin", java_script_enabled=False)
    await admin.open("/keys")
    await admin.page.get_by_role("link", name="Create a key").click()
    await admin.page.get_by_label("Key manager of").select_option(label="vs1")
    await admin.page.get_by_label("Name", exact=True).fill("vol9")
    await admin.submit("Create")
    assert "2 of 2 domains hold a proven copy." in await admin.text()
    key_id = admin.path.rpartition("/")[2]
    await admin.submit("Delete this key")
    assert "can be recovered" in await admin.text()
    assert state_of(story.call, story.world.vs1, key_id) == "retired"
