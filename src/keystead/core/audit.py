"""Audit records: what they hold, how secrets are masked, and the audit chain that shows changes.

The MAC of a record covers its fields and the MAC of the record before. The end of a node's chain has its own MAC.
So a record that was altered, removed, inserted or moved breaks the chain at that place. Records that were cut off the
end are missed, too. Nothing is stored here, and no key is known here: the MAC is a function argument.
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import replace
from datetime import UTC
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.core.model import AuditHead
from keystead.core.secret import holds_private_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from keystead.core.model import AuditRecord

    Mac = Callable[[bytes], bytes]

MASK = "***"
SECRET_NAMES = ("password", "passphrase", "private_key", "material")
"""A JSON field is secret if its name contains one of these, for example ``existing_passphrase``."""

TEXT_LIMIT = 256
"""How many characters of one string are kept."""

INPUT_LIMIT = 8 * 1024
"""The greatest length in characters of a masked body that is kept."""

PARSED_LIMIT = 1024 * 1024
"""The greatest size in bytes of a body that is parsed."""

_USERINFO = re.compile(r"(?<=://)[^/?#\s\"]*@")
"""The user and password of a URL."""

_READ = re.compile(r"retrieval of key .*, (?:read|\d+ reads:) ([0-9a-f]{16})(?: [0-9a-f]{16})*", re.DOTALL)


_SIGNED = attrgetter(
    *("account", "location", "svm", "method", "path", "input", "state", "code", "message"),
)
"""The texts of a record that its MAC covers, in order."""


# --- masking ---------------------------------------------------------------------------------------------------------


def masked_input(body: bytes) -> str:
    """Return a request body as ASCII JSON text with its secrets masked; else only its length.

    Only the length is kept if the body is no JSON object or array, or is too large. A body that cannot be parsed cannot
    be masked, so nothing of it is kept.
    """
    if not body:
        return ""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse) if len(body) <= PARSED_LIMIT else None
        text = json.dumps(_masked(value), separators=(",", ":")) if isinstance(value, dict | list) else ""
    except (ValueError, RecursionError):
        text = ""
    return text if text and len(text) <= INPUT_LIMIT else f"{len(body)} bytes"


def cleaned(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return the caller's text as one line that any database and terminal takes, cut at ``limit`` characters.

    Mask a text that contains a private key, as a path or an error may, and a password in a URL.
    """
    if holds_private_key(text):
        return MASK
    text = _USERINFO.sub(f"{MASK}@", text)
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in shown)
    return shown if len(text) <= limit else f"{shown[: limit - 1]}…"


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def is_secret(name: str) -> bool:
    """Return True if a field of this name holds a secret."""
    return any(secret in name.casefold() for secret in SECRET_NAMES)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {_short(name): MASK if is_secret(name) else _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return _short(value) if isinstance(value, str) else value


def _short(text: str) -> str:
    """Mask a string that contains a PEM private key, and a password in a URL; cut a long string."""
    if holds_private_key(text):
        return MASK
    text = _USERINFO.sub(f"{MASK}@", text)
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}… ({len(text)} characters)"


# --- what readers see ---


def call_of(record: AuditRecord) -> str:
    """Return the call of a record in ONTAP's form: ``POST /api/svm/svms : {"name":"vs0"}``."""
    call = f"{record.method} {record.path}".strip()
    return f"{call} : {record.input}" if record.input else call


def application_of(record: AuditRecord) -> str:
    """Return where a record comes from: ``http`` for a call or login, ``internal`` for the service itself."""
    return "http" if record.method or record.account else "internal"


# --- reads of key material -------------------------------------------------------------------------------------------


READS_TOGETHER = 50
"""Most reads that one record tells of: its message is not longer than others are."""


def read_message(key_id: str, read_id: str, *others: str) -> str:
    """Return the message of the record of one or more reads. Each read id has 16 lower-case hex digits."""
    if not others:
        return f"retrieval of key {key_id}, read {read_id}"
    return f"retrieval of key {key_id}, {len(others) + 1} reads: {' '.join((read_id, *others))}"


def read_id_in_message(record: AuditRecord) -> str | None:
    """Return the read id that a record's message has, the first of several; None if it is not the record of a read.

    Only a success is a read, because the message of an error may quote the caller.
    """
    found = _READ.fullmatch(record.message) if record.state == "success" else None
    return found[1] if found else None


# --- the chain -------------------------------------------------------------------------------------------------------


class BrokenChainError(Exception):
    """The audit chain of a node is broken at ``index``."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"record {index}: {reason}")
        self.index = index
        self.reason = reason


def append(record: AuditRecord, head: AuditHead | None, mac: Mac) -> tuple[AuditRecord, AuditHead]:
    """Return the record with its index and MAC, and the new head. ``head`` is None for the first record."""
    (chained,), new = append_all([record], head, mac)
    return chained, new


def append_all(records: Sequence[AuditRecord], head: AuditHead | None, mac: Mac) -> tuple[list[AuditRecord], AuditHead]:
    """Return the records of one node (at least one) with their indexes and MACs, and the new head."""
    index, previous = (head.index, head.mac) if head else (0, b"")
    chained = []
    for record in records:
        index += 1
        previous = mac(_canonical(record, index, previous))
        chained.append(replace(record, index=index, mac=previous))
    last = chained[-1]
    return chained, AuditHead(last.node, last.index, last.mac, mac(_canonical_head(last.node, last)))


def place(record: AuditRecord) -> str:
    """Return the sort key of a record among those of all nodes: a unique text, ordered by time."""
    return f"{place_of_time(record.timestamp)} {record.node} {record.index:020}"


def place_of_time(time: datetime) -> str:
    """Return what the sort keys of a time's records begin with. It sorts like the time, and ``~`` after it comes last.

    So the order of sort keys is that of time, and a list by time can follow their index.
    """
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def follow(node: str, records: Iterable[AuditRecord], last: tuple[int, bytes], mac: Mac) -> tuple[int, bytes]:
    """Check the records after ``last`` and return the new last. ``last`` is index and MAC, ``(0, b"")`` at first.

    Raises BrokenChainError at the first record that is missing, altered or moved, or has another ``read_id`` than its
    message.
    """
    index, previous = last
    for record in records:
        index += 1
        if record.index != index:
            raise BrokenChainError(index, "is missing")
        if record.node != node or not hmac.compare_digest(record.mac, mac(_canonical(record, index, previous))):
            raise BrokenChainError(index, "was altered, or the one before it replaced")
        if record.read_id != read_id_in_message(record):
            raise BrokenChainError(index, "was altered: its read_id is not the one in its message")
        previous = record.mac
    return index, previous


def check_places(records: Iterable[tuple[AuditRecord, str]]) -> None:
    """Raise BrokenChainError at the first record whose stored sort key, beside it, is not the one that it gives."""
    for record, stored in records:
        if stored != place(record):
            raise BrokenChainError(record.index, "was altered: its sort key is not that of its time and place")


def check_end(node: str, last: tuple[int, bytes], head: AuditHead | None, mac: Mac) -> None:
    """Check that the chain ends where its head says. Raises BrokenChainError."""
    index, previous = last
    if head is None:
        if index:
            raise BrokenChainError(index, "the end of the chain is not known any more")
        return
    if not hmac.compare_digest(head.head_mac, mac(_canonical_head(node, head))):
        raise BrokenChainError(index, "the end of the chain was altered")
    if head.index != index or not hmac.compare_digest(head.mac, previous):
        raise BrokenChainError(index + 1, "is missing, and all after it")


def _canonical(record: AuditRecord, index: int, previous: bytes) -> bytes:
    timestamp = record.timestamp.astimezone(UTC).isoformat(timespec="microseconds")
    added = (record.role, record.svm_uuid)  # added after version 1, so that records of version 1 still verify
    texts = (record.node, str(index), timestamp, *_SIGNED(record))
    texts = ("keystead audit record v2", *texts, *added) if any(added) else ("keystead audit record v1", *texts)
    return joined([*[text.encode() for text in texts], previous])  # lists, because generators are slower


def _canonical_head(node: str, end: AuditHead | AuditRecord) -> bytes:
    return joined([b"keystead audit head v1", node.encode(), str(end.index).encode(), end.mac])


def joined(parts: list[bytes]) -> bytes:
    """Join the parts, each with its length before it, so that different lists give different bytes."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])
