"""The place of a database, as each engine tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from keystead.service.ports.store import StoreError
from keystead.store.identity import PLACE_SUFFIX, place_of

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.store import SqlStore

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_it_is_the_same_each_time(store: SqlStore) -> None:
    """A place has three parts, none empty, and is the same at each call."""
    place = place_of(store.database)
    assert place[0] == store.database.writer.dialect.name
    assert all(place)
    assert place_of(store.database) == place


@on_sqlite
def test_an_id_that_was_copied_along_is_of_another_place(store: SqlStore, tmp_path: Path) -> None:
    """A copied id file names another directory, so a new id is made."""
    _, first, file = place_of(store.database)
    (beside,) = tmp_path.glob(f"*{PLACE_SUFFIX}")
    assert beside.stat().st_mode & 0o777 == 0o600
    id_, directory = beside.read_text().split()
    assert (id_, directory) == (first, str(tmp_path.stat().st_ino))
    beside.write_text(f"{id_} {int(directory) + 1}\n")
    _, second, same_file = place_of(store.database)
    assert second != first
    assert same_file == file


@on_sqlite
def test_two_processes_that_note_a_place_at_once(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If two processes write the id at the same time, the first one's id counts."""
    first = place_of(store.database)
    monkeypatch.setattr("pathlib.Path.exists", lambda _: False)
    assert place_of(store.database) == first


@on_sqlite
def test_a_place_that_cannot_be_noted(store: SqlStore, tmp_path: Path) -> None:
    """An id that cannot be written raises StoreError, because a clone could not be told apart."""
    (tmp_path / f"keystead.db{PLACE_SUFFIX}").mkdir()
    with pytest.raises(StoreError, match=PLACE_SUFFIX):
        place_of(store.database)


@on_postgresql
def test_the_timeline_is_the_branch(store: SqlStore) -> None:
    """A new PostgreSQL cluster is on timeline 1."""
    engine, identity, branch = place_of(store.database)
    assert (engine, branch) == ("postgresql", "1")
    assert identity.replace("-", "").isdigit()


@on_postgresql
@pytest.mark.parametrize(
    ("statement", "failure"), [("SELECT no_such_function()", None), ("SELECT 1/0", "DivisionByZero")]
)
def test_a_database_that_does_not_tell(store: SqlStore, statement: str, failure: str | None) -> None:
    """A database that lacks PostgreSQL's functions has no place; any other failure is an error."""

    def asks(_connection: Any, _cursor: Any, _statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement, parameters

    event.listen(store.database.writer, "before_cursor_execute", asks, retval=True)
    if failure is None:
        assert place_of(store.database) == ("postgresql", "unknown", "")
    else:
        with pytest.raises(StoreError, match=failure):
            place_of(store.database)
