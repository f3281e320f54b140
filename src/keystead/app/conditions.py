"""What is wrong with this node itself: its disk, its backups, its spool of reads, settings that are for trials."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keystead.core.attention.cluster import backup_items, disk_items, setting_items, spool_items

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
    """The conditions of a node with the data directory of these settings."""

    def __init__(self, settings: Settings, rules: EgressRules, reads: ReadAudit, clock: Clock) -> None:
        self._data = settings.data
        self._makes_bundles = bool(settings.database)
        self._simulated = [name for name in ("simulate_metrocluster", "simulate_release") if getattr(settings, name)]
        self._rules = rules
        self._reads = reads
        self._clock = clock

    def show(self, attention: Attention, metrics: Metrics) -> None:
        """Have the conditions be shown in both."""
        attention.add_source(self.items)
        metrics.add_source(self.samples)

    def items(self) -> Iterator[Item]:
        """Yield what needs somebody."""
        usage = shutil.disk_usage(self._data)
        yield from disk_items(str(self._data), usage.free, usage.total)
        yield from spool_items(is_waiting=self._reads.is_waiting)
        last, made = last_backup(self._data), _time(self._data / NODE_FILE)
        yield from backup_items(last or made, self._clock.now(), is_first=last is None, is_bundle=self._makes_bundles)
        loopback = any(self._rules.refusal(each) is None for each in LOOPBACK)
        yield from setting_items(allows_loopback=loopback, simulated=self._simulated)

    def samples(self) -> Iterator[Samples]:
        """Yield the time of the last backup for the metrics; none if there is none."""
        last = last_backup(self._data)
        series = [] if last is None else [((), last.timestamp())]
        yield ("keystead_last_backup_timestamp_seconds", "Time of the last backup of this data directory.", (), series)


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
