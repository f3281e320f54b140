"""PostgreSQL that fails over: Patroni with three members over three members of etcd, from Debian's packages.

A commit waits until one standby has it, and fails where there is none (``synchronous_mode_strict``). Members accept
every login on loopback. PostgreSQL refuses to run as root: then Patroni runs as another account, as does the server
of ``postgres.py``. Files are in a temporary folder, because that account cannot enter those of pytest.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from tests.peers import etcd
from tests.peers.haproxy import Balancer
from tests.peers.postgres import find_binaries
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable, Iterator, Sequence

Found = TypeVar("Found")

DATABASE: Final = "keystead"
"""The name of the database and of the role that owns it."""
URL: Final = f"postgresql://{DATABASE}@127.0.0.1:{{port}}/{DATABASE}"
"""The database in libpq's form, on the port of a member or of a load balancer."""
SUPERUSER: Final = "postgres"
TTL_S: Final = 20
"""How long a leader that is silent remains the leader: the least that Patroni accepts."""
START_S: Final = 120

_DYNAMIC: Final = {
    "ttl": TTL_S,
    "loop_wait": 2,
    "retry_timeout": 4,
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "postgresql": {
        "use_pg_rewind": True,
        "parameters": {
            "max_connections": 200,
            "shared_buffers": "32MB",
            "fsync": "off",  # the machine does not die
            "max_wal_size": "128MB",
            "wal_keep_size": "64MB",  # pg_rewind needs the log since the timelines parted
            "wal_log_hints": "on",
        },
    },
}
_FIRST: Final = _DYNAMIC | {"loop_wait": 1}
"""Members find each other in half the time."""
_ACCESS: Final = ["local all all trust", "host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]


def _there(pattern: str) -> bool:
    return any(Path("/usr").glob(pattern))


_NEEDED: Final = {
    "etcd-server": etcd.PROGRAM is not None,
    "patroni": shutil.which("patroni") is not None,
    "postgresql": _there("lib/postgresql/*/bin/pg_rewind"),
    "python3-etcd": _there("lib/python3/dist-packages/etcd"),
    "python3-dnspython": _there("lib/python3/dist-packages/dns"),
}
MISSING: Final = ", ".join(name for name, there in _NEEDED.items() if not there)
"""Debian's packages that this machine lacks, or empty. Debian's Patroni uses those of Debian's Python."""


class Member:
    """One Patroni and its PostgreSQL."""

    def __init__(self, name: str, folder: Path, command: Sequence[str]) -> None:
        self.name, self.folder = name, folder
        self.port, self.api_port = free_port(), free_port()
        self._command = [*command, str(self.configuration)]
        self._program: Program | None = None

    @property
    def configuration(self) -> Path:
        """Its configuration, for ``patronictl -c`` too."""
        return self.folder / "patroni.json"

    @property
    def postmaster(self) -> int:
        """The process id of its PostgreSQL."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    @property
    def pid(self) -> int | None:
        """The process id of Patroni, None if it was not started or was killed."""
        return self._program.pid if self._program else None

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL."""
        self._program = Program(self._command, self.api_port, log=self.folder / "log")

    def kill_postgres(self) -> None:
        """Kill PostgreSQL. Patroni finds out."""
        os.kill(self.postmaster, signal.SIGKILL)

    def freeze(self) -> None:
        """Halt Patroni and all of PostgreSQL, as a machine that hangs."""
        if self._program:
            self._program.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        if self._program:
            self._program.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill Patroni with its PostgreSQL, as if their machine had lost its power."""
        if self._program:
            self._program.stop()
        self._program = None

    def stop(self) -> None:
        """End both, PostgreSQL so that it leaves no shared memory behind."""
        if self._program:
            with contextlib.suppress(OSError):
                os.kill(self._program.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.kill(self.postmaster, signal.SIGQUIT)
                _wait_for(lambda: not Path(f"/proc/{self.postmaster}").exists(), 10, f"the end of {self.name}")
        self.kill()

    def ask(self, path: str, body: Any = None, method: str = "POST") -> tuple[int, str]:
        """Call Patroni: the status and the text of its answer, (0, "") without an answer.

        ``method`` is how a body is sent.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=START_S)
        try:
            connection.request("GET" if body is None else method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()


class Patroni:
    """Three members, one of them the primary, and the folder of all files."""

    def __init__(self, members: list[Member], folder: Path) -> None:
        self.members, self.folder = members, folder

    @property
    def primary(self) -> Member | None:
        """The member that says that it is the primary."""
        return next((each for each in self.members if each.ask("/primary")[0] == http.client.OK), None)

    @property
    def synchronous(self) -> Member:
        """The standby that commits wait for, when all is well."""
        name = next(name for name, role in self.roles().items() if role == "sync_standby")
        return next(each for each in self.members if each.name == name)

    def roles(self) -> dict[str, str]:
        """Return the role of each member that runs: ``leader``, ``sync_standby`` or ``replica``."""
        for each in self.members:
            status, text = each.ask("/cluster")
            if status == http.client.OK:
                found = json.loads(text)["members"]
                return {one["name"]: one["role"] for one in found if one["state"] in {"running", "streaming"}}
        return {}

    def wait_until_whole(self, seconds: float = START_S) -> Member:
        """Wait until a primary has two standbys, one of them synchronous. Return the primary. Raise TimeoutError."""
        _wait_for(
            lambda: sorted(self.roles().values()) == ["leader", "replica", "sync_standby"], seconds, "three members"
        )
        return self.wait_for_primary(seconds)

    def wait_for_primary(self, seconds: float = START_S) -> Member:
        """Return the primary once there is one. Raise TimeoutError."""
        return _wait_for(lambda: self.primary, seconds, "a primary")

    def switch_over(self) -> None:
        """Make the synchronous standby the primary. Raise RuntimeError if Patroni refuses."""
        leader = self.wait_for_primary()
        status, text = leader.ask("/switchover", {"leader": leader.name, "candidate": self.synchronous.name})
        if status != http.client.OK:
            raise RuntimeError(f"no switchover: {status} {text}")

    def balancer(self, name: str, *, shutdown_sessions: bool) -> Balancer:
        """Return a load balancer that leads to the primary.

        With ``shutdown_sessions`` it ends its connections to a member that is the primary no more.
        """
        options = "on-marked-down shutdown-sessions" if shutdown_sessions else ""
        servers = {each.name: f"127.0.0.1:{each.port} port {each.api_port}" for each in self.members}
        return Balancer(name, free_port(), "/primary", servers, options)


@contextlib.contextmanager
def running() -> Iterator[Patroni]:
    """Run all members with an empty database until the block ends, in a new folder. It takes some 10 seconds."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-patroni-")))
        stores = stack.enter_context(etcd.running(folder / "etcd"))
        made = Patroni(_members(folder, [each.address for each in stores]), folder)
        for member in made.members:
            stack.callback(member.stop)
            member.start()
        primary = made.wait_until_whole()
        assert primary.ask("/config", {"loop_wait": _DYNAMIC["loop_wait"]}, "PATCH")[0] == http.client.OK
        _make_database(primary)
        yield made


def _members(folder: Path, stores: list[str]) -> list[Member]:
    """Write the files of the members, whose account may enter the folder."""
    binaries, account = find_binaries(folder)
    if account:
        folder.chmod(0o711)
    members = []
    for name in ("db1", "db2", "db3"):
        member = Member(name, folder / name, [*as_account(account), shutil.which("patroni") or "patroni"])
        member.folder.mkdir(mode=0o700)
        shared = {"scope": "keystead", "etcd3": {"hosts": stores}}
        member.configuration.write_text(json.dumps(shared | _configuration(member, binaries), indent=2))
        if account:
            shutil.chown(member.folder, account.pw_uid, account.pw_gid)
        members.append(member)
    return members


def _configuration(member: Member, binaries: Path) -> dict[str, Any]:
    """Return Patroni's configuration of one member: JSON, which is YAML too."""
    api, postgres = f"127.0.0.1:{member.api_port}", f"127.0.0.1:{member.port}"
    return {
        "name": member.name,
        "restapi": {"listen": api, "connect_address": api},
        "bootstrap": {
            "dcs": _FIRST,
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "trust"}, "no-sync"],
        },
        "postgresql": {
            "listen": postgres,
            "connect_address": postgres,
            "data_dir": str(member.folder / "data"),
            "bin_dir": str(binaries),
            "pgpass": str(member.folder / "pgpass"),
            "pg_hba": _ACCESS,
            "authentication": {name: {"username": SUPERUSER} for name in ("superuser", "replication", "rewind")},
            "parameters": {"unix_socket_directories": str(member.folder)},
        },
    }


def as_account(account: pwd.struct_passwd | None) -> list[str]:
    """Return the words before a command that root runs as this account."""
    if account is None:
        return []
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]


def _make_database(primary: Member) -> None:
    with psycopg.connect(
        host="127.0.0.1", port=primary.port, user=SUPERUSER, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE ROLE {DATABASE} LOGIN".encode())
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER {DATABASE}".encode())


def _wait_for(found: Callable[[], Found | None], seconds: float, what: str) -> Found:
    """Return what a function finds, once it is true. Raise TimeoutError."""
    end = time.monotonic() + seconds
    while not (result := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come in {seconds:g} s")
        time.sleep(0.05)
    return result
