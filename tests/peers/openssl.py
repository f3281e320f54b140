"""OpenSSL's ``s_server``, for what Python's ssl module cannot be made to do as a server, and as an independent peer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.certificates import Authority, Credentials


@contextlib.contextmanager
def s_server(
    folder: Path, credentials: Credentials, client_ca: Authority | None = None, *options: str
) -> Iterator[Program]:
    """Run ``openssl s_server``; with ``client_ca`` it demands a client certificate of that CA."""
    certificate, key = credentials.write(folder, "s_server")
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-key", str(key)]
    command += ["-cert_chain", str(certificate), "-quiet", *options]
    if client_ca is not None:
        (folder / "s_server-ca.pem").write_text(client_ca.pem)
        command += ["-CAfile", str(folder / "s_server-ca.pem"), "-Verify", "3", "-verify_return_error"]
    program = Program(command, port, log=folder / f"s_server-{port}.log")
    try:
        program.wait_until_ready()
        yield program
    finally:
        program.stop()
