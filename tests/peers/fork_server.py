"""Modules run as programs, forked from one process that has imported Keystead: a start costs 0.1 s of CPU, not 1.3 s.

A program has its own session, and the standard streams, environment, folder and umask of whoever asked for it. It is
killed when they are gone. Its command line in ``/proc`` is the fork server's. Commands that import little start faster
by themselves.

The file needs the standard library alone, so that a shell's ``keystead`` starts fast (see :func:`command`).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IMPORTED_ONCE = (
    "keystead.app.initialise",
    "keystead.app.wiring",
    "keystead.cli.main",
    "keystead.cli.rest",
    "keystead.cli.server",
    "keystead.store.upgrade",
    "keystead.testing.command",
    "keystead.web.app",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvloop",
)
LIMIT = 1 << 20
"""The length of an order in bytes."""

IN_SERVER = ("account", "audit", "backup", "db", "demo", "init", "key-manager", "restore", "serve")
"""The commands that import most of Keystead."""

FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


# --- who asks --------------------------------------------------------------------------------------------------------


class Process:
    """A program that runs, with the methods of :class:`subprocess.Popen` that tests use."""

    def __init__(self, path: str, argv: list[str], files: tuple[int, int, int], environment: dict[str, str]) -> None:
        self.args = argv
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(path)
        order = {
            "argv": argv,
            "environment": environment,
            "folder": os.getcwd(),  # noqa: PTH109 - loads no pathlib
            "umask": _umask(),
        }
        socket.send_fds(self._connection, [json.dumps(order).encode()], files)
        self.pid = int(self._connection.recv(LIMIT))

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative for a signal. Raises :class:`subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._connection.recv(LIMIT))
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit status, None while the program runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program, if it still runs."""
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> str:
    """Start this process's fork server, which ends with it. Return the path of its socket."""
    folder = tempfile.mkdtemp(prefix="keystead-fork-")
    path = f"{folder}/socket"
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )

    @atexit.register
    def end() -> None:
        server.communicate()
        shutil.rmtree(folder)

    assert server.stdout
    assert server.stdout.readline() == b"ready\n"
    return path


def _umask() -> int:
    """Return this process's mask for new files."""
    os.umask(mask := os.umask(0))
    return mask


def start(argv: list[str], environment: dict[str, str], files: tuple[int, int, int]) -> Process:
    """Start ``argv``, a module and its arguments, with these open files as its standard streams."""
    return Process(_server(), argv, files, environment)


def command(module: str) -> list[str]:
    """Return a command line that runs a module in the fork server, to which arguments can be added.

    It passes on signals and the exit status. It has no terminal to ask at.
    """
    return [sys.executable, "-IS", __file__, "run", _server(), module]


_KEYSTEAD = """#!/bin/sh
case "$1" in
  {}) exec {} "$@" ;;
  *) exec {} -m keystead "$@" ;;
esac
"""


@cache
def programs() -> str:
    """Return a folder with the program ``keystead``, to stand first in a shell's PATH."""
    folder = os.path.dirname(_server())  # noqa: PTH120 - loads no pathlib
    path = f"{folder}/keystead"
    with open(path, "w") as file:  # noqa: PTH123
        file.write(_KEYSTEAD.format("|".join(IN_SERVER), " ".join(command("keystead")), sys.executable))
    os.chmod(path, 0o700)  # noqa: PTH101
    return folder


def run(path: str, argv: list[str]) -> int:
    """Run a program to its end for :func:`command`, and return its exit status as shells count it."""
    process = Process(path, argv, (0, 1, 2), dict(os.environ))
    for number in FORWARDED:
        signal.signal(number, lambda number, _: process.send_signal(number))
    status = process.wait()
    return 128 - status if status < 0 else status


# --- the fork server -------------------------------------------------------------------------------------------------


def serve(path: str) -> list[str]:
    """Fork a process for each order until standard input ends. In each of them return its ``argv``."""
    signal.signal(signal.SIGCHLD, _reap)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while sys.stdin not in (ready := select.select([listener, sys.stdin], [], [])[0]):
        assert ready
        connection, _ = listener.accept()
        order, files, _, _ = socket.recv_fds(connection, LIMIT, 3)
        if not os.fork():
            listener.close()
            return _forked(connection, json.loads(order), files)
        connection.close()
        for each in files:
            os.close(each)
    sys.exit()


def _reap(*_: object) -> None:
    """Wait for those who watched, so that their time counts as this process's, and the tests'."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _forked(connection: socket.socket, order: dict[str, Any], files: list[int]) -> list[str]:
    """Fork the program and watch it. In the program's process return its ``argv``."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        _watch(connection, pid)
    connection.close()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started in the background ignores it
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.umask(order["umask"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    argv: list[str] = order["argv"]
    return argv


def _watch(connection: socket.socket, pid: int) -> None:
    """Tell the one who asked the program's pid, and in the end its status. Kill it once nobody waits for it."""
    watched: list[Any] = [os.pidfd_open(pid), connection]
    connection.send(str(pid).encode())
    if watched[0] not in select.select(watched, [], [])[0]:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    """Be the fork server and then each of its programs, or ask it to run one."""
    if sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], sys.argv[3:]))
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    sys.argv = serve(sys.argv[1])
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
