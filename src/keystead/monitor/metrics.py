"""The metrics of this process, in Prometheus' exposition format.

Counters and histograms are updated as things happen. Present values (states, days left, queues) are read when somebody
reads the metrics. The registry is our own, so that the library's default metrics are not shown.
What a metric is called and means is in :mod:`keystead.monitor.families`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keystead import __version__
from keystead.monitor import families
from keystead.monitor.families import FAMILIES, Family, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keystead.service.cluster.jobs import Jobs
    from keystead.service.probing.queue import ProbeQueue

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ACCEPTED: Final = "accepted"

Samples = tuple[Family, "Sequence[tuple[tuple[str, ...], float]]"]
"""A gauge as it is now: its family, and (label values, value) of each series."""


class Metrics:
    """Implements :class:`keystead.service.ports.store.Telemetry`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters = {
            each: Counter(each.name, each.help, each.labels, registry=self._registry)
            for each in FAMILIES
            if each.kind is Kind.COUNTER
        }
        self._histograms = {
            each: Histogram(each.name, each.help, each.labels, buckets=each.buckets, registry=self._registry)
            for each in FAMILIES
            if each.kind is Kind.HISTOGRAM
        }
        for each, counter in self._counters.items():
            for value in each.values:
                counter.labels(value)
        self._sources: list[Callable[[], Iterable[Samples]]] = [_build]

    def checked(self, seconds: float, *, alive: bool) -> None:
        """Count a light check."""
        if alive:
            self._histograms[families.LIGHT_CHECK].observe(seconds)
        else:
            self._counters[families.LIGHT_CHECK_FAILURES].inc()

    def probed(self, seconds: float, reason: str) -> None:
        """Count a probe; ``reason`` is empty when the server was accepted."""
        self._histograms[families.PROBE].observe(seconds)
        self._counters[families.PROBES].labels(reason or ACCEPTED).inc()

    def detected(self, seconds: float) -> None:
        """Count a confirmed loss, so many seconds after the last good look."""
        self._histograms[families.TIME_TO_DETECT].observe(seconds)

    def discarded(self) -> None:
        """Count a loss that was discarded, because this process had been held up."""
        self._counters[families.DISCARDED].inc()

    def answered(self, method: str, status: int) -> None:
        """Count an answer. ``method`` is one that the server knows."""
        self._counters[families.REQUESTS].labels(method, str(status)).inc()

    def refused(self, reason: str) -> None:
        """Count a connection that was closed at once."""
        self._counters[families.REFUSED].labels(reason).inc()

    def pushed(self, outcome: str) -> None:
        """Count a withdrawal that was sent to another node, or came from one."""
        self._counters[families.PUSHES].labels(outcome).inc()

    def delivered(self, log: str, name: str, count: int) -> None:
        """Count messages that a destination has taken."""
        self._counters[families.DELIVERED].labels(log, name).inc(count)

    def undelivered(self, log: str, name: str) -> None:
        """Count that a destination took no messages."""
        self._counters[families.UNDELIVERED].labels(log, name).inc()

    def dropped(self, log: str, name: str, count: int) -> None:
        """Count messages that a destination never gets."""
        self._counters[families.DROPPED].labels(log, name).inc(count)

    def add_source(self, source: Callable[[], Iterable[Samples]]) -> None:
        """Add a function that returns samples whenever somebody reads the metrics. It is called in the event loop."""
        self._sources.append(source)

    async def exposition(self) -> tuple[bytes, str]:
        """Return all metrics as text, and their media type.

        A thread makes the text, because thousands of series take a while.
        """
        now = [sample for source in self._sources for sample in source()]
        return await asyncio.to_thread(self._text, now), CONTENT_TYPE

    def _text(self, now: Sequence[Samples]) -> bytes:
        current = CollectorRegistry()
        current.register(_Current(now))
        return generate_latest(self._registry) + generate_latest(current)


def in_work(queue: ProbeQueue, jobs: Jobs) -> Iterable[Samples]:
    """Yield how many calls and jobs this node works on."""
    yield (families.QUEUE, [((), queue.calls)])
    yield (families.JOBS, [((), jobs.running)])
    yield (families.JOB_DONE, [((work.kind, job), work.done) for job, work in jobs.progress])
    yield (families.JOB_TOTAL, [((work.kind, job), work.total) for job, work in jobs.progress])


def forwarding(waiting: Iterable[tuple[tuple[str, str], float]]) -> Iterable[Samples]:
    """Yield how many messages wait for each destination, on the node that delivers."""
    yield (families.WAITING, tuple(waiting))


def _build() -> Iterable[Samples]:
    yield (families.BUILD_INFO, [((__version__,), 1.0)])


class _Current(Collector):
    """Gauges whose values were read just before."""

    def __init__(self, samples: Sequence[Samples]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for family, series in self._samples:
            shown = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for values, value in series:
                shown.add_metric(values, value)
            yield shown
