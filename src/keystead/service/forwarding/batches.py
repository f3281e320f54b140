"""Batches: the next messages for a destination, from the logs of all nodes."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from keystead.core.forwarding.destinations import Log, cursors_in, skipped
from keystead.core.forwarding.filters import SYSTEM_DEFINED
from keystead.core.forwarding.messages import written
from keystead.core.forwarding.pages import page_path
from keystead.core.model import AuditRecord, Event
from keystead.service.ports.cluster import NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.forwarding import DestinationRows, LogRows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystead.core.forwarding.destinations import Destination


class Rows(DestinationRows, LogRows, NodeRows, KeyManagerRows, Protocol):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a node's log. ``message`` is None if the destination's filters exclude it."""

    node: str
    index: int
    message: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The entries after a destination's ``cursors``, in order. ``dropped`` entries before them are never sent.

    ``waiting`` counts the entries that are not sent yet. ``more``: there are more than in this batch.
    """

    cursors: Mapping[str, int]
    entries: tuple[Entry, ...]
    dropped: int
    waiting: int
    more: bool

    @property
    def messages(self) -> tuple[bytes, ...]:
        """The messages to send."""
        return tuple(entry.message for entry in self.entries if entry.message is not None)

    def after(self, delivered: int) -> dict[str, int]:
        """Return the cursors once the first ``delivered`` messages have arrived."""
        cursors, left = dict(self.cursors), delivered
        for entry in self.entries:
            left -= entry.message is not None
            if left < 0:
                break
            cursors[entry.node] = entry.index
        return cursors


def next_batch(tx: Rows, destination: Destination, most: int, console: str = "") -> Batch:
    """Return the next ``most`` entries for a destination. ``console`` is the origin for links to pages, or empty.

    Nodes' logs are merged by time. The order within a node is always that of its log, whatever its clock did.
    """
    heads = tx.log_heads(destination.log)
    cursors, dropped = skipped(destination.log, cursors_in(destination.progress, heads), heads)
    behind = [(node, cursor) for node, cursor in sorted(cursors.items()) if cursor < heads[node]]
    is_audit = destination.log is Log.AUDIT
    read: Callable[[str, int, int], Sequence[AuditRecord | Event]] = tx.audit_records if is_audit else tx.events_after
    time = attrgetter("timestamp" if is_audit else "time")
    found = [*islice(merge(*(read(node, cursor, most) for node, cursor in behind), key=time), most)]
    return Batch(
        cursors=cursors,
        entries=_entries(tx, destination, found, console) if found else (),
        dropped=dropped,
        waiting=sum(heads.values()) - sum(cursors.values()),
        more=len(found) == most,
    )


def _entries(
    tx: Rows, destination: Destination, found: Sequence[AuditRecord | Event], console: str
) -> tuple[Entry, ...]:
    names = {node.uuid: node.name for node in tx.nodes()}
    chosen = [each for each in (*SYSTEM_DEFINED, *tx.event_filters()) if each.name in destination.filters]

    def message(of: AuditRecord | Event) -> bytes | None:
        if isinstance(of, Event) and not any(each.includes(of) for each in chosen):
            return None
        link = _link(tx, of, console) if console and isinstance(of, Event) else ""
        return written(of, names.get(of.node, of.node), destination, link)

    return tuple(Entry(each.node, each.index, message(each)) for each in found)


def _link(tx: Rows, event: Event, console: str) -> str:
    """Return the URL of the page that explains an event."""
    key_manager = tx.key_manager_of(event.svm.uuid if event.svm else None)
    return f"{console}{page_path(event, key_manager.uuid if key_manager else '')}"
