"""Writes of releases that are too old are refused by the database itself, in every table, whatever they ask first."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from keystead.service.ports.store import SchemaError
from keystead.store import compatibility, tables
from keystead.store.opening import open_database
from keystead.store.repository import SqlTransaction
from keystead.store.upgrade import plan, upgrade
from tests.store import samples
from tests.store.revisions import hear_node, to_revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.store import SqlStore

WHEEL = next((Path(__file__).parents[1] / "releases").glob("keystead-0.1.0-*.whl"))
SCHEMA_OF_0_1_0 = "0012"
PROGRAM_OF_0_1_0 = """
import asyncio, sys
from sqlalchemy import text
from keystead.core.model import Svm
from keystead.service.ports.store import StoreError
from keystead.store import open_store
from keystead.store.upgrade import upgrade

async def main(url):
    upgrade(url)
    store = open_store(url)
    for name in sys.stdin:
        try:
            await store.write(lambda tx: tx.add_svm(Svm(name, name)))
            print("written", flush=True)
        except StoreError as error:
            print(error, flush=True)
    with store.database.reader.connect() as connection:
        print(connection.execute(text("SELECT name FROM svms")).scalars().all())
    await store.close()

asyncio.run(main(sys.argv[1]))
"""

TRIGGERS = {
    "sqlite": "SELECT tbl_name AS guarded, replace(name, 'refuse_old_release_' || tbl_name || '_', '') AS event"
    " FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT event_object_table AS guarded, event_manipulation AS event FROM information_schema.triggers",
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield an empty database of each engine in turn. SQLite's file does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    with request.getfixturevalue("postgres").empty_database() as empty:
        yield empty


@pytest.fixture
def old_url(url: str) -> str:
    """Return a database with the schema of release 0.1.0."""
    to_revision(url, SCHEMA_OF_0_1_0)
    return url


def test_release_0_1_0_runs_through_an_upgrade(url: str, tmp_path: Path) -> None:
    """Its open connections write nothing more, and it still reads."""
    zipfile.ZipFile(WHEEL).extractall(tmp_path / "release")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM_OF_0_1_0, url],
        env={"PYTHONPATH": str(tmp_path / "release")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as old:
        assert old.stdin
        assert old.stdout
        old.stdin.write("before\n")
        old.stdin.flush()
        assert old.stdout.readline() == "written\n"
        assert upgrade(url) == SCHEMA_OF_0_1_0
        said, _ = old.communicate("after\n", timeout=60)
    refused, names = said.splitlines()
    assert compatibility.SQLSTATE in refused or compatibility.FUNCTION in refused
    assert names == "['before\\n']"


async def test_a_later_release_that_has_become_too_old(store: SqlStore) -> None:
    """What it asks is refused in words, its transaction leaves nothing, and its reads go on."""
    await store.write(lambda tx: tx.put_node(samples.NODE))
    with store.database.writer.begin() as connection:
        connection.execute(text("UPDATE compatibility SET writes_min = '9999'"))
    for node in (samples.NODE, replace(samples.NODE, uuid="another", name="another")):
        with pytest.raises(SchemaError, match="too old"):
            await store.write(partial(SqlTransaction.put_node, node=node))
    assert await store.read(lambda tx: tx.nodes()) == (samples.NODE,)


def test_every_table_is_guarded(database_url: str) -> None:
    """The newest tables, too, against inserts, updates and deletes."""
    database = open_database(database_url)
    with database.reader.connect() as connection:
        rows = connection.execute(text(TRIGGERS[connection.dialect.name])).all()
    database.dispose()
    assert {(row.guarded, row.event) for row in rows} == {
        (table, event) for table in tables.metadata.tables for event in ("INSERT", "UPDATE", "DELETE")
    }


@pytest.mark.parametrize(
    ("schema", "ago_s", "in_the_way"),
    [(None, 44, True), (None, 46, False), (None, -900, True), ("0020", 1, True), (tables.WRITES_MIN, 1, False)],
)
def test_nodes_that_are_heard_are_in_the_way(old_url: str, schema: str | None, ago_s: int, *, in_the_way: bool) -> None:
    """But for those that can write afterwards. A clock that is ahead is heard as well."""
    to_revision(old_url, tables.HEAD)
    hear_node(
        old_url,
        datetime.now(UTC) - timedelta(seconds=ago_s),
        "UPDATE alembic_version SET version_num = '0020'",
        schema=schema,
    )
    assert bool(plan(old_url, ()).in_the_way) == in_the_way
    database = open_database(old_url)
    with database.writer.begin() as connection:
        connection.execute(text("UPDATE nodes SET has_left = 1"))
    database.dispose()
    assert not plan(old_url, ()).in_the_way


def test_an_upgrade_waits_for_a_node_of_release_0_1_0(old_url: str) -> None:
    """It changes nothing while the node is heard; it goes on if the node certainly does not run."""
    hear_node(old_url, datetime.now(UTC))
    with pytest.raises(SchemaError, match="node n1 was heard 0 s ago"):
        upgrade(old_url, ())
    todo = plan(old_url, ())
    assert (todo.found, todo.steps[0][0], todo.steps[-1][0]) == (SCHEMA_OF_0_1_0, "0013", tables.HEAD)
    assert not plan(old_url, ["node-1"]).in_the_way
    assert upgrade(old_url, ["node-1"]) == SCHEMA_OF_0_1_0


def test_a_plan_of_an_empty_database(url: str) -> None:
    """Every revision, and no file is made."""
    todo = plan(url, ())
    assert (todo.found, todo.steps[0][0], todo.steps[-1][0], todo.in_the_way) == (None, "0001", tables.HEAD, ())
    if url.startswith("sqlite"):
        assert not Path(url.removeprefix("sqlite:///")).exists()
