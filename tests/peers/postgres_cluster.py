"""PostgreSQL clusters of a test's own, which may be stopped, killed, promoted and made standbys of each other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from tests.peers.postgres import USER, find_binaries
from tests.peers.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {"fsync": "off", "wal_keep_size": "256MB", "hot_standby": "on", "max_connections": "60"}


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
        """Make an empty cluster."""
        self._do("initdb", "-D", "data", "-U", USER, "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync")

    def copy(self, primary: Cluster) -> None:
        """Make a standby of a cluster that runs."""
        self._do("pg_basebackup", "-D", "data", "-d", primary.libpq("replication"), "-R", "-c", "fast", "-X", "stream")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        texts = [f"-c {name}={value}" for name, value in (SETTINGS | options).items()]
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

    def libpq(self, database: str = "postgres") -> str:
        """Return the URL of a database in libpq's form."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    @property
    def url(self) -> str:
        """The URL of its one database in SQLAlchemy's form."""
        return self.libpq().replace("postgresql", "postgresql+psycopg", 1)

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement outside of any transaction, and return its rows."""
        with psycopg.connect(self.libpq(), autocommit=True) as connection:
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
