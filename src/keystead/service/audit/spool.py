"""Audit records of reads that wait on this node's disk for the database, each flushed before it is answered for.

A line is a record in JSON and its MAC. A line that was torn by a crash or a full disk has no MAC that fits: it was
never answered for, and is passed over. The file holds no secrets, is readable by the service's user only (0600), and is
gone once its records are in the audit chain. All methods block: they are called from worker threads.
"""

from __future__ import annotations

import hmac
import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from keystead.core.model import AuditRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_SEPARATOR = b"\t"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A record as it waits: ``id`` stands in its message too, ``after`` is the chain's last index when it was made."""

    id: str
    after: int
    record: AuditRecord


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the file's records, where the next piece begins (None: there is none), and how many lines were passed
    over.
    """

    records: tuple[Spooled, ...]
    next: int | None
    damaged: int


class ReadSpool:
    """The file. One process writes it, one call at a time."""

    def __init__(self, path: Path, mac: Callable[[bytes], bytes]) -> None:
        self._path = path
        self._mac = mac

    def waiting(self) -> bool:
        """Whether there is anything in it. Raises OSError."""
        try:
            return self._path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def append(self, records: Sequence[Spooled]) -> None:
        """Write records, and return when the disk has them. Raises OSError: then none of them is answered for.

        Each begins with a line's end, so that one that was torn before it spoils nothing else.
        """
        data = b"".join(b"\n" + self._line(each) for each in records) + b"\n"
        new = not self._path.exists()
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while data:
                data = data[os.write(file, data) :]
            os.fdatasync(file)
        finally:
            os.close(file)
        if new:
            self._flush_folder()

    def read(self, start: int, limit: int) -> Piece:
        """Read up to ``limit`` records from a place in the file on, 0 or one that an earlier piece named."""
        records, damaged = [], 0
        with self._path.open("rb") as file:
            file.seek(start)
            while line := file.readline():
                if line == b"\n":
                    continue
                spooled = self._parsed(line)
                if spooled is None:
                    damaged += 1
                    continue
                records.append(spooled)
                if len(records) >= limit:
                    return Piece(tuple(records), file.tell(), damaged)
        return Piece(tuple(records), None, damaged)

    def clear(self) -> None:
        """Delete the file, for good."""
        self._path.unlink(missing_ok=True)
        self._flush_folder()

    def _line(self, spooled: Spooled) -> bytes:
        record = asdict(spooled.record) | {"timestamp": spooled.record.timestamp.isoformat()}
        del record["mac"]
        text = json.dumps({"id": spooled.id, "after": spooled.after, "record": record}, separators=(",", ":")).encode()
        return text + _SEPARATOR + self._mac_of(text)

    def _parsed(self, line: bytes) -> Spooled | None:
        text, _, mac = line.removesuffix(b"\n").rpartition(_SEPARATOR)
        if not line.endswith(b"\n") or not hmac.compare_digest(mac, self._mac_of(text)):
            return None
        try:
            values = json.loads(text)
            timestamp = datetime.fromisoformat(values["record"]["timestamp"])
            return Spooled(values["id"], values["after"], AuditRecord(**values["record"] | {"timestamp": timestamp}))
        except (KeyError, TypeError, ValueError):  # another release's
            return None

    def _mac_of(self, text: bytes) -> bytes:
        return self._mac(b"keystead read spool v1\n" + text).hex().encode()

    def _flush_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
