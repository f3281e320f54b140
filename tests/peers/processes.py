"""Peers that are programs: started in a session of their own, awaited, and ended with all that they started.

The script ``watched.py`` runs each of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers import watched

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence

START_SECONDS = 120
ROOT = Path(__file__).parents[2]
MODULES = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def kept_port() -> socket.socket:
    """A loopback port for a server that will be killed and come back: nobody else gets it while the socket lives.

    The socket is bound and does not listen, so the server (with SO_REUSEADDR) can, and while it is away connections are
    refused.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


_KEPT: deque[socket.socket] = deque(maxlen=100)


def free_port() -> int:
    """A loopback port that nobody listens on, and that no other caller gets soon."""
    _KEPT.append(kept_port())
    port: int = _KEPT[-1].getsockname()[1]
    return port


def accepts(port: int) -> bool:
    """Return True if somebody accepts connections on that loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def await_state(pid: int, state: str) -> None:
    """Return when all threads of a process are in a state: ``T`` when it was sent SIGSTOP, ``S`` when it waits."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
        if set(states) <= {state}:
            return
        time.sleep(0.005)
    raise RuntimeError(f"process {pid} does not come into state {state}")


class Program:
    """One running program that listens on a loopback port. It ends with this process, however that ends.

    Its working directory is that of its log. It can run modules of the tests.
    """

    def __init__(
        self, command: Sequence[str], port: int, *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.host, self.port = "127.0.0.1", port
        self._command, self._log = command, log
        with log.open("wb") as output:
            self._watcher = subprocess.Popen(
                [sys.executable, "-IS", watched.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=log.parent,
                env={**os.environ, "PYTHONPATH": MODULES, **(environment or {})},
                start_new_session=True,
            )
        assert self._watcher.stdout
        self.pid = int(self._watcher.stdout.readline() or 0)
        if not self.pid:
            self.stop()
            raise RuntimeError(self._failure())

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def wait_until_ready(self) -> None:
        """Return when the port accepts a connection; RuntimeError with the program's output when it ends before."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._watcher.poll() is None:
            if accepts(self.port):
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(self._failure())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes: SIGSTOP and SIGCONT make it hang and go on."""
        for each in watched.below(self._watcher.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)

    def has_ended(self) -> bool:
        """Return True if the program has ended by itself, or by a signal."""
        return self._watcher.poll() is not None

    def stop(self) -> None:
        """End the program and all processes that it started at once."""
        self._watcher.communicate()

    def _failure(self) -> str:
        return f"{self._command!r} did not start: {self._log.read_text(errors='replace')[-2000:]}"
