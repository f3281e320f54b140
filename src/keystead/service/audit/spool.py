"""The read spool: audit records of reads that wait on this node's disk for the database.

Each record is flushed before its read is answered. A line is a record in JSON and its MAC. A line that was torn by a
crash or a full disk has no valid MAC. It is skipped, because its read was never answered.

The file holds no secrets, and only the service's user can read it (0600). It is deleted once its records are in the
audit chain. All methods block: call them from worker threads.
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
class Piece:
    """Some of the file's records, and the number of lines that were skipped (``damaged``).

    ``next`` is the offset of the next piece, None after the last piece.
    """

    records: tuple[AuditRecord, ...]
    next: int | None
    damaged: int


class ReadSpool:
    """The spool file. One process writes it, one call at a time."""

    def __init__(self, path: Path, mac: Callable[[bytes], bytes]) -> None:
        self._path = path
        self._mac = mac

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Write records, and return when the disk has them. Raises OSError: then none of their reads may be answered.

        Each record begins with a line end, so that a torn line before it damages nothing else.
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
        """Read up to ``limit`` records from an offset on: 0, or ``next`` of an earlier piece. Raises OSError."""
        records, damaged = [], 0
        with self._path.open("rb") as file:
            file.seek(start)
            while line := file.readline():
                if line == b"\n":
                    continue
                record = self._parsed(line)
                if record is None:
                    damaged += 1
                    continue
                records.append(record)
                if len(records) >= limit:
                    return Piece(tuple(records), file.tell(), damaged)
        return Piece(tuple(records), None, damaged)

    def clear(self) -> None:
        """Delete the file, and flush the folder so that it stays deleted."""
        self._path.unlink(missing_ok=True)
        self._flush_folder()

    def _line(self, record: AuditRecord) -> bytes:
        values = asdict(record) | {"timestamp": record.timestamp.isoformat()}
        id_ = values.pop("read_id")
        del values["mac"]
        text = json.dumps({"id": id_, "record": values}, separators=(",", ":")).encode()
        return text + _SEPARATOR + self._mac_of(text)

    def _parsed(self, line: bytes) -> AuditRecord | None:
        text, _, mac = line.removesuffix(b"\n").rpartition(_SEPARATOR)
        if not line.endswith(b"\n") or not hmac.compare_digest(mac, self._mac_of(text)):
            return None
        try:
            values = json.loads(text)
            timestamp = datetime.fromisoformat(values["record"]["timestamp"])
            return AuditRecord(**values["record"] | {"timestamp": timestamp, "read_id": values["id"]})
        except (KeyError, TypeError, ValueError):  # because another release may have written it
            return None

    def _mac_of(self, text: bytes) -> bytes:
        return self._mac(b"keystead read spool v1\n" + text).hex().encode()

    def _flush_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
