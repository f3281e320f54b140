"""``keystead init`` and ``db upgrade``: make everything that is made once.

Both can be repeated safely, because nothing is made twice. This module must not print: it returns the lines to show.
The first password is shown on a terminal, or written to a file (0400).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead.app import listener, tls
from keystead.app.clock import SystemClock
from keystead.app.conditions import NODE_FILE
from keystead.app.opening import LOCK_FILE, CannotStart, node_uuid, opened, served_alone
from keystead.app.signing import signer
from keystead.core.model import ONTAP_LEVEL, Account, Cluster, Node, Role
from keystead.core.secret import Secret
from keystead.sealing import Argon2Hasher, Keyring, create_root_key, read_root_key
from keystead.sealing.signing import one_line
from keystead.sealing.sources import unfinished
from keystead.service.audit import log as audit
from keystead.service.cluster.membership import REMOVED
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from keystead.settings import Settings
    from keystead.store import SqlStore

ADMIN = "admin"
PASSWORD_FILE = "admin.password"  # noqa: S105 - a file's name
LOST = (
    "{data} was served from a database that is lost: a new one would know none of its keys. Move the directory away,"
    " then restore a backup or a recovery bundle with `keystead restore`; or start from nothing with `keystead init`"
)
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 128


def initialise(settings: Settings, password_file: bytes | None, *, terminal: bool) -> list[str]:
    """Make the missing parts of a data directory and its database. Return the lines to show.

    ``password_file`` is the content of ``--admin-password-file``. Raises CannotStart, SettingsError.
    """
    given = _checked_password(password_file) if password_file is not None else None
    host, _ = listener.parse_listen(settings.listen)
    lines = [f"data directory {settings.data}"]
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(settings.data):
            _check_not_lost(settings)
            lines += [upgrade(settings), *_root_key(settings), *certificate_of(settings.data, host)]
            lines += asyncio.run(_rows(settings, given, terminal=terminal))
            lines += [egress_line(settings)]
    except (SealError, StoreError) as error:
        raise CannotStart(str(error)) from None
    except OSError as error:
        raise CannotStart(f"{error.filename or settings.data}: {error.strerror}") from None
    return lines


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Lock the data directory. A second init waits here, and then finds everything made."""
    directory = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _check_not_lost(settings: Settings) -> None:
    """Raise CannotStart if the database of this node is gone. A node gets its uuid only after its database was made."""
    from keystead.store.upgrade import is_empty

    if (settings.data / NODE_FILE).exists() and is_empty(settings.database_url):
        raise CannotStart(LOST.format(data=settings.data))


def upgrade(settings: Settings) -> str:
    """Upgrade the database to this release's schema. Return the line to show. Raises CannotStart."""
    from keystead.store import tables
    from keystead.store.upgrade import upgrade as upgrade_

    with _stopped_nodes(settings.data) as stopped:
        try:
            before = upgrade_(settings.database_url, stopped)
        except StoreError as error:
            raise CannotStart(str(error)) from None
    if before and before >= tables.HEAD:
        return _found(before)
    return f"database schema {tables.HEAD}, {f'upgraded from {before}' if before else 'made'}"


def planned(settings: Settings) -> list[str]:
    """Return lines that say what :func:`upgrade` would do. Change nothing. Raises CannotStart."""
    from keystead.store import tables
    from keystead.store.upgrade import plan

    with _stopped_nodes(settings.data) as stopped:
        try:
            todo = plan(settings.database_url, stopped)
        except StoreError as error:
            raise CannotStart(str(error)) from None
    if not todo.steps:
        return [_found(todo.found or "")]
    return [
        f"database schema {todo.found or 'none'}, would become {tables.HEAD}:",
        *(f"  {number}  {what}" for number, what in todo.steps),
        f"releases with a schema before {tables.WRITES_MIN} could not write any more",
        "make a backup first: no command makes a schema older",
        *(f"refused now: {each}" for each in todo.in_the_way),
    ]


def _found(schema: str) -> str:
    from keystead.store import tables

    return (
        f"database schema {schema}, {'current' if schema == tables.HEAD else 'of a newer release that allows this one'}"
    )


@contextmanager
def _stopped_nodes(data: Path) -> Iterator[tuple[str, ...]]:
    """Yield the node (uuid) of a data directory that was served and is not now. It cannot start meanwhile."""
    with ExitStack() as held:
        stopped: tuple[str, ...] = ()
        if (data / LOCK_FILE).exists():  # else it was never served, or never made
            with suppress(CannotStart):  # it is served
                held.enter_context(served_alone(data))
                stopped = (node_uuid(data),)
        yield stopped


def _checked_password(content: bytes) -> Secret:
    """Return the password without its line end. Raises SettingsError for a wrong length or encoding.

    The API's further rules do not count here. Generated passwords may lack a digit, and whoever makes the data
    directory holds the root key anyway.
    """
    password = content.removesuffix(b"\n").removesuffix(b"\r")
    try:
        length = len(password.decode())
    except UnicodeDecodeError:
        raise SettingsError("--admin-password-file: the password is not UTF-8") from None
    if not SHORTEST_PASSWORD <= length <= LONGEST_PASSWORD:
        raise SettingsError(
            f"--admin-password-file: a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        )
    return Secret(password)


def _root_key(settings: Settings) -> list[str]:
    """Make the root key if there is none. Raises CannotStart if the database was set up with another one."""
    path = settings.root_key_file
    if unfinished(path).exists():
        unfinished(path).unlink()
    if path.exists():
        return []
    if path.is_symlink():
        raise CannotStart(f"the root key {path} is a link to {path.readlink()}, which does not exist")
    if asyncio.run(_has_data_keys(settings)):
        raise CannotStart(f"the root key {path} is missing, and this database's secrets can be opened with no other")
    create_root_key(path)
    return [f"root key {path}: keep a copy away from the database's backups"]


async def _has_data_keys(settings: Settings) -> bool:
    store = opened(settings)
    try:
        return bool(await store.read(lambda tx: tx.data_keys()))
    finally:
        await store.close()


def certificate_of(data: Path, host: str) -> list[str]:
    """Make the listener's certificate unless there is one. Return the line to show."""
    certificate, key = data / tls.CERTIFICATE_FILE, data / tls.KEY_FILE
    if not (certificate.exists() and key.exists()):
        made, private = listener.make_certificate(host, datetime.now(UTC))
        write_new(key, private, 0o400)
        write_new(certificate, made, 0o444)
    return [f"TLS certificate {certificate}, SHA-256 {listener.fingerprint(certificate.read_bytes())}"]


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file, which gets its name when it is complete and on disk. Call it only while the directory is locked."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)  # left by an init that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # because the umask may have removed permissions
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def egress_line(settings: Settings) -> str:
    """Return the line that says whether key servers may be on this host."""
    if settings.egress_allow:
        return f"key servers may also be in {','.join(settings.egress_allow)}: setting egress_allow"
    return "key servers on this host are refused: to use them, list their network in KEYSTEAD_EGRESS_ALLOW"


async def _rows(settings: Settings, given: Secret | None, *, terminal: bool) -> list[str]:
    """Make the rows that a service needs: data key, cluster, node, signing key, account admin."""
    store = opened(settings)
    try:
        keyring = await _keyring(store, settings)
        await store.write(lambda tx: add_node(tx, settings.data, keyring))
        public = (await signer(store, keyring)).public
        admin = await _admin(store, settings.data, given, terminal=terminal)
        return [f"key that signs reports, public part {one_line(public)}", *admin]
    finally:
        await store.close()


async def _keyring(store: SqlStore, settings: Settings) -> Keyring:
    """Open the data keys. Make the first one, unless the node had some: `db upgrade` makes tables without them."""
    root_key, known = read_root_key(settings.root_key_file), (settings.data / NODE_FILE).exists()

    def make(tx: Transaction) -> Keyring:
        keys = tx.data_keys()
        if keys:
            return Keyring.open(root_key, keys)  # raises SealError for another root key
        if known:
            raise CannotStart(LOST.format(data=settings.data))
        keyring, key = Keyring.create(root_key)
        tx.add_data_key(key)
        return keyring

    return await store.write(make)


def add_node(tx: Transaction, data: Path, keyring: Keyring) -> Node:
    """Make the node of a data directory, and the cluster if there is none. Return the node. Raises CannotStart."""
    cluster = tx.cluster()
    if cluster is None:
        cluster = Cluster(str(uuid4()), "keystead")
        tx.put_cluster(cluster)
    file = data / NODE_FILE
    if not file.exists():
        write_new(file, f"{uuid4()}\n".encode(), 0o444)
    uuid = file.read_text().strip()
    known = {node.uuid: node for node in tx.nodes()}
    name = known[uuid].name if uuid in known else f"{cluster.name}-{len(known) + 1:02}"
    if uuid not in known and tx.audit_head(uuid) is not None:
        raise CannotStart(REMOVED)
    node = Node(uuid, name, ONTAP_LEVEL)
    tx.put_node(node)
    if uuid not in known:  # because a known node without records has lost them, and verify must say so
        audit.begin(tx, keyring, SystemClock(), uuid)
    return node


async def _admin(store: SqlStore, data: Path, given: Secret | None, *, terminal: bool) -> list[str]:
    if await store.read(lambda tx: tx.account(ADMIN)):
        return [f"account {ADMIN} exists, its password is unchanged"]
    password = given or Secret(secrets.token_urlsafe(18))
    hasher = Argon2Hasher()
    try:
        hashed = await hasher.hash(password)
    finally:
        hasher.close()
    file = data / PASSWORD_FILE
    if not (given or terminal):
        write_new(file, password.reveal() + b"\n", 0o400)  # before the account, so that a kill here loses nothing
    await store.write(lambda tx: tx.put_account(Account(ADMIN, Role.ADMIN, hashed)))
    if given:
        return [f"account {ADMIN} made, with the password given"]
    if terminal:
        return [f"account {ADMIN} made, password: {password.reveal().decode()}", "(it is not shown again)"]
    return [f"account {ADMIN} made, its password is in {file}"]
