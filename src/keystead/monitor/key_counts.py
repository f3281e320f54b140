"""The metrics about keys: counted from stored proofs and observations, on the node that keeps keys."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from keystead.core.keys.survival import CopyMark
from keystead.monitor import families
from keystead.service.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from keystead.monitor.families import Family
    from keystead.monitor.metrics import Metrics, Samples
    from keystead.service.keys.reporting.survival import CountedKeys, KeySurvival

COUNT_S: Final = 5.0
"""Seconds between two counts."""

REST_FACTOR: Final = 9.0
"""The rest after a count, as a multiple of its time, so that counting takes at most a tenth of a core."""

_PRESENCE: Final = {mark: mark.value for mark in CopyMark} | {CopyMark.PROVEN: "present", CopyMark.PROVEN_AWAY: "away"}
"""The value of the label ``presence`` for each mark."""

_GAUGES: Final[tuple[tuple[Family, Callable[[CountedKeys], float | None]], ...]] = (
    (families.KEYS, lambda each: each.survival.keys),
    (families.SOLE_COPY, lambda each: each.survival.sole),
    (families.UNPROVEN, lambda each: each.survival.unproven.keys),
    (
        families.UNREADABLE,
        lambda each: each.survival.now.unreadable.keys if each.survival.now.is_known else None,
    ),
    (families.MAY_FAIL, lambda each: each.survival.now.survives if each.survival.now.is_known else None),
    (families.OLDEST_PROOF, lambda each: _timestamp(each.survival.now.unreadable.oldest_proof)),
    (families.COUNTED, lambda each: each.time.timestamp()),
)


class KeyCounts:
    """The counts of keys while this node keeps keys: ``holds`` says whether it does."""

    def __init__(
        self, survival: KeySurvival, holds: Callable[[], bool], metrics: Metrics, period_s: float = COUNT_S
    ) -> None:
        self._survival = survival
        self._holds = holds
        self._counted: Sequence[CountedKeys] = ()
        self._rests_until = 0.0
        self._loop = Periodic(self._count, period_s, "keys are not counted")
        metrics.add_source(self._samples)

    def start(self) -> None:
        """Begin to count."""
        self._loop.start()

    async def close(self) -> None:
        """Stop counting."""
        await self._loop.close()

    async def _count(self) -> None:
        """Count all keys, unless the last count took long. Raises StoreError."""
        clock = asyncio.get_running_loop().time
        began = clock()
        if self._holds() and began >= self._rests_until:
            self._counted = await self._survival.of_all()
            self._rests_until = clock() + (clock() - began) * REST_FACTOR

    def _samples(self) -> Iterable[Samples]:
        counted = self._counted if self._holds() else ()
        for family, value_of in _GAUGES:
            values = [(each, value_of(each)) for each in counted]
            yield (family, [(_labels(each), float(value)) for each, value in values if value is not None])
        yield (families.COPIES, [sample for each in counted for sample in _copies(each)])


def _copies(counted: CountedKeys) -> Iterable[tuple[tuple[str, ...], float]]:
    """Yield the number of keys for each server and mark."""
    found = Counter[tuple[str, CopyMark]]()
    for pattern in counted.survival.patterns:
        for place in pattern.marks:
            found[place] += pattern.keys
    for (server, mark), keys in found.items():
        yield (*_labels(counted), counted.survival.addresses[server], _PRESENCE[mark]), float(keys)


def _labels(counted: CountedKeys) -> tuple[str, str]:
    return counted.vserver, counted.key_manager


def _timestamp(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()
