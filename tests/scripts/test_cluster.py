"""``./dev cluster``: three nodes from nothing, what it invites to works, and it leaves nothing."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.terminal import CTRL_C, Terminal
from tests.peers import cluster
from tests.scripts.test_demo import processes_in

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "scripts.cluster")
BASH = ("bash", "-O", "expand_aliases")
"""As a person's shell does."""
EMPTY = hashlib.sha256().hexdigest()
PASTED = re.compile(r"export |alias |kill |KEYSTEAD_URL=|    --key-manager |keystead |patronictl .* list")
"""The lines that are pasted. The switchover is left out, because the leader is killed."""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(cluster.MISSING), reason=f"not installed: {cluster.MISSING}"),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A temporary folder with a short name, which other accounts may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_once(folder: Path) -> None:
    """A key that was created through the load balancer is read from each node."""
    done = subprocess.run(
        [*COMMAND, "--once"], cwd=ROOT, env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert "read from each node" in done.stdout
    assert (list(folder.iterdir()), processes_in(folder)) == ([], [])


def test_it_stays_up_while_its_leader_is_killed(folder: Path) -> None:
    """What it prints works when pasted. A key is read while nobody leads, then keys are created again."""
    with Terminal(COMMAND, ROOT, dict(os.environ) | {"TMPDIR": str(folder)}, columns=300) as terminal:
        terminal.wait_for("until Ctrl-C")
        lines = terminal.screen.replace("\r", "").splitlines()
        pasted = [line for line in lines if PASTED.match(line)]
        read = [line for line in pasted if line.startswith(("KEYSTEAD_URL=", "    --key-manager "))]
        create = "until keystead security key-manager key create --vserver vs0 --name vol3; do sleep 1; done"
        tried = subprocess.run(
            BASH, input="\n".join([*pasted, *read, create]), capture_output=True, text=True, timeout=300, check=False
        )
        terminal.type(CTRL_C)
        assert terminal.end() == 0, terminal.screen
    assert re.search(r"Sync Standby", tried.stdout), tried
    assert re.search(r"^vs0 +vol2 +committed ", tried.stdout, re.MULTILINE), tried
    assert re.search(r"^vs0 +vol3 +committed ", tried.stdout, re.MULTILINE), tried
    before, while_nobody_leads = re.findall(r"^[0-9a-f]{64}(?=  -$)", tried.stdout, re.MULTILINE)
    assert before == while_nobody_leads != EMPTY, tried
    assert "does not listen" in tried.stdout, tried
    assert (list(folder.iterdir()), processes_in(folder)) == ([], [])
