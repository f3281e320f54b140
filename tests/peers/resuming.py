"""``--resume``: a run that was cut goes on. What passed is kept in a file, one for each state of the sources."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ("src", "tests", "requirements")
FOLDER: Final = ROOT / ".pytest_cache" / "passed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--resume`` leaves out what passed before."""
    text = "leave out what passed before with this option, while no file of src/, tests/ or requirements/ changed"
    parser.addoption("--resume", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Keep what passes from now on, and leave out what is kept."""
    if config.getoption("--resume"):
        config.pluginmanager.register(Resuming(FOLDER / sources_digest(ROOT)))


def sources_digest(root: Path) -> str:
    """Return a digest of the names and contents of all sources."""
    digest = hashlib.sha256()
    for path in sorted(path for name in SOURCES for path in (root / name).rglob("*") if is_source(path)):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def is_source(path: Path) -> bool:
    """Return True for a file that is not compiled from another one."""
    return path.is_file() and path.suffix != ".pyc"


class Resuming:
    """Leaves out the tests that a file names, and adds those that pass. Workers read it, their parent writes it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._called: set[str] = set()

    def passed(self) -> AbstractSet[str]:
        """Return the names of the tests that passed."""
        return frozenset(self._file.read_text().splitlines()) if self._file.exists() else frozenset()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out (deselect) what passed."""
        passed = self.passed()
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in passed])
        items[:] = [item for item in items if item.nodeid not in passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test that passed, once its teardown did, too."""
        if "PYTEST_XDIST_WORKER" in os.environ:
            return
        if report.when == "call" and report.passed:
            self._called.add(report.nodeid)
        if report.when == "teardown" and report.passed and report.nodeid in self._called:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(f"{report.nodeid}\n")
