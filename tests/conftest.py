"""Options and fixtures that every test may use."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from hypothesis import settings

from tests.peers.passwords import hash_passwords_cheaply
from tests.peers.statements import share_compiled_statements

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

pytest_plugins = [
    "tests.peers.databases",
    "tests.peers.fixtures",
    "tests.peers.homes",
    "tests.peers.keystead",
    "tests.service.worlds.keys",
]


ON_BOTH = ("tests/store/", "tests/conformance/")
"""Where a test of one engine says nothing about the other."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` adds the repetitions, kill rounds and fuzz that take minutes."""
    parser.addoption("--long", action="store_true", help="repetitions, kill rounds and fuzz as well")
    once = "but for store and conformance, PostgreSQL where there are both"
    parser.addoption("--one-engine", action="store_true", help=once)


def pytest_configure() -> None:
    """Set up what must stand before any test module is imported. No example has a deadline: machines are shared."""
    share_compiled_statements()
    hash_passwords_cheaply()
    settings.register_profile("keystead", deadline=None)
    settings.load_profile("keystead")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out (deselect, not skip) those marked ``long`` without ``--long``, and twins with ``--one-engine``."""
    there = {item.nodeid for item in items}
    left_out = [
        item
        for item in items
        if (item.get_closest_marker("long") and not config.getoption("--long"))
        or (config.getoption("--one-engine") and _has_twin(item.nodeid, there))
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]


def _has_twin(nodeid: str, there: Collection[str]) -> bool:
    """Whether a test on SQLite is there on PostgreSQL, too."""
    twin = nodeid.replace("sqlite", "postgresql")
    return twin != nodeid and twin in there and not nodeid.startswith(ON_BOTH)
