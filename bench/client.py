"""CPU of a client per Get, one after the other on one connection, against PyKMIP's client on the same server.

Ours runs on uvloop, as the service does; PyKMIP's is its documented client, ``ProxyKmipClient``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import uvloop

from bench.codec import PYKMIP, get_answer
from bench.row import Row
from keystead.kmip import Client
from keystead.kmip.transport import connect, tls
from tests.peers.certificates import Authority, client, client_context
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

GETS = 200
ROUNDS = 15


class Setting(NamedTuple):
    """The server, and what both clients need to reach it."""

    server: Program
    context: ssl.SSLContext
    folder: Path


def cpu_per_get() -> Row:
    """Our CPU time of a Get as a part of PyKMIP's; the two take turns, the ratio of their medians."""
    with replaying(get_answer()) as setting:
        rounds = [(ours(setting), theirs(setting)) for _ in range(ROUNDS)]
    mine, other = (median(column) for column in zip(*rounds, strict=True))
    return Row(mine / other, "x", 0.2, "lower", PYKMIP)


ROWS: dict[str, Callable[[], Row]] = {"client_cpu_per_get": cpu_per_get}


@contextlib.contextmanager
def replaying(answer: bytes) -> Iterator[Setting]:
    """Run the replaying server, in a process of its own."""
    authority = Authority()
    own, leaf = client(authority), authority.issue()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificate, key = leaf.write(folder, "server")
        own.write(folder, "client")
        (folder / "ca.pem").write_text(authority.pem)
        (folder / "none.conf").touch()  # or PyKMIP reads the user's own
        port = free_port()
        command = [sys.executable, "-m", "bench.replay", str(port), str(certificate), str(key)]
        server = Program([*command, str(folder / "ca.pem"), answer.hex()], port, log=folder / "log")
        try:
            server.wait_until_ready()
            yield Setting(server, client_context(authority, own), folder)
        finally:
            server.stop()


def ours(setting: Setting) -> float:
    """CPU seconds of one Get with our client."""

    async def measure() -> float:
        address = connect.Address(2, ("127.0.0.1", setting.server.port))
        stream = await tls.handshake(await connect.connect_tcp([address]), setting.context, server_name="localhost")
        key_server = Client(stream)
        await key_server.get("1", timeout=10)
        start = time.process_time()
        for _ in range(GETS):
            await key_server.get("1", timeout=10)
        spent = time.process_time() - start
        key_server.close()
        return spent / GETS

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure())


def theirs(setting: Setting) -> float:
    """CPU seconds of one Get with PyKMIP's client."""
    from kmip.pie.client import ProxyKmipClient

    folder = setting.folder
    with ProxyKmipClient(
        hostname="127.0.0.1",
        port=setting.server.port,
        cert=str(folder / "client.pem"),
        key=str(folder / "client.key"),
        ca=str(folder / "ca.pem"),
        config_file=str(folder / "none.conf"),
    ) as key_server:
        key_server.get("1")
        start = time.process_time()
        for _ in range(GETS):
            key_server.get("1")
        return (time.process_time() - start) / GETS


if __name__ == "__main__":
    row = cpu_per_get()
    print(f"client CPU per Get: {row.value:.3f} of {row.against}'s (budget {row.budget})")
