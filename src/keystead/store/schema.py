"""The check that a database has the schema of this release. Alembic is not imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from keystead.service.ports.store import SchemaError
from keystead.store import tables
from keystead.store.compatibility import writes_min
from keystead.store.copy_mark import check_not_marked
from keystead.store.database import once

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from keystead.store.database import Database

REVISIONS = "alembic_version"
NEWER = (
    "the database has schema {found}, newer than this release's {own}: install the release whose"
    " `keystead db upgrade` made it"
)


def check_schema(database: Database) -> None:
    """Raise SchemaError as :func:`check_revision` does. Raise StoreError if the data is elsewhere, or not all there."""
    check_revision(database)
    with once(database), database.reader.connect() as connection:
        check_not_marked(connection)


def check_revision(database: Database) -> None:
    """Raise SchemaError unless this release may use the database. Raise StoreError if it cannot be read.

    It may use its own schema, and a newer one that still accepts its writes.
    """
    with once(database), database.reader.connect() as connection:
        found = revision(connection)
        is_too_old = found is not None and found > tables.HEAD < writes_min(connection)
    if found is None:
        raise SchemaError("the database holds no Keystead schema: run `keystead init`, or `keystead db upgrade`")
    if found < tables.HEAD:
        raise SchemaError(
            f"the database has schema {found}, older than this release's {tables.HEAD}: run `keystead db upgrade`"
        )
    if is_too_old:
        raise SchemaError(NEWER.format(found=found, own=tables.HEAD))


def revision(connection: Connection) -> str | None:
    """Return the revision of the schema, or None if there is none. Revisions are numbers of four digits, in order."""
    if not inspect(connection).has_table(REVISIONS):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {REVISIONS}")).scalar()  # noqa: S608 - a constant
    return None if found is None else str(found)
