"""A pytest run of another project, in a folder of its own, with the plugin and without our own configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 300


PLUGINS = ("no:keystead", "keystead.testing.plugin", "no:cacheprovider", "no:randomly")
"""The plugin by its module, whether or not this environment has registered it under its name."""


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder by a pytest that knows nothing of this run, of its workers and of our settings."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "KEYSTEAD_"))}
    named = [word for each in PLUGINS for word in ("-p", each)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *named, "-rA", *arguments],
        cwd=folder, env=inherited, capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip
