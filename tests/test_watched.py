"""A program that a test started ends with the test's process, also when that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.peers.processes import Program, free_port

ROOT = Path(__file__).parents[1]
DAEMON = "setsid sh -c 'setsid sleep 600 & echo daemon $!' & wait; exec sleep 600"
"""A shell script: a process that leaves the session and loses its parent, and the program itself."""
STARTER = """
import sys, time
from pathlib import Path
from tests.peers.processes import Program
print(Program(["sh", "-c", sys.argv[1]], 1, log=Path(sys.argv[2])).pid, flush=True)
time.sleep(600)
"""


def daemon_of(log: Path) -> int:
    """Return the process id that the script wrote."""
    until = time.monotonic() + 60
    while not (text := log.read_text()).endswith("\n"):
        assert time.monotonic() < until
        time.sleep(0.01)
    return int(text.split()[-1])


def ended(pid: int) -> bool:
    """Whether a process ends within a minute."""
    until = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return not Path(f"/proc/{pid}").exists()


def test_it_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    """Nobody is left to end it: its watcher does, and what it started ends too."""
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, DAEMON, str(log)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as starter:
        assert starter.stdout
        program = int(starter.stdout.readline())
        daemon = daemon_of(log)
        starter.kill()
    assert ended(program)
    assert ended(daemon)


def test_what_it_left_behind_is_ended_by_stop(tmp_path: Path) -> None:
    """The program itself may be gone: what it started belongs to it."""
    log = tmp_path / "log"
    program = Program(["sh", "-c", DAEMON], free_port(), log=log)
    daemon = daemon_of(log)
    os.kill(program.pid, signal.SIGKILL)
    assert ended(program.pid)
    assert Path(f"/proc/{daemon}").exists()
    program.stop()
    assert ended(daemon)


def test_a_program_that_ends_says_why(tmp_path: Path) -> None:
    """The error holds what it wrote; a program that is not there is an error at once."""
    program = Program(["sh", "-c", "echo because; exit 3"], free_port(), log=tmp_path / "log")
    with pytest.raises(RuntimeError, match="because"):
        program.wait_until_ready()
    with pytest.raises(RuntimeError, match="No such file"):
        Program(["/no/such/program"], free_port(), log=tmp_path / "other")
