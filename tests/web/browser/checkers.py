"""Rules of others, from npm: axe-core for accessibility, the Nu checker for HTML. ``package-lock.json`` pins them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from playwright.async_api import Page

HERE: Final = Path(__file__).parent
FILES: Final = ("package.json", "package-lock.json")
NPM: Final = shutil.which("npm")
JAVA: Final = shutil.which("java")
FETCH_S: Final = 300
CHECK_S: Final = 120
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
_AXE: Final = "tags => axe.run(document, {runOnly: tags}).then(found => found.violations)"

needs_axe: Final = pytest.mark.skipif(NPM is None, reason="npm is not installed, which fetches axe-core")
needs_nu: Final = pytest.mark.skipif(
    NPM is None or JAVA is None, reason="npm and java are needed to fetch and to run the Nu checker"
)


@cache
def modules() -> Path:
    """Return the folder with the packages. They are fetched once, into the user's cache."""
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keystead-tests" / digest
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        _fetch(cached)
    return cached / "node_modules"


def _fetch(cached: Path) -> None:
    """Fetch the packages beside the folder, then rename them to it: another process may do the same."""
    with tempfile.TemporaryDirectory(dir=cached.parent) as name:
        folder = Path(name) / "fetched"
        folder.mkdir()
        for file in FILES:
            shutil.copy(HERE / file, folder)
        # No package's script runs: the one of vnu-jar fetches a Java.
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=FETCH_S)
        if done.returncode:
            pytest.skip(f"npm cannot fetch {' and '.join(FILES)}: {done.stderr[-300:]}")
        if not cached.exists():
            folder.rename(cached)


async def violations(page: Page) -> list[str]:
    """Return the rules of accessibility that the open page breaks, each with the elements."""
    await page.evaluate((modules() / "axe-core" / "axe.min.js").read_text())
    found: list[dict[str, Any]] = await page.evaluate(_AXE, RULES)
    return [f"{each['id']}: {node['html']} {node['failureSummary']}" for each in found for node in each["nodes"]]


def html_errors(files: Iterable[Path]) -> list[str]:
    """Return what the Nu checker finds wrong in files of HTML."""
    jar = modules() / "vnu-jar" / "build" / "dist" / "vnu.jar"
    command = ["java", "-jar", str(jar), "--format", "json", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CHECK_S)
    found = json.loads(done.stderr)["messages"]
    return [f"{Path(each['url']).name}: {each['message']} {each.get('extract', '')}" for each in found]
