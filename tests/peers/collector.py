"""A syslog collector: it reads frames (RFC 6587, octet counting) to the end of each connection, and keeps messages."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.peers.fault_servers import FaultServer
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 60
_INDEX = re.compile(r'sequenceId="(\d+)"')


def messages_in(data: bytes) -> list[str]:
    """Return the messages of whole frames. Raises ValueError for bytes that are no frame."""
    found = []
    while data:
        length, blank, rest = data.partition(b" ")
        if not blank or len(rest) < int(length):
            raise ValueError(f"not a frame: {data[:40]!r}")
        found.append(rest[: int(length)].decode())
        data = rest[int(length) :]
    return found


def index_of(message: str) -> int:
    """Return the index of a record or event on its node."""
    found = _INDEX.search(message)
    assert found, message
    return int(found[1])


class Collector:
    """A collector on a port of its own, which it keeps while it is away."""

    def __init__(self, wrap: Callable[[Any], Any] = lambda script: script) -> None:
        self._wrap = wrap
        self._lock = threading.Lock()
        self.port = free_port()
        self.messages: list[str] = []
        self.hinder: Callable[[Any], bool] = lambda _: False
        """Called with each connection before it is read; True ends it."""

    @contextlib.contextmanager
    def running(self) -> Iterator[Collector]:
        """Take connections until the block ends."""
        with FaultServer(self._wrap(self._read), port=self.port):
            yield self

    def _read(self, connection: Any) -> None:
        if self.hinder(connection):
            return
        data = b""
        while part := connection.recv(65536):
            data += part
        with self._lock:
            self.messages += messages_in(data)

    @property
    def indexes(self) -> list[int]:
        """The indexes of all messages, in the order in which they came."""
        return [index_of(message) for message in self.messages]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The audit records of all messages."""
        return [json.loads(message[message.index("{") :]) for message in self.messages]

    def wait_for(self, done: Callable[[], bool]) -> None:
        """Return once something holds; TimeoutError after a minute."""
        end = time.monotonic() + WAIT_S
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"only {self.messages[-3:]}")
            time.sleep(0.01)
