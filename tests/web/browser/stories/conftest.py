"""A story plays in the world that tests may change: it makes what it needs beside what others look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.web.browser.chromium import Visits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from tests.peers.keystead import Client
    from tests.web.browser.world import World


@dataclass(frozen=True)
class Story:
    """Where a story plays: the world, visitors of it, and the administrator's client of the API."""

    world: World
    visits: Visits
    call: Client


@pytest_asyncio.fixture(loop_scope="session")
async def story(chromium: Browser, stage: World) -> AsyncIterator[Story]:
    """A story's world. Its visitors log in anew."""
    visits = Visits(chromium, stage.service.url)
    with stage.service.client() as call:
        yield Story(stage, visits, call)
    await visits.close()
