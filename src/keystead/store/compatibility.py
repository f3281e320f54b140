"""Which releases may write to a database. The database itself refuses the others, with triggers on every table.

A release announces its schema with each transaction. The triggers compare it with ``compatibility.writes_min``. Release
0.1.0 announces nothing, so it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select, text, update

from keystead.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

ANNOUNCED: Final = "keystead.schema"
"""PostgreSQL's setting that holds the schema of a transaction's release."""

FUNCTION: Final = "keystead_schema"
"""SQLite's function that returns the schema of the connection's release."""

SQLSTATE: Final = "KS001"
"""PostgreSQL's code of the refusal, and SQLite's text of it."""

TOO_OLD: Final = "the database accepts no writes of this release, which is too old, or the database was moved"

_NO_RELEASE = "moved"  # greater than every schema, because letters follow digits

_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION keystead_refuse_old_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('{ANNOUNCED}', true), '') < (SELECT writes_min FROM compatibility) THEN
    RAISE EXCEPTION 'this release of Keystead is too old to write here' USING ERRCODE = '{SQLSTATE}';
  END IF;
  RETURN NULL;
END $$
"""  # noqa: S608 - constants
_POSTGRESQL_GUARDED = """
SELECT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE tgname = 'refuse_old_release' AND pg_table_is_visible(tgrelid)
"""
# EXECUTE PROCEDURE, because PostgreSQL 10 does not know EXECUTE FUNCTION.
_POSTGRESQL_TRIGGER = """
CREATE TRIGGER refuse_old_release BEFORE INSERT OR UPDATE OR DELETE ON {table}
FOR EACH STATEMENT EXECUTE PROCEDURE keystead_refuse_old_release()
"""
_SQLITE_TRIGGER = f"""
CREATE TRIGGER IF NOT EXISTS refuse_old_release_{{table}}_{{event}} BEFORE {{event}} ON {{table}} BEGIN
  SELECT RAISE(ABORT, '{SQLSTATE}') WHERE {FUNCTION}() < (SELECT writes_min FROM compatibility);
END
"""  # noqa: S608 - constants


def refuse_old_releases(connection: Connection) -> None:
    """Let the database refuse writes of releases before ``WRITES_MIN``. Needs the tables of this release.

    On PostgreSQL this waits until no other transaction writes, and lets none write until this one ends.
    """
    make = _triggers_of_postgresql if connection.dialect.name == "postgresql" else _triggers_of_sqlite
    for statement in make(connection, sorted(tables.metadata.tables)):
        connection.execute(text(statement))
    connection.execute(update(tables.compatibility).values(writes_min=tables.WRITES_MIN))


def refuse_all_writes(connection: Connection) -> None:
    """Let the database refuse the writes of every release, for ever."""
    connection.execute(update(tables.compatibility).values(writes_min=_NO_RELEASE))


def writes_min(connection: Connection) -> str:
    """Return the oldest schema whose releases may write. Schemas before 0021 have no such row."""
    return str(connection.execute(select(tables.compatibility.c.writes_min)).scalar_one())


def _triggers_of_postgresql(connection: Connection, names: Sequence[str]) -> Iterator[str]:
    yield f"LOCK TABLE {', '.join(names)} IN SHARE ROW EXCLUSIVE MODE"
    yield _POSTGRESQL_FUNCTION
    guarded = set(connection.execute(text(_POSTGRESQL_GUARDED)).scalars())
    yield from (_POSTGRESQL_TRIGGER.format(table=name) for name in names if name not in guarded)


def _triggers_of_sqlite(_: Connection, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        for event in ("INSERT", "UPDATE", "DELETE"):
            yield _SQLITE_TRIGGER.format(table=name, event=event)
