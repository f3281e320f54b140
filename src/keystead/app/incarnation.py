"""What a data directory remembers of its database (the witness), in a file, and where that database is stored.

The file holds no secret. It is replaced as a whole, and is on disk before it counts. It keeps its owner, whoever
replaces it.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

from keystead.core.keys.incarnations import Storage, Witness
from keystead.service.ports.store import StoreError
from keystead.store.identity import give_to_owner, place_of

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.store import SqlStore

WITNESS_FILE = "incarnation.witness"


class DataDirectory:
    """Implements :class:`keystead.service.cluster.incarnations.Remembered`."""

    def __init__(self, data: Path, store: SqlStore) -> None:
        self._data = data
        self._file = data / WITNESS_FILE
        self._store = store

    async def storage(self) -> Storage:
        """Return where the database is stored. Raises StoreError also if it was moved elsewhere."""
        await self._store.check()
        return Storage(*await self._store.examine(place_of))

    async def read(self) -> Witness:
        """Return what was remembered last, an empty witness before the first time."""
        try:
            return await asyncio.to_thread(self._read)
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{self._file} cannot be read: {type(error).__name__}") from None

    async def write(self, witness: Witness) -> None:
        """Remember the witness. It is on disk when this returns."""
        try:
            await asyncio.to_thread(self._write, witness)
        except OSError as error:
            raise StoreError(f"{self._file} cannot be written: {error.strerror}") from None

    def _read(self) -> Witness:
        try:
            found = json.loads(self._file.read_text())
        except FileNotFoundError:
            return Witness()
        return Witness(int(found["epoch"]), tuple(map(str, found["seen"])))

    def _write(self, witness: Witness) -> None:
        content = {"epoch": witness.epoch, "seen": witness.seen}
        temporary = self._file.with_name(f".{self._file.name}.{os.getpid()}")  # another process may write as well
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            give_to_owner(file.fileno(), self._file if self._file.exists() else self._data)
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._file)
        descriptor = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
