"""OpenSSL's ``s_server``, for what Python's ssl module cannot be made to do as a server, and as an independent peer."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.certificates import Authority, Credentials


def verify(folder: Path, certificate: str, ca: str, purpose: str) -> None:
    """Check, as strictly as openssl can, that a certificate of this CA is good for ``sslclient`` or ``sslserver``."""
    (folder / "verified.pem").write_text(certificate)
    (folder / "verifying.pem").write_text(ca)
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose]
    _checked([*command, "-CAfile", str(folder / "verifying.pem"), str(folder / "verified.pem")])


def request_text(folder: Path, csr: str) -> str:
    """Check a request's signature and return what openssl reads in it."""
    (folder / "request.pem").write_text(csr)
    return _checked(["openssl", "req", "-verify", "-noout", "-text", "-in", str(folder / "request.pem")])


def request(folder: Path, subject: str, *options: str) -> tuple[str, str]:
    """Make a request and its key with openssl."""
    key, csr = folder / "made.key", folder / "made.csr"
    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-subj", subject]
    _checked([*command, "-out", str(csr), *options])
    return csr.read_text(), key.read_text()


def _checked(command: list[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr + run.stdout
    return run.stdout


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
