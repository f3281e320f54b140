"""A run that goes on: what passed is left out, what failed or was not run is not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.peers.resuming import ROOT, sources_digest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys, pytest
from pathlib import Path
from tests.peers.resuming import Resuming
folder = Path(sys.argv[1])
sys.exit(pytest.main(["-q", "-c", str(folder / "pytest.ini"), str(folder)], plugins=[Resuming(folder / "passed")]))
"""
TESTS = """
import os
import pytest
def test_passes(): pass
def test_skips(): pytest.skip("not here")
def test_fails_at_first(): assert "MENDED" in os.environ
@pytest.fixture
def closing():
    yield
    assert "MENDED" in os.environ
def test_whose_teardown_fails_at_first(closing): pass
"""


def run(folder: Path, **environment: str) -> str:
    """Run the tests of a folder; return the line that sums up."""
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return said.stdout.splitlines()[-1].rsplit(" in ", 1)[0]


def test_what_passed_is_left_out(tmp_path: Path) -> None:
    """A failure, a failure at the end and a skipped test run again."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    assert run(tmp_path) == "1 failed, 2 passed, 1 skipped, 1 error"
    assert run(tmp_path, MENDED="1") == "2 passed, 1 skipped, 1 deselected"
    assert run(tmp_path) == "1 skipped, 3 deselected"


def test_a_changed_source_begins_anew(tmp_path: Path) -> None:
    """By its content or its name; compiled files change nothing."""
    source = tmp_path / "src" / "a.py"
    source.parent.mkdir()
    source.write_text("1\n")
    first = sources_digest(tmp_path)
    (tmp_path / "src" / "a.pyc").write_bytes(b"compiled")
    assert sources_digest(tmp_path) == first
    source.write_text("2\n")
    assert sources_digest(tmp_path) != first
    source.write_text("1\n")
    assert sources_digest(tmp_path) == first
    source.rename(source.with_name("b.py"))
    assert sources_digest(tmp_path) != first
