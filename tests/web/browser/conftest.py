"""The browser, a world that the tests of pages read and never change, and visitors of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.web.browser.chromium import Visits, launched
from tests.web.browser.world import world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation
    from tests.peers.processes import Program
    from tests.web.browser.world import World


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser, one per run."""
    async with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def shown(
    initialised: Installation, pki: Pki, pykmip_servers: list[Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A world to look at: no test changes it."""
    installation = initialised.copy(tmp_path_factory.mktemp("console") / "data")
    with world(installation, pki, [server.address for server in pykmip_servers[:2]]) as running:
        yield running


@pytest.fixture(scope="session")
def stage(
    initialised: Installation, pki: Pki, pykmip_servers: list[Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A world that tests may change. It is shared: a test makes what it needs beside what others look at."""
    installation = initialised.copy(tmp_path_factory.mktemp("stories") / "data")
    with world(installation, pki, [server.address for server in pykmip_servers[2:4]]) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _visits(chromium: Browser, shown: World) -> Visits:
    return Visits(chromium, shown.service.url)


@pytest_asyncio.fixture(loop_scope="session")
async def visits(_visits: Visits) -> AsyncIterator[Visits]:
    """Visitors of the world."""
    yield _visits
    await _visits.close()
