"""Opening a data directory and the database that the settings name, or saying why the process cannot start."""

from __future__ import annotations

import fcntl
import os
import platform
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from keystead import __version__
from keystead.app.conditions import NODE_FILE
from keystead.core.model import NodeProcess
from keystead.service.ports.store import StoreError
from keystead.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.settings import Settings
    from keystead.store import SqlStore

LOCK_FILE = "serve.lock"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class CannotStart(Exception):  # noqa: N818 - what the operator reads: the service cannot start, because ...
    """The data directory, its database or its root key cannot be used; the text says what to do."""


def opened(settings: Settings) -> SqlStore:
    """Open the database. Raises CannotStart if it is missing, unreachable or of another release's schema."""
    try:
        return open_store(settings.database_url)
    except StoreError as error:
        raise CannotStart(str(error)) from None


def node_uuid(data: Path) -> str:
    """Read the uuid of the data directory's node. Raises CannotStart."""
    try:
        return (data / NODE_FILE).read_text().strip()
    except OSError:
        raise CannotStart(f"{data} is no data directory of Keystead: run `keystead init --data {data}`") from None


def this_process(settings: Settings) -> NodeProcess:
    """Return what tells this process from others that serve as its node.

    The place is empty if the database is in the data directory, because a copy of the directory has its own database.
    """
    stat = settings.data.stat()
    place = f"{_boot()}/{stat.st_dev}/{stat.st_ino}" if settings.database else ""
    return NodeProcess(uuid4().hex, __version__, place)


def _boot() -> str:
    """Return what tells the running system from others, also from a copy of the whole machine."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return platform.node()


@contextmanager
def served_alone(data: Path) -> Iterator[None]:
    """Lock a data directory for this process. Raises CannotStart.

    Two processes that serve it would both use its spool of reads, and lose records. The system frees the lock when the
    process ends, however it ends.
    """
    node_uuid(data)
    file = data / LOCK_FILE
    with ExitStack() as held:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"{data} is used by another process: each node has a data directory of its own") from None
        except OSError as error:
            raise CannotStart(f"{file}: {error.strerror}") from None
        yield
