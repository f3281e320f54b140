"""The files of ``docs/how-to/cluster.md``, on three loopback addresses instead of three machines.

They are 127.0.7.11 to 127.0.7.13, where the ports of the page are free, unless a program has them on all addresses.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import ssl
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from keystead.cli.client import Refused, Unreachable
from keystead.testing.service import USER, Keystead
from tests.cli.pages import blocks
from tests.peers import cluster, etcd, haproxy
from tests.peers.certificates import self_signed
from tests.peers.keystead import PASSWORD, Installation
from tests.peers.patroni import as_account
from tests.peers.postgres import find_binaries
from tests.peers.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MACHINES: Final = {f"keys{number}": f"127.0.7.1{number}" for number in (1, 2, 3)}
CLIENTS: Final = 8444
"""The port that clients use, instead of 443, which not everybody may open."""
READS: Final = 9443
WITHIN_S: Final = 180

pytestmark = [
    pytest.mark.long,
    pytest.mark.allow_hosts(["127.0.0.1", *MACHINES.values()]),
    pytest.mark.skipif(bool(cluster.MISSING), reason=f"not installed: {cluster.MISSING}"),
]


def text_of(file: str) -> str:
    """Return a file of the page; its block begins with a comment of its path."""
    (found,) = (block.text for block in blocks("how-to/cluster.md", 8443) if re.match(rf"# /\S*/{file}\b", block.text))
    return found


class Machine:
    """One of the three: its name, address and files, and what runs on it."""

    def __init__(self, name: str, folder: Path, running: contextlib.ExitStack) -> None:
        self.address, self.folder = MACHINES[name], folder / name
        self.folder.mkdir()
        self.data = self.folder / "keystead"
        self._running = running
        binaries, account = find_binaries(folder)
        self._as = as_account(account)
        self._differs = {
            r"(?<=trusted_proxies = ).*": '["127.0.0.1"]',  # where connections between loopback addresses come from
            r"127\.0\.0\.1:5000": f"{self.address}:5000",
            r"bind :443": f"bind {self.address}:{CLIENTS}",
            r"bind :9443": f"bind {self.address}:{READS}",
            r"192\.0\.2\.0/28": "127.0.0.0/8",
            r"192\.0\.2\.": "127.0.7.",
            r"/var/lib/(\w+)/keystead$": rf"{self.folder}/\1-data",
            r"/usr/lib/postgresql/\d+/bin": str(binaries),
            r"/etc/ssl/\w+/ssl-cert-snakeoil": f"{self.folder}/postgresql",
            r"\bADDRESS\b": self.address,
            r"\bNAME\b": name,
        }  # fmt: skip
        self_signed().write(self.folder, "postgresql")
        self.write("config.yml", self.folder)
        if account:
            folder.chmod(0o711)
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, account.pw_uid, account.pw_gid)

    def write(self, file: str, folder: Path) -> Path:
        """Write a file of the page as it is on this machine."""
        text = text_of(file)
        for pattern, here in self._differs.items():
            text = re.sub(pattern, here, text, flags=re.MULTILINE)
        path = folder / file
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def run(self, name: str, *command: str, **environment: str) -> Program:
        """Run a program until the test ends."""
        program = Program(command, 0, log=self.folder / f"{name}.log", environment=environment)
        self._running.callback(program.stop)
        return program

    def start_etcd(self) -> None:
        """Start the member of etcd."""
        text = self.write("etcd", self.folder).read_text()
        self.run("etcd", etcd.PROGRAM or "", **dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)))

    def start_patroni(self) -> Program:
        """Start Patroni, which starts PostgreSQL."""
        command = [*self._as, shutil.which("patroni") or "", str(self.folder / "config.yml")]
        return self.run("patroni", *command, HOME=str(self.folder))

    def start_haproxy(self) -> None:
        """Start both load balancers."""
        self.run("haproxy", haproxy.PROGRAM or "", "-f", str(self.write("haproxy.cfg", self.folder)))

    def start_keystead(self, shared: dict[str, bytes]) -> Keystead:
        """Make the node, with these files of the first one, start it, and return what clients of this machine reach."""
        self.data.mkdir(mode=0o700)
        self.write("keystead.toml", self.data)
        for name, content in shared.items():
            (self.data / name).touch(mode=0o400)
            (self.data / name).write_bytes(content)
        installation = Installation(self.data).init(PASSWORD)
        self.run("keystead", *installation.command("serve"), **installation.environment)
        return Keystead(f"https://{self.address}:{CLIENTS}", USER, PASSWORD, self.data / "tls.crt")

    def answers(self, port: int, path: str, *, secure: bool = False) -> bool:
        """Whether this machine answers 200."""
        trusted = ssl._create_unverified_context()  # noqa: S323 - whether it answers is the question
        connection = (
            http.client.HTTPSConnection(self.address, port, timeout=5, context=trusted)
            if secure
            else http.client.HTTPConnection(self.address, port, timeout=5)
        )
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        return False


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    """Three machines on which nothing runs yet."""
    with tempfile.TemporaryDirectory(prefix="keystead-page-") as folder, contextlib.ExitStack() as running:
        yield [Machine(name, Path(folder), running) for name in MACHINES]


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Return when something holds."""
    until = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.2)


def database_made(machine: Machine) -> bool:
    """Whether the database could be made through this machine's HAProxy."""
    url = f"postgresql://postgres:SUPERUSER_PASSWORD@{machine.address}:5000/postgres?sslmode=require"
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE keystead LOGIN PASSWORD 'DATABASE_PASSWORD'")
        connection.execute("CREATE DATABASE keystead OWNER keystead")
        return True
    return False


def written(service: Keystead) -> bool:
    """Whether the service makes an SVM."""
    with contextlib.suppress(Refused, Unreachable):
        service.call("POST", "/svm/svms", {"name": "after"})
        return True
    return False


def test_its_files_make_a_cluster_that_outlives_a_machine(machines: list[Machine]) -> None:
    """Each load balancer leads to a ready node, and one of the three PostgreSQL may die and come back."""
    for each in machines:
        each.start_etcd()
    wait_for("etcd", lambda: all(each.answers(2379, "/health") for each in machines))
    members = [each.start_patroni() for each in machines]
    wait_for("standbys", lambda: sum(each.answers(8008, "/replica") for each in machines) == 2)
    wait_for("a synchronous one", lambda: any(each.answers(8008, "/synchronous") for each in machines))
    for each in machines:
        each.start_haproxy()
    wait_for("the database", lambda: database_made(machines[0]))
    certificate = self_signed((*MACHINES.values(), "localhost"))
    shared = {"tls.crt": certificate.certificate_pem.encode(), "tls.key": certificate.key_pem.encode()}
    services = []
    for each in machines:
        services.append(each.start_keystead(shared))
        shared["root.key"] = (machines[0].data / "root.key").read_bytes()
    for port in (CLIENTS, READS):
        wait_for("nodes", lambda: all(each.answers(port, "/readyz", secure=True) for each in machines))  # noqa: B023
    assert len({node["uuid"] for each in services for node in each.call("GET", "/cluster/nodes")["records"]}) == 3
    primary = next(number for number, each in enumerate(machines) if each.answers(8008, "/primary"))
    members[primary].stop()

    wait_for("a write", lambda: written(services[primary]))
    machines[primary].start_patroni()
    wait_for("the member that died", lambda: sum(each.answers(8008, "/replica") for each in machines) == 2)
