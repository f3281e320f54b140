"""``keystead demo``, as ``./dev demo`` runs it: it tells its story on 80 columns, stays up, and leaves nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import CTRL_C, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a short name, so that no line of the demo is folded."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_demo(folder: Path) -> None:
    """Every step is there and fits, what it invites to works, and Ctrl-C ends it with status 0: nothing is left."""
    environment = dict(os.environ) | {"TMPDIR": str(folder), "TERM": "xterm"}
    with Terminal((sys.executable, "-m", "keystead", "demo"), ROOT, environment) as terminal:
        terminal.wait_for("export KMIP_CA=")
        assert processes_in(folder)
        tried = _tried(ESCAPES.sub("", terminal.screen).replace("\r", ""))
        terminal.type(CTRL_C)
        assert terminal.end() == 0
    screen = ESCAPES.sub("", terminal.screen)
    for code in ("66060338", "66060339", "65536038", "server_certificate_issuer_not_found"):
        assert code in screen
    assert screen.count("  available  ") == 4
    assert "Keystead knows after" in screen
    assert "km.keyserver.notavailable" in screen
    assert max(map(len, screen.splitlines())) <= 80
    assert "PRIVATE KEY" not in screen
    assert "Traceback" not in screen
    assert "does not listen" in tried.stdout, tried
    assert re.search(r"^vs0 +vol2 +committed ", tried.stdout, re.MULTILINE), tried
    assert re.search(r"^127.0.0.1:[0-9]+: read, ", tried.stderr, re.MULTILINE), tried.stderr
    assert re.search(r"^[0-9a-f]{64}  -$", tried.stdout, re.MULTILINE), tried.stdout
    assert _broken(screen) not in re.findall(r"^export KS[123]=(.*)$", screen.replace("\r", ""), re.MULTILINE)
    assert list(folder.iterdir()) == []
    assert processes_in(folder) == []


def _tried(screen: str) -> subprocess.CompletedProcess[str]:
    """Paste what the demo invites to: a key server is broken, and a key read that no memory has."""
    exports, read = (
        re.search(f"^{first}.*?(?=^{end})", screen, re.DOTALL | re.MULTILINE)
        for first, end in (("cd /", "keystead "), ("keystead security key-manager key create", "\n"))
    )
    assert exports
    assert read
    bash = ["bash", "-O", "expand_aliases"]  # as a person's shell does
    return subprocess.run(bash, input=exports[0] + read[0], capture_output=True, text=True, timeout=180, check=False)


def _broken(screen: str) -> str:
    """The key server that the demo invites to break: the quickstart that it prints below needs others."""
    name = re.search(r"^keystead demo break (ks[0-9]) refused", screen, re.MULTILINE)
    assert name
    server = re.search(rf"^    (127.0.0.1:[0-9]+)  {name[1]}\b", screen, re.MULTILINE)
    assert server
    return server[1]


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes that name the folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has just ended
            continue
    return [line for line in lines if str(folder) in line]
