"""PyKMIP's real server, as processes on loopback. Plain functions: the demo uses them without pytest.

PyKMIP 0.11 speaks exactly TLS 1.2 and KMIP 1.0 to 2.0, on IPv4 only. It asks for a client certificate whose common name
becomes the owner of the keys, and ignores user names. It does not end on SIGTERM in time, so it is killed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.certificates import Authority, Credentials, Trusted

LOAD = """
import warnings
warnings.simplefilter("ignore")
from kmip.core.exceptions import ConnectionClosed
from kmip.services.server import KmipServer
from kmip.services.server.session import KmipSession

handle = KmipSession._handle_message_loop

def handle_or_end(session):
    try:
        handle(session)
    except OSError as error:
        raise ConnectionClosed() from error

KmipSession._handle_message_loop = handle_or_end
"""
"""How a process gets PyKMIP's server. As it comes, a session whose connection broke asks it for ever, at full speed."""

_SERVE = f"""
import json, sys
{LOAD}
with KmipServer(**json.loads(sys.argv[1])) as server:
    server.serve()
"""


def start(folder: Path, credentials: Credentials, client_ca: Authority | Trusted) -> Program:
    """Start one server whose files are in ``folder`` (made if absent); await it with ``wait_until_ready``."""
    options = prepared(folder, credentials, client_ca, free_port(), folder / "pykmip.db")
    return Program(
        [sys.executable, "-c", _SERVE, json.dumps(options)],
        options["port"],
        log=folder / "output.log",
        environment={"TMPDIR": str(folder)},  # its manager process leaves folders behind when killed
    )


def prepared(
    folder: Path, credentials: Credentials, client_ca: Authority | Trusted, port: int, database: Path
) -> dict[str, Any]:
    """Write the files of a server, and return the options of ``KmipServer`` for them; servers may share a database."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy").mkdir(exist_ok=True)
    certificate, key = credentials.write(folder, "server")
    (folder / "client-ca.pem").write_text(client_ca.pem)
    return {
        "hostname": "127.0.0.1",
        "port": port,
        "certificate_path": str(certificate),
        "key_path": str(key),
        "ca_path": str(folder / "client-ca.pem"),
        "auth_suite": "TLS1.2",
        "config_path": None,
        "log_path": str(folder / "server.log"),
        "policy_path": str(folder / "policy"),
        "enable_tls_client_auth": True,
        "logging_level": "WARNING",
        "database_path": str(database),
    }


@contextlib.contextmanager
def running(
    count: int, folder: Path, credentials: Credentials, client_ca: Authority | Trusted
) -> Iterator[list[Program]]:
    """Run ``count`` servers, started side by side (about 3 s on two cores), and end them afterwards."""
    servers: list[Program] = []
    try:
        folders = [folder / f"server-{number}" for number in range(1, count + 1)]
        servers.extend(start(each, credentials, client_ca) for each in folders)
        for number, each in enumerate(folders):
            try:
                servers[number].wait_until_ready()
            except RuntimeError:  # another process took the port between its choice and its use
                servers[number] = start(each, credentials, client_ca)
                servers[number].wait_until_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()
