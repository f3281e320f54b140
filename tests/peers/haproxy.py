"""A real HAProxy, Debian's package of this name: load balancers on loopback that pass TCP on.

HAProxy takes a server for healthy until its first check has failed. So a connection that comes early, in the first
second, can reach a standby, or a node that is not ready. Debian's release 3.0 cannot begin otherwise (``init-state`` is
of 3.1). :func:`running` therefore returns when every server has been checked.
"""

from __future__ import annotations

import contextlib
import csv
import shutil
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.peers.processes import START_SECONDS, Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PROGRAM: Final = shutil.which("haproxy", path="/usr/local/sbin:/usr/sbin:/usr/bin")
MISSING: Final = "" if PROGRAM else "haproxy"
"""The program that this machine lacks, or empty."""

_GLOBAL: Final = """\
global
  stats socket {socket}
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 2s
"""
_BALANCER: Final = """
listen {name}
  bind 127.0.0.1:{port}
  option httpchk GET {path}
  http-check expect status 200
  default-server check inter 1s fall 2 rise 1 {options}
"""


@dataclass(frozen=True)
class Balancer:
    """One load balancer: its port, what its checks ask, and its servers with their addresses and further options."""

    name: str
    port: int
    path: str
    servers: Mapping[str, str]
    options: str = ""

    def configuration(self) -> str:
        """Return its section."""
        head = _BALANCER.format(name=self.name, port=self.port, path=self.path, options=self.options)
        return head + "".join(f"  server {name} {address}\n" for name, address in self.servers.items())


@contextlib.contextmanager
def running(folder: Path, balancers: Sequence[Balancer]) -> Iterator[None]:
    """Run these load balancers, with files in a new folder, until the block ends."""
    assert PROGRAM
    folder.mkdir()  # with a short path, because the control socket's may have 100 characters
    configuration, control = folder / "haproxy.cfg", folder / "control"
    configuration.write_text(_GLOBAL.format(socket=control) + "".join(each.configuration() for each in balancers))
    program = Program([PROGRAM, "-f", str(configuration)], balancers[0].port, log=folder / "log")
    try:
        program.wait_until_ready()
        end = time.monotonic() + START_SECONDS
        while not (control.exists() and all(_checks(control))):  # it gets its name after the ports listen
            if time.monotonic() > end:
                raise TimeoutError("HAProxy does not check its servers")
            time.sleep(0.05)
        yield
    finally:
        program.stop()


def _checks(control: Path) -> list[str]:
    """Return the outcome of each server's newest check, empty for one that was not checked yet."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(b"show stat\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    outcomes = [each["check_status"] for each in rows if each["svname"] not in {"FRONTEND", "BACKEND"}]
    return ["" if each == "INI" or each.startswith("*") else each for each in outcomes]
