"""What ``keystead serve`` tells its supervisor over a real socket: that it answers, lives and stops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from keystead.app.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.keystead import Installation

WAIT_S = 60
PERIOD_S = 0.9
STUCK_ON_SIGUSR1 = """
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
from keystead.cli.main import main
main()
"""
"""A service whose event loop is stuck from that signal on, while its other threads run."""


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Open the socket of a supervisor. A NUL at the beginning of an address makes an abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notes:
        notes.bind(address)
        notes.settimeout(WAIT_S)
        yield notes


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Yield the socket that the services of a test are told of, as systemd does, with a watchdog."""
    name = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(PERIOD_S * 1_000_000)))
    with listening(name) as opened:
        yield opened


def next_but_watchdog(notes: socket.socket) -> bytes:
    """Return the next note that is none for the watchdog."""
    while (note := notes.recv(100)) == b"WATCHDOG=1":
        pass
    return note


def test_a_service_says_that_it_answers_lives_and_stops(installation: Installation, notes: socket.socket) -> None:
    """``READY=1`` is true when it comes. Then the watchdog is fed until the service is told to stop."""
    with installation.serving() as service:
        assert next_but_watchdog(notes) == b"READY=1"
        with service.client() as call:
            assert call("GET", "/cluster").status == 200
        assert {notes.recv(100) for _ in range(4)} == {b"WATCHDOG=1"}
        service.signal(signal.SIGTERM)
        assert next_but_watchdog(notes) == b"STOPPING=1"
        assert service.wait(WAIT_S) == 0


def test_a_stuck_event_loop_does_not_feed_the_watchdog(installation: Installation, notes: socket.socket) -> None:
    """No note comes for a whole period, although the process lives."""
    program = [sys.executable, "-c", STUCK_ON_SIGUSR1, *installation.command("serve", "--listen", "127.0.0.1:0")[3:]]
    with installation.serving(program) as service:
        assert next_but_watchdog(notes) == b"READY=1"
        service.signal(signal.SIGUSR1)
        notes.settimeout(PERIOD_S)
        with pytest.raises(TimeoutError):
            assert [notes.recv(100) for _ in range(10)] == []  # more than were on their way
        with pytest.raises(subprocess.TimeoutExpired):
            service.wait(0)


def test_a_supervisor_that_goes_away_ends_nothing(
    installation: Installation, notes: socket.socket, tmp_path: Path
) -> None:
    """The service serves on, and stops well."""
    with installation.serving() as service, service.client() as call:
        notes.close()
        (tmp_path / "notify").unlink()
        assert call("GET", "/cluster").status == 200
        service.signal(signal.SIGTERM)
        assert service.wait(WAIT_S) == 0
        assert "the supervisor cannot be told" in service.stderr.read_text()


def test_an_abstract_name() -> None:
    """``@`` in ``NOTIFY_SOCKET`` stands for the NUL."""
    name = f"keystead-{os.getpid()}"
    with listening(f"\0{name}") as notes:
        Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert notes.recv(100) == b"READY=1"


def test_a_supervisor_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    """When its socket is full, notes are lost, and their sender goes on."""
    with listening(str(tmp_path / "notify")) as notes:
        supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(5000):
            supervisor.ready()
        assert notes.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "\N{ARABIC-INDIC DIGIT THREE}"},
        {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
async def test_no_watchdog_to_feed(environment: dict[str, str], tmp_path: Path) -> None:
    """None is asked for, or the request is for another process, or makes no sense: nothing is sent."""
    with listening(str(tmp_path / "notify")) as notes:
        async with asyncio.timeout(WAIT_S):
            await Supervisor({"NOTIFY_SOCKET": str(tmp_path / "notify")} | environment).feed()
        notes.setblocking(False)
        with pytest.raises(BlockingIOError):
            notes.recv(100)
