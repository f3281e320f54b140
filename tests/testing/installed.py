"""The wheel as another project has it: built, and installed into an environment of its own outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> Path:
    """Build the wheel and install it into ``folder/environment``; return the folder of its programs.

    No network is needed: what it depends on is that of the interpreter that runs the tests, without the checkout.
    """
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    run(build, ROOT)
    (wheel,) = folder.glob("keystead-*.whl")
    home = folder / "environment"
    run([sys.executable, "-m", "venv", str(home)], folder)
    python = home / "bin" / "python"
    run([str(python), "-m", "pip", "--quiet", "install", "--no-index", "--no-deps", str(wheel)], folder)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python.parent


def outside() -> dict[str, str]:
    """Return an environment that leads nothing back into the checkout, into this run, or to a service."""
    away = ("PYTEST_", "KEYSTEAD_", "PYTHON", "COVERAGE_", "PIP_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(away)}


def run(command: list[str], folder: Path) -> str:
    """Run a step and return its output; AssertionError with what it wrote if it fails."""
    done = subprocess.run(command, cwd=folder, env=outside(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
