"""A process that has PyKMIP loaded and forks its servers: each is there at once instead of after a second of imports.

The servers are process groups of their own, so that all that one has started is killed or paused with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from tests.peers.processes import START_SECONDS, accepts
from tests.peers.pykmip import LOAD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

_FORK = f"""
import json, os, signal, sys
{LOAD}
def serve(folder, options):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ["TMPDIR"] = folder  # its manager process leaves folders behind when killed
    log = os.open(os.path.join(folder, "output.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, target in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(target, number)
    with KmipServer(**options) as server:
        server.serve()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
pids = []
while line := sys.stdin.readline():
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        serve(*json.loads(line))
        sys.exit()
    try:
        os.setpgid(pid, pid)  # on both sides: whichever comes first
    except OSError:
        pass
    pids.append(pid)
    print(pid, flush=True)
for pid in pids:  # the tests are gone
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
"""


class Nursery:
    """The process. Servers are stopped one by one; those of tests that were killed end by themselves."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process as process:
            process.kill()

    def launch(self, folder: Path, options: Mapping[str, Any]) -> Forked:
        """Start a server with the options of PyKMIP's ``KmipServer``; await it with ``wait_until_ready``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), options]).encode() + b"\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()), options["port"], folder / "output.log")


class Forked:
    """One server, as :class:`tests.peers.processes.Program` is one program."""

    def __init__(self, pid: int, port: int, log: Path) -> None:
        self.pid = pid
        self._port = port
        self._log = log

    @property
    def alive(self) -> bool:
        """Return True if its first process is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def wait_until_ready(self) -> None:
        """Return when the port accepts a connection; RuntimeError with the server's output when it ends before."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.alive:
            if accepts(self._port):
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"PyKMIP did not start: {self._log.read_text(errors='replace')[-2000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        os.killpg(self.pid, number)

    def stop(self) -> None:
        """Kill all its processes, and return when the first is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        while self.alive:
            time.sleep(0.005)
