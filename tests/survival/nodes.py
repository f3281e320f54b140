"""Three real nodes on one PostgreSQL, each by a way of its own, and what may happen to them."""

from __future__ import annotations

import contextlib
import http.client
import signal
import ssl
import sys
import time
from typing import TYPE_CHECKING, Final

from keystead.testing.tour import KEY_READER
from tests.peers.cluster import NODES, make_node, node_service
from tests.peers.keystead import PASSWORD, Service
from tests.peers.processes import free_port
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystead.testing.service import Keystead
    from tests.peers.keystead import Installation
    from tests.peers.proxy import Network

OFFLINE_READS_S: Final = 5
"""``offline_reads_s`` of all nodes: short, so that a schedule is often longer."""
READY_S: Final = 90
"""Within so many seconds after the last fault every node is ready."""
END_S: Final = 30


class Trouble:
    """Whether something is wrong now. What is asked while nothing is wrong must be answered rightly."""

    def __init__(self) -> None:
        self._now = self._times = 0

    @contextlib.contextmanager
    def lasting(self) -> Iterator[None]:
        """Say that something is wrong until the block ends."""
        self._times += 1
        self._now += 1
        yield
        self._now -= 1

    def mark(self) -> int | None:
        """Return None if something is wrong now, else a number that another trouble changes."""
        return None if self._now else self._times


class Node:
    """One Keystead, which can be ended and started again. ``way`` is the network between it and the database."""

    def __init__(self, installation: Installation, service: Keystead, way: Network) -> None:
        self.installation, self.service, self.way = installation, service, way
        self._process: Service | None = None
        self._hangs = False

    @property
    def name(self) -> str:
        """The name of its data directory."""
        return self.installation.data.name

    def start(self, ahead_s: int = 0) -> None:
        """Start it if it does not run, with its clock so far ahead. Do not wait for it."""
        if self._process is None:
            command = self.installation.command("serve")
            if ahead_s:
                command = [sys.executable, "-m", "tests.peers.shifted_clock", str(ahead_s), *command[3:]]
            self._process = Service(self.installation, command)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
        self._process, self._hangs = None, False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it takes too long."""
        if self._process is not None and not self._hangs:
            self._process.signal(signal.SIGTERM)
            self._process.wait(END_S)
        self.kill()

    def hang(self, *, hangs: bool = True) -> None:
        """SIGSTOP, or SIGCONT."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP if hangs else signal.SIGCONT)
            self._hangs = hangs

    def not_ready(self) -> str:
        """Return why it is not ready, empty if it is."""
        return self.ask("/readyz", END_S)

    def ask(self, path: str, seconds: float) -> str:
        """Return an empty text if a path answers 200 in time, else its answer."""
        context = ssl.create_default_context(cafile=self.service.ca)
        connection = http.client.HTTPSConnection(self.service.host, self.service.port, timeout=seconds, context=context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {error}"
        finally:
            connection.close()
        return "" if answer.status == http.client.OK else f"{answer.status} {content}"

    def wait_until_ready(self) -> None:
        """Return once it is ready. Raise TimeoutError with what it says."""
        end = time.monotonic() + READY_S
        while said := self.not_ready():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} is not ready {READY_S} s after the last fault: {said}")
            time.sleep(0.1)


@contextlib.contextmanager
def three_nodes(folder: Path, url: str, port: int) -> Iterator[list[Node]]:
    """Run three nodes until the block ends. ``url`` names the database with a ``{port}``; the database is at a port."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for name in NODES:
            way_port, way = stack.enter_context(proxy(port))
            own = free_port()
            installation = make_node(
                folder, name, own, url.format(port=way_port), PASSWORD, offline_reads_s=str(OFFLINE_READS_S)
            )
            nodes.append(Node(installation, node_service(folder, own, PASSWORD), way))
            stack.callback(nodes[-1].kill)
            nodes[-1].start()
        for node in nodes:
            node.wait_until_ready()
        nodes[0].service.call("POST", "/security/accounts", KEY_READER | {"password": PASSWORD})
        yield nodes
