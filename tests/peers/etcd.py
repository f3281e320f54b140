"""Three members of etcd, Debian's package etcd-server, as processes on loopback."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Final

from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM: Final = shutil.which("etcd")

_MEMBERS: Final = ("etcd1", "etcd2", "etcd3")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[list[Program]]:
    """Run the members until the block ends. They need a second or two to elect their leader."""
    assert PROGRAM
    clients = {name: free_port() for name in _MEMBERS}
    peers = {name: f"http://127.0.0.1:{free_port()}" for name in _MEMBERS}
    with contextlib.ExitStack() as stack:
        members = []
        for name in _MEMBERS:
            (folder / name).mkdir(parents=True)
            client = f"http://127.0.0.1:{clients[name]}"
            options = {
                "name": name,
                "data-dir": str(folder / name / "data"),
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peers[name],
                "initial-advertise-peer-urls": peers[name],
                "initial-cluster": ",".join(f"{each}={url}" for each, url in peers.items()),
                "unsafe-no-fsync": "true",  # the machine does not die
                "log-level": "warn",
            }
            command = [PROGRAM, *(f"--{option}={value}" for option, value in options.items())]
            members.append(Program(command, clients[name], log=folder / name / "log"))
            stack.callback(members[-1].stop)
        for each in members:
            each.wait_until_ready()
        yield members
