"""Commands whose standard streams are closed or full: one line where it can be written, and never a traceback."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.peers.keystead import PASSWORD, Client, Installation
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

FULL = "Error: the output cannot be written: No space left on device\n"


def run(redirections: str, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command with a shell's redirections."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_full_output(environment: dict[str, str], folder: Path, form: str) -> None:
    """Exit status 1 and one line."""
    command = ["keystead", "security", "certificate", "show", "-o", form, "--ca", str(folder / "tls.crt")]
    certificate = [*command[:3], "install", "--ca", command[-1], "--type", "server_ca", "--name", form]
    made = run("", [*certificate, "--cert", str(folder / "kmip-ca.pem")], environment)
    assert made.returncode == 0, made.stderr
    done = run(">/dev/full", command, environment)
    assert (done.returncode, done.stderr) == (1, FULL)


def test_a_full_output_of_kmip_probe(environment: dict[str, str], folder: Path) -> None:
    """A table that rich prints is no exception."""
    files = ["--client-cert", "client.pem", "--client-key", "client.key", "--server-ca", "kmip-ca.pem"]
    paths = [str(folder / part) if "." in part else part for part in files]
    done = run(">/dev/full", ["keystead", "kmip", "probe", "127.0.0.1:1", *paths], environment)
    assert (done.returncode, done.stderr) == (1, FULL)


@pytest.mark.parametrize("redirections", [">/dev/full", ">/dev/full 2>&1", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_init(tmp_path: Path, redirections: str) -> None:
    """What was made is whole, also when it cannot be told; a closed output takes everything."""
    installation = Installation(tmp_path / "data")
    done = run(redirections, installation.command("init"), installation.environment)
    full = "full" in redirections
    assert (done.returncode, done.stdout) == (int(full), "")
    assert done.stderr == (FULL if redirections == ">/dev/full" else "")
    assert (installation.data / "admin.password").exists()


def client(installation: Installation, port: int, password: str = PASSWORD) -> Client:
    """Return a client of a service that may not listen yet."""
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return Client(port, installation.data / "tls.crt", "admin", password)


@pytest.mark.parametrize(
    "streams", [">/dev/full", ">&-", "<&- >&- 2>&-", ">/dev/full 2>&1"], ids=["full", "closed", "all closed", "no log"]
)
def test_serving_does_not_need_its_streams(installation: Installation, streams: str) -> None:
    """The ready line is missed, nothing else: it serves, refuses, and stops when asked to."""
    port = free_port()
    command = installation.command("serve", "--listen", f"127.0.0.1:{port}")
    log = installation.data.parent / "log"
    redirected = streams if "2>" in streams else f"{streams} 2>{log}"
    process = subprocess.Popen(["sh", "-c", f'exec "$@" {redirected}', "sh", *command], env=installation.environment)
    try:
        with client(installation, port) as call:
            assert call("GET", "/cluster").status == 200
            assert call("GET", "/nothing").status == 404
        with client(installation, port, password="a wrong one") as stranger:
            assert stranger("GET", "/cluster").status == 401
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    said = log.read_text() if log.exists() else ""
    assert "Traceback" not in said
    assert ("the ready line cannot be written" in said) == (streams == ">/dev/full")
