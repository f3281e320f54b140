"""Notes of what a backup or an export has: old audit records are removed only up to there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.audit_retention import AuditSave, Way, signed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.audit import Mac
    from keystead.service.ports.cluster import AuditRows
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


async def note_saved(
    store: Store[AuditRows], mac: Mac, clock: Clock, way: Way, ends: Iterable[tuple[str, int, bytes]]
) -> None:
    """Note that a file that is on disk has the chains up to these ends: node, index, MAC. Raises StoreError."""
    saves = [signed(AuditSave(node, way, index, end, clock.now()), mac) for node, index, end in ends]

    def note(tx: AuditRows) -> None:
        for save in saves:
            tx.put_audit_save(save)

    await store.write(note)
