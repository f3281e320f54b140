"""The spool of audit records: durable, private, and whole whatever happened to its last line."""

from __future__ import annotations

import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.service.audit.spool import ReadSpool
from tests.service.worlds.basics import KEYRING
from tests.store import samples

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.core.model import AuditRecord


def spooled(number: int) -> AuditRecord:
    """Return a record that waits."""
    return replace(samples.audit_record(number, read_id=f"id-{number}"), mac=b"")


@pytest.fixture
def spool(tmp_path: Path) -> ReadSpool:
    """Return a spool without a file."""
    return ReadSpool(tmp_path / "reads.spool", KEYRING.mac)


def test_records_come_back_as_they_were(spool: ReadSpool, tmp_path: Path) -> None:
    """In their order, from a file that nobody else reads."""
    spool.append([spooled(1), spooled(2)])
    spool.append([spooled(3)])
    piece = spool.read(0, 10)
    assert (piece.records, piece.next, piece.damaged) == ((spooled(1), spooled(2), spooled(3)), None, 0)
    assert stat.S_IMODE((tmp_path / "reads.spool").stat().st_mode) == 0o600


def test_a_long_file_is_read_in_pieces(spool: ReadSpool) -> None:
    """Each says where the next one begins."""
    spool.append([spooled(number) for number in range(5)])
    found: list[AuditRecord] = []
    start: int | None = 0
    while start is not None:
        piece = spool.read(start, 2)
        found += piece.records
        start = piece.next
    assert found == [spooled(number) for number in range(5)]


@pytest.mark.parametrize("cut", [1, 2, 30, 100])
def test_a_torn_last_line_spoils_nothing_else(spool: ReadSpool, tmp_path: Path, cut: int) -> None:
    """Not what stands before it, and not what is written after it."""
    spool.append([spooled(1), spooled(2)])
    file = tmp_path / "reads.spool"
    file.write_bytes(file.read_bytes()[:-cut])
    assert spool.read(0, 10).records == (spooled(1),)
    spool.append([spooled(3)])
    piece = spool.read(0, 10)
    whole = (spooled(1), spooled(2), spooled(3)) if cut == 1 else (spooled(1), spooled(3))
    assert (piece.records, piece.damaged) == (whole, 0 if cut == 1 else 1)


def test_a_line_that_somebody_wrote_or_changed_is_passed_over(spool: ReadSpool, tmp_path: Path) -> None:
    """Nothing gets into the audit chain by way of the file."""
    spool.append([spooled(1), spooled(2)])
    file = tmp_path / "reads.spool"
    file.write_bytes(file.read_bytes().replace(b"id-1", b"id-9") + b"{}\n" + b"[]\t00\n")
    piece = spool.read(0, 10)
    assert (piece.records, piece.damaged) == ((spooled(2),), 3)


def test_a_line_of_an_earlier_release_is_read(spool: ReadSpool, tmp_path: Path) -> None:
    """A line of an earlier release, which also names the end of the chain, is read."""
    spool.append([spooled(1)])
    file = tmp_path / "reads.spool"
    line = file.read_bytes().strip(b"\n").rpartition(b"\t")[0].replace(b'"record":', b'"after":7,"record":')
    mac = KEYRING.mac(b"keystead read spool v1\n" + line).hex().encode()
    file.write_bytes(line + b"\t" + mac + b"\n")
    assert spool.read(0, 10).records == (spooled(1),)


@pytest.mark.parametrize(
    "text", [b"[]", b"{", b'{"id": "1", "after": 0, "record": {"timestamp": "2026-03-01T12:00:00+00:00"}}']
)
def test_a_line_that_another_release_wrote_is_passed_over(spool: ReadSpool, tmp_path: Path, text: bytes) -> None:
    """It is counted; nothing else waits for it."""
    mac = KEYRING.mac(b"keystead read spool v1\n" + text).hex().encode()
    (tmp_path / "reads.spool").write_bytes(text + b"\t" + mac + b"\n")
    spool.append([spooled(1)])
    piece = spool.read(0, 10)
    assert (piece.records, piece.damaged) == ((spooled(1),), 1)


def test_a_cleared_spool_is_gone(spool: ReadSpool, tmp_path: Path) -> None:
    """Twice is fine."""
    spool.append([spooled(1)])
    spool.clear()
    spool.clear()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Then no material leaves."""
    with pytest.raises(OSError, match="No such file"):
        ReadSpool(tmp_path / "absent" / "reads.spool", KEYRING.mac).append([spooled(1)])
