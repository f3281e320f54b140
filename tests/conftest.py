"""Options and fixtures that every test may use."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.peers.passwords import hash_passwords_cheaply
from tests.peers.statements import share_compiled_statements

if TYPE_CHECKING:
    from collections.abc import Collection

pytest_plugins = [
    "tests.peers.unretrieved",
    "tests.peers.resuming",
    "tests.peers.databases",
    "tests.peers.fixtures",
    "tests.peers.homes",
    "tests.peers.keystead",
    "tests.service.worlds.keys",
]


TWINS = {"postgresql": "sqlite", "asyncio": "uvloop"}
"""Parameters that two tests differ in: the engine of the database, and the event loop."""
ON_BOTH_ENGINES = (
    "tests/store/",
    "races",
    "killed",
    "commits",
    "leases",
    "incarnations",
    "upgrade",
    "job_runner",
    "membership",
)
"""Parts of the paths of tests about the database itself."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--twins`` adds the other engine and event loop, ``--long`` also what takes minutes; ``--minutes`` limits."""
    parser.addoption("--twins", action="store_true", help="each test on both engines and on both event loops")
    parser.addoption("--minutes", type=float, help="skip the tests that are left after so many minutes")
    parser.addoption("--long", action="store_true", help="repetitions, kill rounds and fuzz as well, and all twins")


def pytest_configure(config: pytest.Config) -> None:
    """Set up what must stand before any test module is imported. No example has a deadline: machines are shared."""
    share_compiled_statements()
    hash_passwords_cheaply()
    settings.register_profile("keystead", deadline=None, max_examples=1000 if config.getoption("--long") else 100)
    settings.load_profile("keystead")


STARTED = time.monotonic()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is left when the time of ``--minutes`` is over: a machine may be ten times slower than another."""
    minutes = item.config.getoption("--minutes")
    if minutes is not None and time.monotonic() > STARTED + 60 * minutes:
        pytest.skip(f"not run: {minutes:g} minutes were over")


def pytest_collection_finish() -> None:
    """Keep what was imported and collected: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out (deselect, not skip) those marked ``long`` without ``--long``, and twins without ``--twins``."""
    if config.getoption("--long"):
        return
    names = {item.nodeid for item in items}
    twins = set() if config.getoption("--twins") else {name for name in names if _has_twin(name, names)}
    left_out = [item for item in items if item.get_closest_marker("long") or item.nodeid in twins]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


def _has_twin(name: str, names: Collection[str]) -> bool:
    """Return True if the same test is there on the other engine or event loop, and one of the two is enough."""
    for word, other in TWINS.items():
        twin = name.replace(word, other)
        if (
            twin != name
            and twin in names
            and not (word == "postgresql" and any(part in name for part in ON_BOTH_ENGINES))
        ):
            return True
    return False
