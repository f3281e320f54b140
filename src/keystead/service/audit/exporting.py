"""The export of audit records: each chain up to where it reached at the beginning, verified while it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.audit import BrokenChainError
from keystead.core.audit_files import Header, Stretch, header_line, record_line
from keystead.core.audit_retention import Way, is_genuine
from keystead.service.audit.verifying import PAGE, Walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from keystead.core.audit import Mac
    from keystead.core.model import AuditHead
    from keystead.service.ports.cluster import AuditRows
    from keystead.service.ports.store import Store


class RemovedMeanwhileError(Exception):
    """Records were removed while they were exported."""


async def export(
    store: Store[AuditRows],
    mac: Mac,
    now: datetime,
    write: Callable[[str], object],
    *,
    only_new: bool,
    page: int = PAGE,
) -> tuple[Stretch, ...]:
    """Write the lines of an export, and return its stretches: all records, or only those after the last export.

    Raises BrokenChainError for a chain that is not as it was written, RemovedMeanwhileError, StoreError.
    """
    found = await store.read(lambda tx: stretches(tx, mac, only_new=only_new))
    write(header_line(Header(now, found), mac))
    for stretch in found:
        await _export_stretch(store, mac, stretch, write, page)
    return found


def stretches(tx: AuditRows, mac: Mac, *, only_new: bool = False) -> tuple[Stretch, ...]:
    """Return what the database has of each chain; with ``only_new``, only what is after the last export."""
    return tuple(_stretch(tx, mac, end, only_new=only_new) for end in tx.audit_ends())


def _stretch(tx: AuditRows, mac: Mac, end: AuditHead, *, only_new: bool) -> Stretch:
    cut = tx.audit_cut(end.node)
    after = (cut.index, cut.mac) if cut else (0, b"")
    for save in tx.audit_saves(end.node) if only_new else ():
        same = tx.audit_records(end.node, save.index - 1, 1)  # after a restore, another record may be there
        if save.way is Way.EXPORT and is_genuine(save, mac) and [each.mac for each in same] == [save.mac]:
            after = (save.index, save.mac)
    return Stretch(end.node, *after, end.index, end.mac)


async def _export_stretch(
    store: Store[AuditRows], mac: Mac, stretch: Stretch, write: Callable[[str], object], page: int
) -> None:
    walk = Walk(stretch.node, mac, (stretch.after, stretch.after_mac))
    while walk.last[0] < stretch.until:
        after = walk.last[0]
        records, cut = await store.read(lambda tx: (tx.audit_records(walk.node, after, page), tx.audit_cut(walk.node)))  # noqa: B023 - called before the loop goes on
        if cut is not None and cut.index > after:
            raise RemovedMeanwhileError
        wanted = [each for each in records if each.index <= stretch.until]
        walk.go(wanted)
        if not wanted:
            raise BrokenChainError(after + 1, "is missing, and all after it")
        for each in wanted:
            write(record_line(each))
    if walk.last != (stretch.until, stretch.until_mac):
        raise BrokenChainError(stretch.until, "is not the one that the end of the chain names")
