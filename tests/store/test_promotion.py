"""A real PostgreSQL server that is promoted: its timeline is another one, and so is the incarnation."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from keystead.store.identity import place_of
from keystead.store.opening import open_database
from tests.peers.postgres import USER, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cluster:
    """A PostgreSQL cluster of its own, which may be stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binaries, account = find_binaries(folder)
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self.run: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        if account:  # PostgreSQL refuses to run as root
            self.run |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            for each in (folder, self.data):
                shutil.chown(each, account.pw_uid, account.pw_gid)
        self._do("initdb", "-D", "data", "-U", USER, "-A", "trust", "--locale=C", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-c listen_addresses= -c fsync=off -c unix_socket_directories={self.folder}"
        self._do("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it, if it runs."""
        self._do("pg_ctl", "-D", "data", "-m", "fast", "-w", "stop", check=False)

    def promote(self) -> None:
        """Start it as a replica that has lost its primary, and promote it."""
        (self.data / "standby.signal").touch()
        self.start()
        self._do("pg_ctl", "-D", "data", "-w", "promote")

    @property
    def url(self) -> str:
        """Its one database."""
        return f"postgresql+psycopg://{USER}@/postgres?host={self.folder}"

    def _do(self, program: str, *arguments: str, check: bool = True) -> None:
        subprocess.run([self.binaries / program, *arguments], check=check, **self.run)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One that was never started, where another account can find it."""
    with tempfile.TemporaryDirectory(prefix="keystead-pg-") as folder:
        made = Cluster(Path(folder))
        yield made
        made.stop()


def test_a_promoted_server_is_on_another_branch(cluster: Cluster) -> None:
    """At once: not only after the next checkpoint. Started again, it stays where it is."""

    def place() -> tuple[str, str, str]:
        database = open_database(cluster.url)
        try:
            return place_of(database)
        finally:
            database.dispose()

    cluster.start()
    engine, identity, branch = place()
    assert branch == "1"
    cluster.stop()
    cluster.start()
    assert place() == (engine, identity, "1")
    cluster.stop()
    cluster.promote()
    assert place() == (engine, identity, "2")
    with psycopg.connect(cluster.url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
