"""The storage of a database: facts that distinguish it from its copies, and from its own state before a restore.

SQLite: the database's file, and an id in a file next to it that is bound to their directory. PostgreSQL: the system
identifier, the database and the timeline. A promotion or a point-in-time recovery begins a new timeline.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from keystead.service.ports.store import StoreError
from keystead.store.failures import final

if TYPE_CHECKING:
    from keystead.store.database import Database

_FILE = text("SELECT file FROM pragma_database_list WHERE name = 'main'")
_PLACE = text(
    "SELECT system_identifier::text, oid::text, pg_walfile_name(pg_current_wal_lsn())"
    " FROM pg_control_system(), pg_database WHERE datname = current_database()"
)
_TIMELINE_DIGITS = 8
PLACE_SUFFIX = ".place"
ROOT = 0
UNKNOWN = ("unknown", "")
"""The identity of a database that speaks PostgreSQL's protocol but does not tell its storage."""


def place_of(database: Database) -> tuple[str, str, str]:
    """Return the engine, the identity of the database, and its branch. This blocks. Raises StoreError."""
    engine = database.writer.dialect.name
    try:
        return engine, *(_of_file(database) if engine == "sqlite" else _of_server(database))
    except SQLAlchemyError as error:
        raise final(database.classify(error)) from None


def _of_file(database: Database) -> tuple[str, str]:
    """Return the identity of SQLite's file and its branch.

    The id is outside the database, because a copy of the file has the same content.
    """
    with database.reader.connect() as connection:
        path = Path(connection.execute(_FILE).scalar_one())
    try:
        # Not the device's number, because it may change at each start of the machine.
        return _directory_id(path), f"{os.statvfs(path).f_fsid:x}-{path.stat().st_ino}"
    except OSError as error:
        raise StoreError(f"{path}{PLACE_SUFFIX} cannot be used: {error.strerror}") from None


def _directory_id(path: Path) -> str:
    """Return the id of the file's directory, and make the id if there is none. Replace an id of another directory."""
    file = path.with_name(path.name + PLACE_SUFFIX)
    directory = str(path.parent.stat().st_ino)
    if file.exists():
        id_, _, of = file.read_text().strip().partition(" ")
        if of == directory:
            return id_
        file.unlink(missing_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as new:
        give_to_owner(new.fileno(), path)
        new.write(f"{uuid4()} {directory}\n")
    try:
        os.link(temporary, file)  # so that the first of two processes makes the complete file
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return file.read_text().partition(" ")[0]


def give_to_owner(descriptor: int, of: Path) -> None:
    """Give a new file to the owner of ``of``, if we are root. So the service can use what root made."""
    if os.geteuid() == ROOT:
        owner = of.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _of_server(database: Database) -> tuple[str, str]:
    with database.writer.connect() as connection:
        try:
            system, number, segment = connection.execute(_PLACE).one()
        except SQLAlchemyError as error:
            if getattr(getattr(error, "orig", None), "sqlstate", None) == "42883":  # undefined_function
                return UNKNOWN
            raise
        finally:
            connection.rollback()
    return f"{system}-{number}", str(int(segment[:_TIMELINE_DIGITS], 16))
