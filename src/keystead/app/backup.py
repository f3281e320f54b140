"""``keystead backup`` and ``restore``: save an installation in one file under a passphrase, and restore it.

A backup holds the root key, the node's uuid and the listener's certificate. It also holds the database (SQLite, copied
while it is served). A recovery bundle holds the configuration instead: what it takes to log in at the key servers
again.

Nothing is overwritten. A restored database begins a new incarnation: it destroys nothing until an operator releases
destruction. This module must not print: it returns the lines to show.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from keystead.app import tls
from keystead.app.clock import SystemClock
from keystead.app.conditions import NODE_FILE, note_backup
from keystead.app.new_files import new_file, temporary_name
from keystead.app.opening import CannotStart, opened
from keystead.core import events
from keystead.core.audit_retention import Way
from keystead.core.keys.incarnations import Reason, next_incarnation
from keystead.core.model import KeyManager
from keystead.sealing import Keyring, read_root_key
from keystead.sealing.passphrases import LONGEST_PART, read_sealed, write_sealed
from keystead.service.announcing import add_events
from keystead.service.audit import log as audit
from keystead.service.audit.saving import note_saved
from keystead.service.loading import incarnation_of
from keystead.service.ports.page import Page
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.store import copying, open_store
from keystead.store.opening import open_database, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystead.core.model import AuditHead
    from keystead.core.secret import Secret
    from keystead.service.ports.store import Transaction
    from keystead.settings import Settings
    from keystead.store import SqlStore
    from keystead.store.database import Database

DATABASE, BUNDLE = "database", "bundle"
_FILES: Final = {NODE_FILE: 0o444, tls.CERTIFICATE_FILE: 0o444, tls.KEY_FILE: 0o400}
_SQLITE: Final = "sqlite"

BUILDING: Final = ".restoring"
_EMPTY: Final = {BUILDING, "lost+found"}
"""Names that an empty data directory may hold: leftovers of a killed restore, and a folder that file systems make."""


# --- backup ---


def backup(settings: Settings, file: Path, passphrase: Secret, *, bundle: bool) -> list[str]:
    """Write a backup to a file that must not exist. Return the lines to show. Raises CannotStart."""
    store = opened(settings)
    try:
        database = store.database
        unlearned = asyncio.run(store.read(_unlearned)) if bundle else []
        if not bundle and database.writer.dialect.name != _SQLITE:
            raise CannotStart(
                "the database is PostgreSQL's: back it up with pg_dump, and its root key and configuration with"
                f" `keystead backup --bundle {file}`; both are needed to restore it"
            )
        root_key = read_root_key(settings.root_key_file)
        keyring = Keyring.open(root_key, asyncio.run(store.read(lambda tx: tx.data_keys())))
        ends = asyncio.run(store.read(lambda tx: tx.audit_ends()))  # before the copy, so that the copy has them
        manifest = {
            "kind": BUNDLE if bundle else DATABASE,
            "made": SystemClock().now().isoformat(),
            "root_key": _encoded(root_key.reveal()),
            "files": {name: _encoded((settings.data / name).read_bytes()) for name in _FILES},
        }
        with new_file(file) as target:
            write_sealed(target, _parts(manifest, database, file, bundle=bundle), passphrase)
        if not bundle or database.writer.dialect.name != _SQLITE:
            note_backup(settings.data)
        lines = [] if bundle else _note_saved(store, keyring, ends)
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or file}: {error.strerror}") from None
    finally:
        asyncio.run(store.close())
    what = "recovery bundle" if bundle else "backup"
    lines.insert(0, f"{what} {file}, {file.stat().st_size} bytes: keep it apart from its passphrase")
    why = "no key server of it was learned yet: make another bundle later, because this one cannot identify its keys"
    return lines + [f"key manager {uuid}: {why}" for uuid in unlearned]


def _note_saved(store: SqlStore, keyring: Keyring, ends: Sequence[AuditHead]) -> list[str]:
    """Note that the backup has the audit records up to these ends. Return a line if that fails: the backup is good."""
    try:
        reached = [(end.node, end.index, end.mac) for end in ends]
        asyncio.run(note_saved(store, keyring.mac, SystemClock(), Way.BACKUP, reached))
    except StoreError as error:
        return [f"old audit records stay until the next backup, because this one could not be noted: {error}"]
    return []


def _unlearned(tx: Transaction) -> list[str]:
    """Return the key managers (uuids) that have no digest key yet: a bundle cannot find their keys again."""
    managers = [each.uuid for each in tx.page(KeyManager, Page(limit=2**31 - 1))]
    return [uuid for uuid in managers if tx.key_servers(uuid) and tx.digest_key(uuid) is None]


def _parts(manifest: dict[str, Any], database: Database, file: Path, *, bundle: bool) -> Iterator[bytes]:
    """Yield the parts to seal: the manifest, then the configuration or the database in pieces."""
    yield json.dumps(manifest).encode()
    if bundle:
        content = json.dumps(copying.configuration(database)).encode()
        for start in range(0, len(content), LONGEST_PART):
            yield content[start : start + LONGEST_PART]
        return
    copy = temporary_name(file, "database")
    try:
        copying.copy_file(database, copy)
        with copy.open("rb") as whole:
            while piece := whole.read(LONGEST_PART):
                yield piece
    finally:
        copy.unlink(missing_ok=True)


# --- restore ---


def restore(settings: Settings, file: Path, passphrase: Secret) -> list[str]:
    """Make a data directory from a backup, where there is none. Return the lines to show. Raises CannotStart."""
    data, building, new = settings.data, settings.data / BUILDING, not settings.data.exists()
    if not new and not (data.is_dir() and {each.name for each in data.iterdir()} <= _EMPTY):
        raise CannotStart(f"{data} is not empty: nothing is restored over it")
    shutil.rmtree(building, ignore_errors=True)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        building.mkdir(mode=0o700)
        kind = _build(replace(settings, data=building), file, passphrase)
        for each in building.iterdir():  # not the directory itself, because it may be a mount point
            each.rename(data / each.name)
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or file}: {error.strerror}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
        if new:
            with suppress(OSError):  # because a restored directory is not empty
                data.rmdir()
    lines = [f"data directory {data}, restored: nothing is destroyed on key servers until an operator releases that"]
    return lines if kind == DATABASE else [*lines, "keys are found again by `keystead key-manager rebuild`"]


def _build(settings: Settings, file: Path, passphrase: Secret) -> str:
    """Make everything in a directory of its own. Return the kind of the backup."""
    payload = settings.data / "payload"
    with file.open("rb") as source, payload.open("xb") as target:
        parts = read_sealed(source, passphrase)
        manifest = json.loads(next(parts))
        for part in parts:
            target.write(part)
        target.flush()
        os.fsync(target.fileno())
    _write_root_key(settings.root_key_file, base64.b64decode(manifest["root_key"]))
    for name, mode in _FILES.items():
        _write(settings.data / name, base64.b64decode(manifest["files"][name]), mode)
    if manifest["kind"] == DATABASE:
        _place_database(settings, payload)
    else:
        _fill_database(settings, payload)
    asyncio.run(_begin(settings))
    return str(manifest["kind"])


def _place_database(settings: Settings, payload: Path) -> None:
    from keystead.store.upgrade import upgrade

    url = parse(settings.database_url)
    if url.get_backend_name() != _SQLITE or not url.database:
        raise CannotStart("the backup holds a database of SQLite: restore it without another database's URL")
    path = Path(url.database)
    if path.exists():
        raise CannotStart(f"{path} exists: it is not written over")
    payload.chmod(0o600)
    shutil.copyfile(payload, path)
    path.chmod(0o600)
    payload.unlink()
    upgrade(settings.database_url)


def _fill_database(settings: Settings, payload: Path) -> None:
    from keystead.store.upgrade import upgrade

    rows = json.loads(payload.read_bytes())
    payload.unlink()
    upgrade(settings.database_url)
    database = open_database(settings.database_url)
    try:
        copying.fill(database, rows)
    finally:
        database.dispose()


async def _begin(settings: Settings) -> None:
    """Begin the incarnation of the restored database, and the audit chains of nodes that have none."""
    store = open_store(settings.database_url)
    node, clock = (settings.data / NODE_FILE).read_text().strip(), SystemClock()

    def begin(tx: Transaction) -> None:
        keyring = Keyring.open(read_root_key(settings.root_key_file), tx.data_keys())
        for each in tx.nodes():
            audit.begin(tx, keyring, clock, each.uuid)
        after = next_incarnation(incarnation_of(tx), Reason.RESTORED, "", str(uuid4()), clock.now())
        tx.put_incarnation(after)
        values = {"incarnation": str(after.number), "reason": after.reason}
        add_events(tx, [events.DESTRUCTION_HELD.happened(node, clock.now(), None, values)])

    try:
        await store.write(begin)
    finally:
        await store.close()


def _write_root_key(path: Path, content: bytes) -> None:
    """Write the root key, unless the same key is there. Raises CannotStart if another key is there."""
    if path.exists():
        if read_root_key(path).reveal() != content:
            raise CannotStart(f"the root key {path} is another one than that of the backup")
        return
    _write(path, content, 0o400)


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # because the umask may have removed permissions
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
