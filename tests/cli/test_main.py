"""The tree of commands: quick to start, with help everywhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from keystead import __version__

HEAVY = {"sqlalchemy", "alembic", "starlette", "uvicorn", "uvloop", "cryptography", "argon2", "structlog", "rich"}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "keystead", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("security", "key-manager", "external", "--help"), ("security", "certificate", "show", "-o", "x")],
    ids=["help", "help of a group", "usage error"],
)
def test_starting_imports_little(arguments: tuple[str, ...]) -> None:
    """What only the service needs is not imported to say how the command is used."""
    imported = {
        line.rsplit("|", 1)[1].strip().partition(".")[0] for line in _run(*arguments).stderr.splitlines() if "|" in line
    }
    assert "click" in imported
    assert imported & HEAVY == set()


@pytest.mark.parametrize(
    "group", [(), ("db",), ("audit",), ("security",), ("security", "key-manager"), ("security", "certificate")]
)
def test_help(group: tuple[str, ...]) -> None:
    """A group without a command, and -h, print its help."""
    asked = subprocess.run([sys.executable, "-m", "keystead", *group, "-h"], capture_output=True, text=True, check=True)
    bare = subprocess.run([sys.executable, "-m", "keystead", *group], capture_output=True, text=True, check=False)
    assert "Commands:" in asked.stdout
    assert (bare.returncode, bare.stdout + bare.stderr) == (2, asked.stdout)


def test_version() -> None:
    """The version alone on its line."""
    done = subprocess.run([sys.executable, "-m", "keystead", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{__version__}\n"
