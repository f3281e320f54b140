"""A terminal for one command: its output, what a person types, and the keys that end it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

from tests.peers import fork_server
from tests.peers.processes import await_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CTRL_C, CTRL_D = "\x03", "\x04"
SECONDS = 240
STOP_SECONDS = 10

# A session leader that opens a terminal gets it as its controlling one, which is where a password is asked for. Ctrl-C
# counts there, also if the tests run in the background of a shell that ignores it.
_IN_TERMINAL = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " os.open(sys.argv[1], os.O_RDWR); os.execvp(sys.argv[2], sys.argv[2:])"
)


class Terminal:
    """A command that runs in a pseudo terminal."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, columns: int = 80
    ) -> None:
        inherited = {name: value for name, value in environment.items() if name != "COLUMNS"}  # the terminal has a size
        # A program of the fork server has no terminal.
        inherited["PATH"] = inherited["PATH"].removeprefix(f"{fork_server.programs()}{os.pathsep}")
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, os.ttyname(slave), *command],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=inherited, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.screen = ""

    def wait_for(self, text: str) -> None:
        """Read until the text is on the screen; AssertionError when it does not come."""
        deadline = time.monotonic() + SECONDS
        while text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            assert self._read(deadline), f"ended: {self.screen}"

    def type(self, keys: str) -> None:
        """Type keys once the command waits: Python does not see a signal that comes just before it begins to read."""
        await_state(self._process.pid, "S")
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read to the end; return the exit status."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            assert time.monotonic() < deadline, self.screen
        return self._process.wait(SECONDS)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._master], [], [], max(deadline - time.monotonic(), 0))[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.screen += data.decode().replace("\r\n", "\n")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # so that it can end what it has started, also when the test has failed
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
