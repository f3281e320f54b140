"""A real Keystead: ``keystead init`` and ``keystead serve`` as processes, and a small HTTPS client for its API.

Plain functions and context managers; the pytest fixtures stand at the end. Tests share a service where they can, and
take a copy of one initialised data directory where they cannot.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self
from uuid import uuid4

import pytest

from keystead.app.initialise import initialise
from keystead.settings import Settings
from tests.peers import fork_server
from tests.peers.asgi import Response
from tests.peers.certificates import Credentials, server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.kmip_answers import answering
from tests.peers.unretrieved import NEVER_RETRIEVED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.peers.certificates import Authority
    from tests.peers.fixtures import Pki
    from tests.peers.fork_server import Process
    from tests.peers.postgres import PostgresServer

COMMAND = (sys.executable, "-m", "keystead")
EGRESS = "127.0.0.0/8,::1/128"
PASSWORD = "a password of 1 test"
HOSTS = tuple(f"127.0.0.{number}" for number in range(1, 10))
READY_S = 120
ANSWER_S = 45


@dataclass(frozen=True)
class Installation:
    """A data directory, the database that belongs to it (a URL; SQLite in the directory if empty), and settings.

    ``source`` is the folder of the release that its commands run, None for this version. ``fresh`` starts each process
    afresh, for tests about processes; others are forked from one that has imported everything, which takes less CPU.
    """

    data: Path
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    source: Path | None = None
    fresh: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process of this installation is started with: this process's environment and the settings."""
        named = {"egress_allow": EGRESS} | ({"database": self.database} if self.database else {}) | dict(self.settings)
        release = {"PYTHONPATH": str(self.source)} if self.source else {}
        return dict(os.environ) | release | {f"KEYSTEAD_{name.upper()}": value for name, value in named.items()}

    def command(self, *arguments: str) -> list[str]:
        """A command line on this data directory."""
        return [*COMMAND, *arguments, "--data", str(self.data)]

    def hurried(self, *times: str) -> list[str]:
        """Return the program that serves with other times; see :mod:`tests.peers.hurried`."""
        serve = self.command("serve", "--listen", "127.0.0.1:0")[len(COMMAND) :]
        return [sys.executable, "-m", "tests.peers.hurried", *times, *serve]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal."""
        command = self.command(*arguments)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = self.start(command, out, err)
            try:
                process.wait(READY_S)
            finally:
                process.kill()
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(command, process.wait(), out.read(), err.read())

    def start(self, command: Sequence[str], out: IO[Any], err: IO[Any]) -> subprocess.Popen[bytes] | Process:
        """Start a process with this installation's environment, in a session of its own, without standard input."""
        environment = self.environment
        if not self.fresh and not self.source and tuple(command[:2]) == COMMAND[:2]:
            with Path(os.devnull).open() as nothing:
                files = nothing.fileno(), out.fileno(), err.fileno()
                return fork_server.start(list(command[2:]), environment, files)
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )

    def init(self, password: str = PASSWORD) -> Self:
        """``keystead init`` with a password for admin."""
        file = self.data.parent / f"{self.data.name}.password"
        file.touch(mode=0o600)
        file.write_text(f"{password}\n")
        done = self.run("init", "--admin-password-file", str(file))
        assert done.returncode == 0, done.stderr
        return self

    def copy(self, data: Path) -> Installation:
        """Another installation with the same keys, account and SQLite database."""
        shutil.copytree(self.data, data)
        return replace(self, data=data)

    @contextlib.contextmanager
    def serving(self, program: Sequence[str] = ()) -> Iterator[Service]:
        """Run ``serve`` (or another program that serves) until the block ends, then kill what is left of it."""
        service = Service(self, program or self.command("serve", "--listen", "127.0.0.1:0"))
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.kill()
        assert NEVER_RETRIEVED not in service.stderr.read_text(errors="replace")


class Service:
    """One ``keystead serve`` process. Its output is in files, so that no pipe can fill."""

    def __init__(self, installation: Installation, command: Sequence[str]) -> None:
        self.installation = installation
        folder = installation.data.parent
        name = f"serve-{uuid4().hex[:8]}"
        self.stdout, self.stderr = folder / f"{name}.out", folder / f"{name}.err"
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self._process = installation.start(command, out, err)
        self.port = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def wait_until_ready(self) -> None:
        """Return when the ready line is there; RuntimeError with what the process wrote when it ends before."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            line = self.stdout.read_text()
            if line.endswith("\n"):
                self.port = int(line.rsplit(":", 1)[1])
                return
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"keystead did not start: {self.stderr.read_text()[-2000:]}")

    def client(self, account: str = "admin", password: str = PASSWORD, *, source: str = "") -> Client:
        """A client of its own connection, from an address of this machine (empty: the usual one)."""
        return Client(self.port, self.installation.data / "tls.crt", account, password, source)

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for the end; return the exit status (negative: died by a signal)."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Client:
    """A kept-alive HTTPS connection with a Basic credential. One thread at a time."""

    def __init__(self, port: int, ca: Path, account: str, password: str, source: str = "") -> None:
        context = ssl.create_default_context(cafile=ca)
        self.connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=ANSWER_S, context=context, source_address=(source, 0) if source else None
        )
        credential = base64.b64encode(f"{account}:{password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {credential}"}

    def __call__(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make one call of ``/api`` + path; the body is bytes as they are, or a value for JSON."""
        self.send(method, path, body, headers=headers)
        return self.receive()

    def send(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> None:
        """Send a call without waiting for its answer."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self.connection.request(method, f"/api{path}", data, self.headers | dict(headers or {}))

    def receive(self) -> Response:
        """Read the answer."""
        response = self.connection.getresponse()
        return Response(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )

    def get(self, path: str) -> Any:
        """GET that must succeed; its body."""
        response = self("GET", path)
        assert response.status == 200, response.content
        return response.body

    def create(self, path: str, body: Any) -> dict[str, Any]:
        """POST that must succeed; the first of its records."""
        response = self("POST", f"{path}?return_records=true", body)
        assert response.status == 201, response.content
        record: dict[str, Any] = response.body["records"][0]
        return record

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- what most tests set up first ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """The uuids of an installed pair."""

    client: str
    server_ca: str

    def new_key_manager(self, servers: Sequence[Mapping[str, Any]], svm: str | None = None) -> dict[str, Any]:
        """The body of POST /security/key-managers."""
        external = {
            "client_certificate": {"uuid": self.client},
            "server_ca_certificates": [{"uuid": self.server_ca}],
            "servers": list(servers),
        }
        return {"external": external} | ({"svm": {"name": svm}} if svm else {})


def install_certificates(call: Client, client: Credentials, server_ca: Authority) -> Certificates:
    """Install a client certificate and a server CA."""
    name = uuid4().hex[:8]
    bodies: tuple[dict[str, str], ...] = (
        {"type": "client", "public_certificate": client.certificate_pem, "private_key": client.key_pem},
        {"type": "server_ca", "public_certificate": server_ca.pem},
    )
    uuids = [
        call.create("/security/certificates", body | {"name": f"{name}-{body['type']}"})["uuid"] for body in bodies
    ]
    return Certificates(*uuids)


def create_key_manager(call: Client, certificates: Certificates, *servers: str) -> str:
    """Create an SVM and its key manager; return the path of its key servers."""
    svm = f"svm-{uuid4().hex[:8]}"
    call.create("/svm/svms", {"name": svm})
    body = certificates.new_key_manager([{"server": server} for server in servers], svm)
    return f"/security/key-managers/{call.create('/security/key-managers', body)['uuid']}/key-servers"


def create_key(call: Client, key_manager: str, name: str) -> dict[str, Any]:
    """Create a key and return its record; again, if key servers that were not learned yet did not answer in time.

    ``key_manager`` is the path of the key manager or of its key servers.
    """
    path = f"{key_manager.removesuffix('/key-servers')}/volume-keys?return_records=true"
    until = time.monotonic() + READY_S
    while (made := call("POST", path, {"name": name})).status != 201:
        assert time.monotonic() < until, made.content
        time.sleep(0.1)
    record: dict[str, Any] = made.body["records"][0]
    return record


@contextlib.contextmanager
def key_servers(pki: Pki, count: int = 1) -> Iterator[list[int]]:
    """Sound key servers as threads of this process, cheap to start: their ports, each on all of :data:`HOSTS`."""
    context = server_context(pki.server_ca.issue(("localhost", *HOSTS)), pki.client_ca)
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(FaultServer(tls(context, answering()), "0.0.0.0")) for _ in range(count)]  # noqa: S104
        yield [server.port for server in servers]


# --- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation on SQLite that nobody serves, made in this process: to be copied, never changed."""
    data = tmp_path_factory.mktemp("keystead") / "data"
    initialise(Settings(data=data), f"{PASSWORD}\n".encode(), terminal=False)
    return Installation(data)


@pytest.fixture
def installation(initialised: Installation, tmp_path: Path) -> Installation:
    """An installation on SQLite of the test's own."""
    return initialised.copy(tmp_path / "data")


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, installation: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Yield an installation on each engine."""
    if request.param == "sqlite":
        yield installation
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield Installation(tmp_path / "on-postgresql", url).init()


@pytest.fixture(scope="session")
def shared_service(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for tests that make an SVM of their own and leave the process alone."""
    copy = initialised.copy(tmp_path_factory.mktemp("shared") / "data")
    with copy.serving() as service:
        yield service


@pytest.fixture(scope="session")
def sound_ports(pki: Pki) -> Iterator[list[int]]:
    """Six sound key servers, shared: the ports."""
    with key_servers(pki, 6) as ports:
        yield ports
