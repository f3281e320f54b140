"""The key that signs reports: made once for a cluster, shown by init and by a command."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from typing import TYPE_CHECKING

import pytest

from keystead.app.initialise import initialise
from keystead.app.opening import CannotStart
from keystead.app.signing import public_key, signer
from keystead.sealing.signing import SIGNING, Signer, one_line, verify
from keystead.settings import Settings
from tests.peers.databases import raw_sqlite
from tests.service.worlds.basics import KEYRING

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.store import SqlStore
    from tests.peers.keystead import Installation
    from tests.peers.postgres import PostgresServer

SAID = "key that signs reports, public part "


def said(lines: list[str]) -> str:
    """Return the key in what init said."""
    (line,) = [line for line in lines if line.startswith(SAID)]
    return line.removeprefix(SAID)


def test_init_makes_the_key_and_says_it_each_time(postgres: PostgresServer, tmp_path: Path) -> None:
    """All nodes of a cluster have one."""
    with postgres.database() as url:
        one, two = (Settings(data=tmp_path / name, database=url) for name in ("one", "two"))
        first = said(initialise(one, b"password of admin", terminal=False))
        two.data.mkdir()
        shutil.copy(one.data / "root.key", two.data)
        assert [said(initialise(each, None, terminal=False)) for each in (two, one)] == [first, first]
        assert public_key(two) == first


def test_the_command_prints_the_key(installation: Installation) -> None:
    """The line that init showed, and nothing else."""
    done = installation.run("report", "public-key")
    assert done.returncode == 0, done.stderr
    assert done.stdout == said(installation.run("init").stdout.splitlines()) + "\n"


async def test_whoever_comes_first_makes_the_key(store: SqlStore) -> None:
    """Nodes that open a database of an earlier release at once all sign with one key."""
    signers = await asyncio.gather(*(signer(store, KEYRING) for _ in range(6)))
    assert len({each.public for each in signers}) == 1
    row = await store.read(lambda tx: tx.cluster_key(SIGNING))
    assert row is not None
    opened = Signer.open(KEYRING, row)
    assert all(verify(opened.public, "p", b"m", each.sign("p", b"m")) for each in signers)


def test_a_database_without_the_key_or_without_an_answer_is_named(installation: Installation) -> None:
    """One line that says what to do."""
    settings = Settings(data=installation.data)
    with contextlib.closing(raw_sqlite(installation.data / "keystead.db")) as database:
        database.execute("DELETE FROM cluster_keys")
        with pytest.raises(CannotStart, match="run `keystead init`"):
            public_key(settings)
        database.execute("DROP TABLE cluster_keys")
        with pytest.raises(CannotStart):
            public_key(settings)


def test_the_line_is_the_key(tmp_path: Path) -> None:
    """Check a report with the key that init shows."""
    line = said(initialise(Settings(data=tmp_path / "data"), b"password of admin", terminal=False))
    assert one_line(line) == line
