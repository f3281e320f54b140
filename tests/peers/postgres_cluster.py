"""PostgreSQL clusters of a test's own, which may be stopped, killed, promoted and made standbys of each other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.peers.postgres import USER, find_binaries
from tests.peers.processes import free_port
from tests.peers.watched import below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = {
    "fsync": "off",
    "wal_keep_size": "256MB",
    "wal_retrieve_retry_interval": "100ms",
    "hot_standby": "on",
    "max_connections": "100",
}
WAIT_S = 30


class Cluster:
    """One cluster, at a loopback port and at a socket in its folder. It has no data until :meth:`make` or others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._binaries, account = find_binaries(folder)
        self._data = folder / "data"
        self._data.mkdir(mode=0o700)
        self._run: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        if account:  # PostgreSQL refuses to run as root
            self._run |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            for each in (folder, self._data):
                shutil.chown(each, account.pw_uid, account.pw_gid)

    def make(self) -> None:
        """Make an empty cluster, with the checksums that pg_rewind needs."""
        self._do("initdb", "-D", "data", "-U", USER, "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync", "-k")
        with (self._data / "postgresql.conf").open("a") as file:  # for pg_rewind, too, which takes no options
            file.writelines(f"{name} = {value}\n" for name, value in SETTINGS.items())

    def copy(self, primary: Cluster) -> None:
        """Make a standby of a cluster that runs."""
        self._do("pg_basebackup", "-D", "data", "-d", primary.libpq("replication"), "-R", "-c", "fast", "-X", "stream")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        texts = [f"-c {name}={value}" for name, value in options.items()]
        self._do("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", " ".join(texts), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs."""
        self._do("pg_ctl", "-D", "data", "-m", mode, "-w", "stop", check=False, stderr=subprocess.DEVNULL)

    def promote(self) -> None:
        """Promote a standby that runs."""
        self._do("pg_ctl", "-D", "data", "-w", "promote")

    def lose_primary(self) -> None:
        """Start a cluster that is stopped as a standby that has lost its primary."""
        (self._data / "standby.signal").touch()
        self.start()

    def follow(self, primary: Cluster) -> None:
        """Throw everything away, and become a standby of another cluster."""
        self.stop("immediate")
        shutil.rmtree(self._data)
        self.copy(primary)
        self.start()

    def rewind(self, primary: Cluster) -> None:
        """Throw away what another cluster lacks, and become its standby. It is stopped before."""
        primary.execute("CHECKPOINT")  # before it, PostgreSQL 15 takes a promoted server for one that was not promoted
        self._do("pg_rewind", "-D", "data", f"--source-server={primary.libpq()}", "-R", "--no-sync")
        self.start()

    def receive_from(self, primary: Cluster | None) -> None:
        """Have a standby that runs receive the log from another cluster, or from none."""
        source = primary.libpq() if primary else ""
        self.execute(f"ALTER SYSTEM SET primary_conninfo = '{source}'")
        self.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.receives() is (primary is not None), "the standby does not receive, or receives still")

    def receives(self) -> bool:
        """Return whether a standby receives the log."""
        return bool(self.execute("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"))

    def received(self) -> int:
        """Return how much of the log a standby has."""
        ((position,),) = self.execute(
            "SELECT pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')"
        )
        return int(position)

    def cancel_waiting_commits(self) -> int:
        """Cancel all commits that wait for a standby. Return how many there were."""
        waiting = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return len(self.execute(waiting))

    def hang(self, *, hangs: bool = True) -> None:
        """Halt all of its processes, as a machine that hangs, or let them go on. Do nothing if it is stopped."""
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists():
            return
        postmaster = int(pid_file.read_text().split("\n", 1)[0])
        for pid in (postmaster, *below(postmaster)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP if hangs else signal.SIGCONT)

    def libpq(self, database: str = "postgres") -> str:
        """Return the URL of a database in libpq's form."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    @property
    def url(self) -> str:
        """The URL of its one database in SQLAlchemy's form."""
        return self.libpq().replace("postgresql", "postgresql+psycopg", 1)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement outside of any transaction, and return its rows."""
        with psycopg.connect(self.libpq(), autocommit=True, connect_timeout=WAIT_S) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def is_primary(self) -> bool:
        """Return whether it runs and takes writes."""
        with contextlib.suppress(psycopg.OperationalError):
            return self.execute("SELECT pg_is_in_recovery()") == [(False,)]
        return False

    @contextlib.contextmanager
    def frozen(self, pids: list[int]) -> Iterator[None]:
        """Freeze processes of it until the block ends."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def backends(self) -> list[int]:
        """Return the processes that serve the connections of Keystead."""
        return [pid for (pid,) in self.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'keystead'")]

    def _do(self, program: str, *arguments: str, check: bool = True, **more: Any) -> None:
        subprocess.run([self._binaries / program, *arguments], check=check, **self._run, **more)


def wait_until(true: Callable[[], bool], otherwise: str) -> None:
    """Return once something is true. Raise TimeoutError."""
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.02)


@contextlib.contextmanager
def clusters(number: int) -> Iterator[list[Cluster]]:
    """Give so many clusters without data, where another account can find them. They are stopped at the end."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(number):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-pg-"))
            made.append(Cluster(Path(folder)))
            stack.callback(made[-1].stop, "immediate")
        yield made


@contextlib.contextmanager
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """Give a primary and its standby, both running."""
    with clusters(2) as (primary, standby):
        primary.make()
        primary.start()
        standby.copy(primary)
        standby.start()
        yield primary, standby
