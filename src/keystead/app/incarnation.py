"""What a data directory remembers of its database: the witness, and what a stopped process left. Where it is stored.

The files hold no secret. Each is replaced as a whole, and is on disk before it counts. It keeps its owner, whoever
replaces it.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, TypeVar

from keystead.core.keys.incarnations import Storage, Witness
from keystead.service.cluster.incarnations import Left
from keystead.service.ports.store import StoreError
from keystead.store.identity import give_to_owner, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from keystead.store import SqlStore

T = TypeVar("T")
WITNESS_FILE = "incarnation.witness"
LEFT_FILE = "stopped.heads"


class DataDirectory:
    """Implements :class:`keystead.service.cluster.incarnations.WitnessStore`."""

    def __init__(self, data: Path, store: SqlStore) -> None:
        self._witness, self._left = data / WITNESS_FILE, data / LEFT_FILE
        self._store = store

    async def storage(self) -> Storage:
        """Return where the database is stored. Raises StoreError also if it was moved elsewhere."""
        await self._store.check()
        return Storage(*await self._store.examine(place_of))

    async def read(self) -> Witness:
        """Return what was remembered last, an empty witness before the first time."""
        return await _read(self._witness, _witness) or Witness()

    async def write(self, witness: Witness) -> None:
        """Remember the witness. It is on disk when this returns."""
        await self._write(self._witness, {"epoch": witness.epoch, "seen": witness.seen})

    async def leave(self, left: Left) -> None:
        """Leave something for the next process. It is on disk when this returns."""
        heads = [[index, mac.hex()] for index, mac in left.heads]
        await self._write(self._left, {"token": left.token, "heads": heads})

    async def take_left(self) -> Left | None:
        """Return what the last process left, and remove it."""
        left = await _read(self._left, _left)
        try:
            await asyncio.to_thread(self._left.unlink, missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self._left} cannot be removed: {error.strerror}") from None
        return left

    async def _write(self, file: Path, content: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(_replace, file, content)
        except OSError as error:
            raise StoreError(f"{file} cannot be written: {error.strerror}") from None


def _witness(found: dict[str, Any]) -> Witness:
    return Witness(int(found["epoch"]), tuple(map(str, found["seen"])))


def _left(found: dict[str, Any]) -> Left:
    return Left(str(found["token"]), frozenset((int(index), bytes.fromhex(mac)) for index, mac in found["heads"]))


async def _read(file: Path, make: Callable[[dict[str, Any]], T]) -> T | None:
    """Return what ``make`` makes of a file, None if there is none. Raises StoreError."""
    try:
        return make(json.loads(await asyncio.to_thread(file.read_text)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file} cannot be read: {type(error).__name__}") from None


def _replace(file: Path, content: dict[str, Any]) -> None:
    """Replace a file as a whole. It keeps its owner, and is on disk when this returns."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")  # another process may write as well
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
        give_to_owner(new.fileno(), file if file.exists() else file.parent)
        json.dump(content, new)
        new.flush()
        os.fsync(new.fileno())
    temporary.replace(file)
    descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
