"""A key server as a process of its own, to be killed, stopped and started again on its port with other certificates.

``python -m tests.peers.key_server PORT CERT KEY CLIENT_CA`` serves; the answers are those of ``kmip_answers``.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
import threading
from typing import TYPE_CHECKING

from tests.peers.fault_servers import FaultServer, tls
from tests.peers.kmip_answers import answering
from tests.peers.processes import Program, await_state, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.certificates import Authority, Credentials


class KeyServerProcess:
    """One key server. Its address stays the same, whatever happens to its process."""

    def __init__(self, folder: Path, credentials: Credentials, client_ca: Authority) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.start(credentials, client_ca)

    def start(self, credentials: Credentials, client_ca: Authority) -> None:
        """Start the process with these certificates, and wait until it accepts connections."""
        certificate, key = credentials.write(self._folder, "server")
        ca = self._folder / "client-ca.pem"
        ca.write_text(client_ca.pem)
        command = [sys.executable, "-m", __name__, str(self.port), str(certificate), str(key), str(ca)]
        self._program = Program(command, self.port, log=self._folder / "log")
        self._program.wait_until_ready()

    def kill(self) -> None:
        """SIGKILL: the kernel closes its connections."""
        self._program.stop()

    def pause(self) -> None:
        """SIGSTOP: the kernel goes on to accept connections, and nobody answers."""
        os.kill(self._program.pid, signal.SIGSTOP)
        await_state(self._program.pid, "T")

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self._program.pid, signal.SIGCONT)


def _serve(port: int, certificate: str, key: str, client_ca: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with FaultServer(tls(context, answering()), port=port):
        threading.Event().wait()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), *sys.argv[2:])
