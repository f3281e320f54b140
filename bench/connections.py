"""What 2,000 idle connections of one address cost the clients at another: logins and key reads."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from bench.keys import PASSWORD, home
from bench.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.keystead import Service

IDLE = 2000
SOURCE = "127.0.0.2"
ROUNDS = 4
CALLS = 150
WARM = 20


def others_latency(kind: str) -> Row:
    """Measure the p99 of logins on new connections, and of key reads from memory, beside idle connections.

    Both are multiples of the usual p99, and the worse one counts. Rounds with and without idle connections take turns.
    """
    with home(keys=1, servers=1) as made, made.installation.serving() as service:
        path = f"/security/key-managers/{made.manager}/volume-keys/{made.keys[0]}/retrieve"
        usual, beside = _Times(), _Times()
        _measure(service, path, WARM)
        for _ in range(ROUNDS):
            usual.add(_measure(service, path, CALLS))
            with _idle(service.port, kind):
                beside.add(_measure(service, path, CALLS))
    login, read = (after / before for before, after in zip(usual.p99(), beside.p99(), strict=True))
    usually = ", ".join(f"{1000 * value:.1f} ms" for value in usual.p99())
    return Row(
        max(login, read), "x", 2.0, "lower", f"p99 without them: {usually}; logins {login:.2f}, reads {read:.2f}"
    )


class _Times:
    """Seconds of logins and of reads."""

    def __init__(self) -> None:
        self._logins: list[float] = []
        self._reads: list[float] = []

    def add(self, times: tuple[list[float], list[float]]) -> None:
        self._logins += times[0]
        self._reads += times[1]

    def p99(self) -> tuple[float, float]:
        logins, reads = (sorted(each)[len(each) * 99 // 100] for each in (self._logins, self._reads))
        return logins, reads


def _measure(service: Service, path: str, count: int) -> tuple[list[float], list[float]]:
    """Return the seconds of so many logins, each on a connection of its own, and of so many reads on one."""
    logins, reads = [], []
    with service.client("reader", PASSWORD, source=SOURCE) as call:
        for _ in range(count):
            with service.client("reader", PASSWORD, source=SOURCE) as fresh:
                began = time.perf_counter()
                fresh.get("/cluster")
                logins.append(time.perf_counter() - began)
            began = time.perf_counter()
            answer = call("POST", path)
            reads.append(time.perf_counter() - began)
            assert answer.status == 200, answer.content
    return logins, reads


@contextlib.contextmanager
def _idle(port: int, kind: str) -> Iterator[None]:
    """Run the idle clients, after each has tried once."""
    command = [sys.executable, "-m", "bench.idle", str(port), str(IDLE), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as clients:
        try:
            assert clients.stdout is not None
            assert clients.stdout.readline() == b"tried\n"
            yield
        finally:
            clients.kill()


ROWS: dict[str, Callable[[], Row]] = {
    "beside_idle_plain": partial(others_latency, "plain"),
    "beside_idle_tls": partial(others_latency, "tls"),
}
