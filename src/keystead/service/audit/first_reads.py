"""The announcement of each account's first read of key material.

The account's row notes that it has read keys. So the announcement is made once, whatever node reads, and its cost is
only that of the first read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core import events
from keystead.service.announcing import cluster_name
from keystead.service.ports.cluster import AccountRows, ClusterRows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keystead.core.model import AuditRecord, Event


class Rows(AccountRows, ClusterRows, Protocol):
    """The rows that this module reads and writes."""


def first_reads(tx: Rows, reads: Iterable[AuditRecord], node: str, now: datetime) -> list[Event]:
    """Note which accounts have read, and return the event of each that had not before. The caller stores the events.

    Call it before the records are appended, because the locks of accounts come before those of audit chains.
    """
    locations: dict[str, str] = {}
    for read in reads:
        locations.setdefault(read.account, read.location)
    # Sorted, so that two nodes lock the rows in one order.
    found = [(tx.note_first_read(name), location) for name, location in sorted(locations.items())]
    return [
        events.FIRST_KEY_READ.happened(
            node,
            now,
            account.svm,
            {
                "vserver": account.svm.name if account.svm else cluster_name(tx),
                "account": account.name,
                "location": location,
            },
        )
        for account, location in found
        if account is not None
    ]
