"""Options and fixtures that every test may use."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from tests.peers.statements import share_compiled_statements

if TYPE_CHECKING:
    import pytest

pytest_plugins = [
    "tests.peers.databases",
    "tests.peers.fixtures",
    "tests.peers.homes",
    "tests.peers.keystead",
    "tests.service.keyworlds",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long`` adds the repetitions, kill rounds and fuzz that take minutes."""
    parser.addoption("--long", action="store_true", help="repetitions, kill rounds and fuzz as well")


def pytest_configure() -> None:
    """Before any test module is imported."""
    share_compiled_statements()


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without ``--long``, tests marked ``long`` are left out (deselected, not skipped)."""
    if config.getoption("--long"):
        return
    chosen = [item for item in items if not item.get_closest_marker("long")]
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = chosen
