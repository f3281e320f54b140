"""Exported audit records: a file of JSON lines. It can be verified with the root key alone, or joined with others.

The first line is the header. It says which stretch of each node's chain follows, and has a MAC. Each further line is a
record with its MAC in the chain, node by node, in order. So nothing can be altered, added or left out.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from keystead.core.audit import joined, read_id_in_message
from keystead.core.model import AuditRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from keystead.core.audit import Mac

FORMAT: Final = "keystead audit export v1"

_OTHERS: Final = {"index", "timestamp", "mac", "read_id"}
_TEXTS: Final = tuple(each.name for each in fields(AuditRecord) if each.name not in _OTHERS)

T = TypeVar("T")


class DamagedFileError(Exception):
    """A line of a file is not what an export has there. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The records of a node's chain after the index ``after``, up to ``until``, with the MACs of both records.

    ``after`` is 0, and its MAC empty, if the stretch begins with the chain.
    """

    node: str
    after: int
    after_mac: bytes
    until: int
    until_mac: bytes

    def __str__(self) -> str:
        if self.after == self.until:
            return f"no records after record {self.after}"
        return f"records {self.after + 1} to {self.until}, the last with MAC {self.until_mac.hex()}"


@dataclass(frozen=True, slots=True)
class Header:
    """The stretches that a file has, in order, and when it was begun."""

    time: datetime
    stretches: tuple[Stretch, ...]


# --- lines ---


def header_line(header: Header, mac: Mac) -> str:
    """Return the first line of a file, without its end."""
    chains = [
        asdict(each) | {"after_mac": each.after_mac.hex(), "until_mac": each.until_mac.hex()}
        for each in header.stretches
    ]
    values = {"format": FORMAT, "time": header.time.astimezone(UTC).isoformat(), "chains": chains}
    return _json(values | {"mac": mac(_canonical(values)).hex()})


def header_in(line: str, mac: Mac) -> Header:
    """Return the header that a first line has. Raises DamagedFileError."""

    def read(values: dict[str, Any]) -> Header:
        signature = bytes.fromhex(values.pop("mac"))
        if values["format"] != FORMAT:
            raise DamagedFileError("is not the beginning of an export of this release")
        if not hmac.compare_digest(signature, mac(_canonical(values))):
            raise DamagedFileError("was altered, or written under another root key")
        chains = [_bytes_of(each, "after_mac", "until_mac") for each in values["chains"]]
        return Header(datetime.fromisoformat(values["time"]), tuple(Stretch(**each) for each in chains))

    return _read(line, read)


def record_line(record: AuditRecord) -> str:
    """Return the line of a record, without its end."""
    values = {name: getattr(record, name) for name in ("index", *_TEXTS)}
    return _json(values | {"timestamp": record.timestamp.astimezone(UTC).isoformat(), "mac": record.mac.hex()})


def record_in(line: str) -> AuditRecord:
    """Return the record that a line has, not yet verified. Raises DamagedFileError."""

    def read(values: dict[str, Any]) -> AuditRecord:
        for name in _TEXTS:
            values[name].encode()  # because only texts can be verified
        time = datetime.fromisoformat(values["timestamp"]).astimezone(UTC)
        record = AuditRecord(**_bytes_of(values, "mac") | {"timestamp": time, "index": int(values["index"])})
        return replace(record, read_id=read_id_in_message(record))

    return _read(line, read)


def _read(line: str, read: Callable[[dict[str, Any]], T]) -> T:
    try:
        return read(json.loads(line))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        raise DamagedFileError("is not a line of an export") from None


def _json(values: object) -> str:
    return json.dumps(values, separators=(",", ":"))


def _bytes_of(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return values | {name: bytes.fromhex(values[name]) for name in names}


def _canonical(values: object) -> bytes:
    """Return what the MAC of a header covers."""
    return joined([FORMAT.encode(), json.dumps(values, sort_keys=True).encode()])


# --- joining ---


class Part(NamedTuple):
    """A stretch of a chain, and where it is: the name of a file, or of the database."""

    place: str
    stretch: Stretch


def joints(parts: Sequence[Part]) -> Iterator[tuple[Part, Part | None]]:
    """Yield each part of one node's chain with the part that goes on from it; all but the last.

    None stands for a gap: no part goes on. Where one does, it has the MAC of the record ``until`` of the first. If both
    have the same MAC there, all records before are the same, because each MAC covers the record before it.
    """
    ordered = in_order(parts)
    for place, each in enumerate(ordered[:-1], 1):
        end = each.stretch.until
        yield each, next((later for later in ordered[place:] if later.stretch.after <= end), None)


def in_order(parts: Sequence[Part]) -> list[Part]:
    """Return parts by their ends. The last one reaches farthest."""
    return sorted(parts, key=lambda part: part.stretch.until)
