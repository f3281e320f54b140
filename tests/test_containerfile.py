"""The ``Containerfile``: it is linted, its service is no root, and its health check knows health from its absence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers.processes import free_port

if TYPE_CHECKING:
    from tests.peers.keystead import Service

ROOT = Path(__file__).parents[1]
FILE = ROOT / "Containerfile"
PAGE = ROOT / "docs" / "how-to" / "container.md"
BUILD, FINAL = FILE.read_text().split("\nFROM ")[1:]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed; ./dev setup installs it where it exists")
def test_it_is_linted() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_build_has_what_it_copies() -> None:
    """What is copied is there and passes ``.containerignore``, and nothing is installed without a hash."""
    copied = [word for line in re.findall(r"^COPY (.*)$", BUILD, re.MULTILINE) for word in line.split()[:-1]]
    let_through = {line.removeprefix("!") for line in (ROOT / ".containerignore").read_text().split() if line[0] == "!"}
    assert copied
    assert all((ROOT / each).exists() for each in copied)
    assert {each.partition("/")[0] for each in copied} == let_through
    installs = re.findall(r"pip install (.*)", BUILD)
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)


def test_it_runs_as_nobody_in_particular() -> None:
    """The last stage begins no process as root, and names the data directory that the user owns."""
    assert re.search(r"^USER 10001:10001$", FINAL, re.MULTILINE)
    (data,) = re.findall(r"KEYSTEAD_DATA=(\S+)", FINAL)
    assert f"VOLUME {data}\n" in FINAL
    assert re.search(rf"install --directory --owner keystead .*--mode 0700 {data}$", FINAL, re.MULTILINE)


def test_the_page() -> None:
    """It keeps the health check, starts nothing with a writable root, and names commands that there are."""
    commands = re.findall(r"^\$ (podman .*)$", PAGE.read_text().replace(" \\\n", ""), re.MULTILINE)
    assert "podman build --format docker -t keystead ." in commands
    runs = [each for each in commands if each.startswith("podman run ")]
    assert all(" --read-only --tmpfs /tmp " in each for each in runs)
    started = {each.rpartition(" keystead")[2].split(" -")[0].strip() for each in runs}
    assert started == {"", "init", "db upgrade", "demo"}


def test_the_health_check(shared_service: Service) -> None:
    """It succeeds for a service that answers, and fails where none listens."""
    (text,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", FINAL, re.MULTILINE)
    for port, healthy in ((shared_service.port, True), (free_port(), False)):
        _, *arguments = json.loads(text.replace(":8443/", f":{port}/"))
        done = subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        assert (done.returncode == 0) is healthy, done
