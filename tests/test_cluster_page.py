"""The files of ``docs/how-to/cluster.md``, on three loopback addresses instead of three machines.

They are 127.0.7.11 to 127.0.7.13, where the ports of the page are free, unless a program has them on all addresses.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import psycopg
import pytest

from keystead.cli.client import Refused, Unreachable
from keystead.testing.service import USER, Keystead
from tests.cli.pages import blocks
from tests.peers import cluster, etcd, haproxy
from tests.peers.certificates import self_signed
from tests.peers.joining import join
from tests.peers.keystead import PASSWORD, Installation
from tests.peers.patroni import as_account
from tests.peers.postgres import find_binaries
from tests.peers.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MACHINES: Final = {f"keys{number}": f"127.0.7.1{number}" for number in (1, 2, 3)}
CLIENTS: Final = 8445
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
        self.name, self.address, self.folder = name, MACHINES[name], folder / name
        self.data = self.folder / "keystead"
        self._running = running
        self._programs: list[Program] = []
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
        self._account = account
        self.install()

    def install(self) -> None:
        """Have the files of PostgreSQL, which belong to its account, and nothing else."""
        self.folder.mkdir()
        self_signed().write(self.folder, "postgresql")
        self.write("config.yml", self.folder)
        if self._account:
            self.folder.parent.chmod(0o711)
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, self._account.pw_uid, self._account.pw_gid)

    def lose(self) -> None:
        """Lose all that runs, and all files."""
        for each in self._programs:
            each.stop()
        shutil.rmtree(self.folder)

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
        self._programs.append(program)
        return program

    def start_etcd(self, *more: str) -> None:
        """Start the member of etcd, with more lines in its file."""
        lines = [*self.write("etcd", self.folder).read_text().splitlines()[1:], *more]
        self.run("etcd", etcd.PROGRAM or "", **dict(line.split("=", 1) for line in lines))

    def start_patroni(self) -> Program:
        """Start Patroni, which starts PostgreSQL."""
        command = [*self._as, shutil.which("patroni") or "", str(self.folder / "config.yml")]
        return self.run("patroni", *command, HOME=str(self.folder))

    def start_haproxy(self) -> None:
        """Start both load balancers."""
        self.run("haproxy", haproxy.PROGRAM or "", "-f", str(self.write("haproxy.cfg", self.folder)))

    def start_keystead(self, member: Machine | None = None) -> Keystead:
        """Make the first node, or one that joins a member; start it, and return what clients of this machine reach."""
        self.data.mkdir(mode=0o700)
        self.write("keystead.toml", self.data)
        installation = Installation(self.data)
        if member:
            join(Installation(member.data), installation)
        else:
            certificate = self_signed((*MACHINES.values(), "localhost"))
            (self.data / "tls.crt").write_text(certificate.certificate_pem)
            (self.data / "tls.key").touch(mode=0o600)
            (self.data / "tls.key").write_text(certificate.key_pem)
            installation.init(PASSWORD)
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


LOGIN: Final = "postgresql://postgres:SUPERUSER_PASSWORD@{}:5000/postgres?sslmode=require"


def make_database(machine: Machine) -> None:
    """Make the role and the database through this machine's HAProxy."""
    with psycopg.connect(LOGIN.format(machine.address), autocommit=True) as connection:
        connection.execute("CREATE ROLE keystead LOGIN PASSWORD 'DATABASE_PASSWORD'")
        connection.execute("CREATE DATABASE keystead OWNER keystead")


def wait_for_primary(machine: Machine) -> None:
    """Return when every connection through this machine's HAProxy reaches the primary: all servers were checked."""

    def reaches_primary() -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(LOGIN.format(machine.address)) as connection:
            return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        return False

    wait_for("the primary", lambda: all(reaches_primary() for _ in range(2 * len(MACHINES))))


def written(service: Keystead) -> bool:
    """Whether the service makes an SVM, of another name each time: an attempt of unknown outcome may have made one."""
    with contextlib.suppress(Refused, Unreachable):
        service.call("POST", "/svm/svms", {"name": f"after-{uuid4().hex[:8]}"})
        return True
    return False


def start(machines: list[Machine]) -> list[Keystead]:
    """Follow the steps 2 to 6."""
    for each in machines:
        each.start_etcd()
    wait_for("etcd", lambda: all(each.answers(2379, "/health") for each in machines))
    for each in machines:
        each.start_patroni()
    wait_for_standbys(machines)
    for each in machines:
        each.start_haproxy()
        wait_for_primary(each)
    make_database(machines[0])
    first = machines[0].start_keystead()
    others = [each.start_keystead(machines[0]) for each in machines[1:]]
    wait_for_nodes(machines)
    return [first, *others]


def wait_for_standbys(machines: list[Machine]) -> None:
    """Return when the primary has two standbys, one of them synchronous."""
    wait_for("standbys", lambda: sum(each.answers(8008, "/replica") for each in machines) == 2)
    wait_for("a synchronous one", lambda: any(each.answers(8008, "/synchronous") for each in machines))


def wait_for_nodes(machines: list[Machine]) -> None:
    """Return when both load balancers of each machine lead to a node."""
    for port in (CLIENTS, READS):
        wait_for("nodes", lambda: all(each.answers(port, "/readyz", secure=True) for each in machines))  # noqa: B023


def exchange_member(lost: Machine, left: Machine) -> None:
    """Let etcd expect a new member in the place of a lost one, as the page says."""

    def ctl(*arguments: str) -> str:
        command = ["etcdctl", f"--endpoints={left.address}:2379", "member", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    (member,) = (line.split(",")[0] for line in ctl("list").splitlines() if f" {lost.name}," in line)
    ctl("remove", member)
    ctl("add", lost.name, f"--peer-urls=http://{lost.address}:2380")


@pytest.mark.skipif(shutil.which("etcdctl") is None, reason="not installed: etcd-client")
def test_its_files_make_a_cluster_that_outlives_a_machine(machines: list[Machine]) -> None:
    """Writes go on when a machine is lost, and another one in its place is a full member again."""
    services = start(machines)
    (primary,) = (number for number, each in enumerate(machines) if each.answers(8008, "/primary"))
    lost, left = machines[primary], machines[primary - 1]
    lost.lose()
    wait_for("a write", lambda: written(services[primary - 1]))
    exchange_member(lost, left)
    lost.install()
    lost.start_etcd("ETCD_INITIAL_CLUSTER_STATE=existing")
    lost.start_patroni()
    wait_for_standbys(machines)
    lost.start_haproxy()
    wait_for_primary(lost)
    again = lost.start_keystead(left)
    wait_for_nodes(machines)
    assert len(again.call("GET", "/cluster/nodes")["records"]) == len(machines) + 1
