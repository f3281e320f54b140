"""A world that a story may change. It is shared: a story makes what it needs beside what others look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.web.browser.chromium import Visits
from tests.web.browser.world import world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Installation
    from tests.peers.processes import Program
    from tests.web.browser.world import World


@dataclass(frozen=True)
class Story:
    """Where a story plays: the world, visitors of it, and the administrator's client of the API."""

    world: World
    visits: Visits
    call: Client


@pytest.fixture(scope="session")
def _stage(
    initialised: Installation, pki: Pki, pykmip_servers: list[Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    installation = initialised.copy(tmp_path_factory.mktemp("stories") / "data")
    with world(installation, pki, [server.address for server in pykmip_servers[2:4]]) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def story(chromium: Browser, _stage: World) -> AsyncIterator[Story]:
    """A story's world. Its visitors log in anew."""
    visits = Visits(chromium, _stage.service.url)
    with _stage.service.client() as call:
        yield Story(_stage, visits, call)
    await visits.close()
