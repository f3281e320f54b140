"""What is wrong with this node itself: its disk, its backups, its spool of reads, settings that are for trials."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keystead.core.attention.cluster import backup_items, disk_items, setting_items, spool_items
from keystead.monitor.families import LAST_BACKUP
from keystead.service.ports.process import NodeFacts
from keystead.store.tables import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystead.core.attention.items import Item
    from keystead.keyservers.egress import EgressRules
    from keystead.monitor.metrics import Metrics, Samples
    from keystead.service.attention import Attention
    from keystead.service.audit.reads import ReadAudit
    from keystead.service.ports.process import Clock
    from keystead.settings import Settings

NODE_FILE: Final = "node.uuid"
"""The file with the node's uuid. ``init`` and a restore write it."""

BACKUP_FILE: Final = "last-backup"
"""An empty file in the data directory. Its time is that of the last backup."""

LOOPBACK: Final = ("127.0.0.1", "::1")


class NodeConditions:
    """The conditions of a node (uuid) with the data directory of these settings."""

    def __init__(
        self, settings: Settings, node: str, rules: EgressRules, reads: ReadAudit, clock: Clock, engine: str
    ) -> None:
        self._data = settings.data
        self._node = node
        self._engine = engine
        self._makes_bundles = bool(settings.database)
        self._simulated = [name for name in ("simulate_metrocluster", "simulate_release") if getattr(settings, name)]
        self._rules = rules
        self._reads = reads
        self._clock = clock

    def show(self, attention: Attention, metrics: Metrics) -> None:
        """Have the conditions be shown in both."""
        attention.add_source(self.items)
        metrics.add_source(self.samples)

    def facts(self) -> NodeFacts:
        """Return what this node knows of itself."""
        usage = shutil.disk_usage(self._data)
        return NodeFacts(
            uuid=self._node,
            engine=self._engine,
            revision=HEAD,
            folder=str(self._data),
            made=_time(self._data / NODE_FILE),
            free=usage.free,
            size=usage.total,
            last_backup=last_backup(self._data),
            makes_bundles=self._makes_bundles,
            reads_wait=self._reads.is_waiting,
            simulated=tuple(self._simulated),
            allows_loopback=any(self._rules.refusal(each) is None for each in LOOPBACK),
        )

    def items(self) -> Iterator[Item]:
        """Yield what needs somebody."""
        found = self.facts()
        yield from disk_items(found.folder, found.free, found.size)
        yield from spool_items(is_waiting=found.reads_wait)
        last, is_bundle = found.last_backup, found.makes_bundles
        yield from backup_items(last or found.made, self._clock.now(), is_first=last is None, is_bundle=is_bundle)
        yield from setting_items(allows_loopback=found.allows_loopback, simulated=found.simulated)

    def samples(self) -> Iterator[Samples]:
        """Yield the time of the last backup for the metrics; none if there is none."""
        last = last_backup(self._data)
        series = [] if last is None else [((), last.timestamp())]
        yield (LAST_BACKUP, series)


def last_backup(data: Path) -> datetime | None:
    """Return when the last backup of this data directory was made, None if there is none."""
    try:
        return _time(data / BACKUP_FILE)
    except FileNotFoundError:
        return None


def note_backup(data: Path) -> None:
    """Note that a backup was made now. Raises OSError.

    The file is replaced, because another user may have made it.
    """
    new = data / f"{BACKUP_FILE}.new"
    new.unlink(missing_ok=True)
    new.touch(mode=0o644)
    new.replace(data / BACKUP_FILE)


def _time(file: Path) -> datetime:
    """Return when a file was last written."""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
