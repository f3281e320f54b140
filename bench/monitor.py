"""CPU of watching many key servers: this process runs the monitor, another one all of the key servers.

Real TLS with client certificates, real KMIP, the service's own store; every server has its kept-alive connection, and
each is probed once a minute. What is measured is CPU time, of a stretch that begins when all are connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import uvloop

from bench.row import Row
from keystead.app import logs
from keystead.app.initialise import initialise
from keystead.app.wiring import Running, running
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.model import KeyManager, KeyServer, Role, Svm
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.service.context import Call, Caller
from keystead.settings import Settings
from tests.peers.certificates import Authority, client
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keystead.service.ports.store import Transaction

SERVERS = 4000
PER_KEY_MANAGER = 4
CLIENTS = 20  # client certificates, and so TLS contexts
MEASURED_S = 30.0
CONNECTED_S = 90.0
CALL = Call(Caller("admin", Role.ADMIN, ""), "POST", "/")


def watching_cpu() -> Row:
    """Part of a core that watching 4,000 servers every 5 s takes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(data=folder / "data", egress_allow=("127.0.0.0/8",), log_level="error")
        logs.configure(settings)
        initialise(settings, b"a password of the bench", terminal=False)
        cores = uvloop.run(_measured(folder, settings))
    return Row(cores, "cores", 0.5, "lower", f"{SERVERS} servers, every {settings.monitor_interval} s")


ROWS: dict[str, Callable[[], Row]] = {"watching_cpu": watching_cpu}


async def _measured(folder: Path, settings: Settings) -> float:
    authority, own = Authority(), Authority("Client CA")
    with _key_servers(folder, authority, own) as port:
        async with running(settings) as open_:
            await _configure(open_, authority, own, port)
            open_.monitor.start()
            await _until_connected(open_)
            began, spent = time.monotonic(), time.process_time()
            await asyncio.sleep(MEASURED_S)
            return (time.process_time() - spent) / (time.monotonic() - began)


@contextlib.contextmanager
def _key_servers(folder: Path, authority: Authority, own: Authority) -> Iterator[int]:
    certificate, key = authority.issue().write(folder, "server")
    (folder / "ca.pem").write_text(own.pem)
    port = free_port()
    command = [sys.executable, "-m", "bench.watched", str(port), str(certificate), str(key), str(folder / "ca.pem")]
    server = Program(command, port, log=folder / "log")
    try:
        server.wait_until_ready()
        yield port
    finally:
        server.stop()


async def _configure(open_: Running, authority: Authority, own: Authority, port: int) -> None:
    """Store the key managers, as if their servers had been added; each SVM's has four."""
    install = open_.services.certificates.install
    ca = await install(CALL, NewCertificate("server_ca", authority.pem))
    clients = []
    for number in range(CLIENTS):
        made = client(own)
        key = Secret(made.key_pem)
        new = NewCertificate("client", made.certificate_pem, name=f"client-{number}", private_key=key)
        clients.append(await install(CALL, new))

    def store(tx: Transaction) -> None:
        for number in range(SERVERS // PER_KEY_MANAGER):
            svm = Svm(str(uuid4()), f"svm-{number:05d}")
            uuid = clients[number % CLIENTS].uuid
            manager = KeyManager(
                str(uuid4()), svm, enabled=True, client_certificate=uuid, server_ca_certificates=(ca.uuid,)
            )
            tx.add_svm(svm)
            tx.add_key_manager(manager)
            first = number * PER_KEY_MANAGER
            tx.add_key_servers([_key_server(manager, first + position, port) for position in range(PER_KEY_MANAGER)])

    await open_.store.write(store)


def _key_server(manager: KeyManager, number: int, port: int) -> KeyServer:
    address = ServerAddress(f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}", port)
    made = KeyServer(str(uuid4()), manager.uuid, number % PER_KEY_MANAGER + 1, address, 25, 10, "", ())
    return replace(made, tls_server_name="localhost")


async def _until_connected(open_: Running) -> None:
    async with asyncio.timeout(CONNECTED_S):
        while open_.monitor.connected < SERVERS:  # noqa: ASYNC110 - a measurement may poll
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    row = watching_cpu()
    print(f"watching {SERVERS} key servers: {row.value:.2f} cores (budget {row.budget})")
