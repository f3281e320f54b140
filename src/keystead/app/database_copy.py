"""``keystead db copy``: moves an installation from SQLite to PostgreSQL, or back, while nothing serves it.

The command can be killed anywhere and begun again, because of the order of its commits:

1. The target gets all rows, marked as an unfinished copy. Before, it was empty, or held an unfinished copy of this
   database.
2. The source is marked as moved. It was locked against writers all the time. With ``--keep-source`` this is left out.
3. The target loses its mark, and its incarnation notes the new place. If the source was itself a copy that no node has
   noticed yet, a new incarnation begins, as at a start.

So the two are never served as one incarnation. This module must not print: it returns the lines to show.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from keystead.app.clock import SystemClock
from keystead.app.incarnation import DataDirectory
from keystead.app.opening import CannotStart, node_uuid, served_alone
from keystead.core import events
from keystead.core.keys.incarnations import Reason, Storage, next_incarnation, plan_begin
from keystead.core.model import Role
from keystead.sealing import Keyring, read_root_key
from keystead.service.announcing import add_events
from keystead.service.audit.log import AuditLog
from keystead.service.audit.verifying import verify
from keystead.service.context import Call, Caller
from keystead.service.loading import incarnation_of
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.settings import FILE_NAME, Settings, has_password
from keystead.store import SqlStore, whole_copy
from keystead.store.copy_mark import CopyMark, CopyState, put_mark, remove_mark
from keystead.store.identity import give_to_owner, place_of
from keystead.store.opening import parse, shown
from keystead.store.repository import SqlTransaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from keystead.store.database import Database

CALL: Final = Call(Caller("", Role.ADMIN, ""), "", "keystead db copy")
"""The caller for the audit record: nobody logs in to a data directory."""

SQLITE: Final = "sqlite"


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two databases. ``name`` is its URL without a password; ``storage`` is where it is stored."""

    name: str
    database: Database
    store: SqlStore
    storage: Storage


def copy_database(settings: Settings, to: str, *, keep_source: bool) -> list[str]:
    """Copy the database of an installation to another one (a URL). Return the lines to show. Raises CannotStart."""
    there = replace(settings, database=to)
    try:
        if shown(there.database_url) == shown(settings.database_url):
            raise CannotStart("the database is copied to another one, not to itself")
        with served_alone(settings.data), _side(settings, whole_copy.open_source) as source:
            lines = _copy(source, there, keep_source=keep_source)
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or settings.data}: {error.strerror}") from None
    return [*lines, *_next_steps(settings, there, keep_source=keep_source)]


@contextmanager
def _side(settings: Settings, open_: Callable[[str | Path], Database]) -> Iterator[_Side]:
    """Open the database that the settings name, until the block ends."""
    with _naming(name := shown(settings.database_url)):
        database = open_(settings.database_url)
        store = SqlStore(database)
        try:
            storage = Storage(*place_of(database))
        except StoreError:
            database.dispose()
            raise
    try:
        yield _Side(name, database, store, storage)
    finally:
        asyncio.run(store.close())


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say in the block's errors which database it is."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{name}: {error}") from None


def _copy(source: _Side, there: Settings, *, keep_source: bool) -> list[str]:
    """Take the three steps, or only the last one if an earlier call took the others. Return the lines to show."""
    node, lines = node_uuid(there.data), []
    with ExitStack() as open_:
        with whole_copy.locked(source.database) as held:
            keyring = _keyring(source, there)
            mark = CopyMark.of(held)
            if mark is None or (mark.state is CopyState.MOVED and keep_source):
                chains = _chains(source, keyring, node)
                target = open_.enter_context(_side(there, partial(_open_target, there.data)))
                mark, rows = _fill(held, source, target)
                if _chains(target, keyring, node) != chains:
                    raise StoreError(f"{target.name}: the audit chains are not the same in the copy")
                if not keep_source:
                    put_mark(held, _moved(mark, target))
                lines = [f"copied {rows} rows, and compared them; audit chains that are intact: {len(chains)}"]
            elif mark.state is CopyState.MOVED and mark.other == shown(there.database_url):
                target = open_.enter_context(_side(there, whole_copy.open_source))
            else:
                raise StoreError(str(mark))
        audit = AuditLog(target.store, keyring, SystemClock(), node)
        with whole_copy.locked(target.database) as connection:
            _finish(connection, source, target, mark, audit, there.data, held=keep_source)
    return lines


def _moved(mark: CopyMark, target: _Side) -> CopyMark:
    """Return the source's mark, given the target's."""
    return replace(mark, state=CopyState.MOVED, other=target.name, storage=str(target.storage))


def _open_target(data: Path, url: str | Path) -> Database:
    """Open the target. If we are root, a SQLite file goes to the owner of the data directory."""
    database = whole_copy.open_target(url)
    parsed = parse(url)
    if parsed.get_backend_name() == SQLITE:
        with Path(parsed.database or "").open("rb") as file:
            give_to_owner(file.fileno(), data)
    return database


def _keyring(side: _Side, settings: Settings) -> Keyring:
    data_keys = asyncio.run(side.store.read(lambda tx: tx.data_keys()))
    return Keyring.open(read_root_key(settings.root_key_file), data_keys)


def _chains(side: _Side, keyring: Keyring, node: str) -> list[str]:
    """Verify the audit chains. Return what each node's chain is like. Raises StoreError if one is broken."""
    reports = asyncio.run(verify(side.store, keyring.mac, node))
    broken = next((report for report in reports if not report.intact), None)
    if broken is not None:
        raise StoreError(f"{side.name}: nothing is moved, because an audit chain does not hold: {broken}")
    return [str(report) for report in reports]


def _fill(held: Connection, source: _Side, target: _Side) -> tuple[CopyMark, int]:
    """Take step 1. Return the target's mark, and the number of rows."""
    mark = CopyMark(str(uuid4()), CopyState.UNFINISHED, source.name, str(source.storage), SystemClock().now())
    with _naming(target.name), whole_copy.locked(target.database) as filled:
        whole_copy.check_takes_copy(filled, mark.storage)
        rows = whole_copy.copy_rows(held, filled)
        put_mark(filled, mark)
    return mark, rows


def _finish(
    connection: Connection, source: _Side, target: _Side, mark: CopyMark, audit: AuditLog, data: Path, *, held: bool
) -> None:
    """Take step 3. Raises StoreError if the target is no longer this unfinished copy."""
    found = CopyMark.of(connection)
    if found is None or found.uuid != mark.uuid:
        raise StoreError(str(mark))
    database, node, now = target.database, node_uuid(data), SystemClock().now()
    tx = SqlTransaction(connection, database.classify, database.now, row_locks=database.row_locks)
    before = incarnation_of(tx)
    witness = asyncio.run(DataDirectory(data, target.store).read())
    after = plan_begin(before, source.storage, tx.node_epoch(node), witness, str(uuid4()), now)  # as a start would
    if held:
        after = next_incarnation(before, Reason.CLONED, str(target.storage), str(uuid4()), now)
    tx.put_incarnation(replace(after, storage=str(target.storage)))
    if after.number != before.number:
        values = {"incarnation": str(after.number), "reason": after.reason}
        add_events(tx, [events.DESTRUCTION_HELD.happened(node, now, None, values)])
    audit.succeed(tx, CALL, f"{'copied' if held else 'moved'} the database from {source.name} to {target.name}")
    tx.move_marks()
    remove_mark(connection)


def _next_steps(settings: Settings, there: Settings, *, keep_source: bool) -> list[str]:
    """Return the lines that say where the data is, and what the operator does now."""
    name = shown(there.database_url)
    if name == shown(replace(settings, database="").database_url):
        step = "remove the setting `database`"
    else:
        step = f'set `database = "{name}"`{" with its password" if has_password(there.database) else ""}'
    where = f"in {settings.data / FILE_NAME}, or as KEYSTEAD_DATABASE"
    if keep_source:
        return [
            f"{name} destroys nothing on key servers until an operator releases that",
            f"to serve it, {step} {where}",
        ]
    return [
        f"{shown(settings.database_url)} is not served any more",
        f"{step} {where}, on every node, and start",
    ]
