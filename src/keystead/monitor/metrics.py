"""The metrics of this process, in Prometheus' exposition format.

Counters and histograms are updated as things happen. Present values (states, days left, queues) are read when somebody
reads the metrics. The registry is our own, so that the library's default metrics are not shown.
``docs/how-to/monitor.md`` explains the metrics.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keystead import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keystead.service.cluster.jobs import Jobs
    from keystead.service.probing.queue import ProbeQueue

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ACCEPTED: Final = "accepted"
_CHECK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_PROBE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
_DETECT_BUCKETS: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 30.0, 60.0)

Samples = tuple[str, str, tuple[str, ...], "Sequence[tuple[tuple[str, ...], float]]"]
"""A gauge as it is now: name, help, label names, and (label values, value) of each series."""


class Metrics:
    """Implements :class:`keystead.service.ports.store.Telemetry`."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        build = Gauge(
            "keystead_build_info", "The release of this process; always 1.", ["version"], registry=self._registry
        )
        build.labels(__version__).set(1)
        self._sources: list[Callable[[], Iterable[Samples]]] = []
        self._check = Histogram(
            "keystead_light_check_seconds",
            "Light checks of key servers that were answered.",
            buckets=_CHECK_BUCKETS,
            registry=self._registry,
        )
        self._check_failures = Counter(
            "keystead_light_check_failures", "Light checks of key servers that failed.", registry=self._registry
        )
        self._probe = Histogram(
            "keystead_probe_seconds",
            "Probes of watched key servers, whatever came of them.",
            buckets=_PROBE_BUCKETS,
            registry=self._registry,
        )
        self._probes = Counter(
            "keystead_probes",
            "Probes of watched key servers, by what they found: `accepted` or the reason.",
            ["outcome"],
            registry=self._registry,
        )
        self._detect = Histogram(
            "keystead_time_to_detect_seconds",
            "From the last good look at a key server to each failure that is confirmed.",
            buckets=_DETECT_BUCKETS,
            registry=self._registry,
        )
        self._discarded = Counter(
            "keystead_looks_discarded",
            "Losses of key servers that were not believed, because this process had been held up.",
            registry=self._registry,
        )
        self._requests = Counter(
            "keystead_http_requests", "Answers, by method and status.", ["method", "status"], registry=self._registry
        )
        self._refused = Counter(
            "keystead_connections_refused",
            "Connections of clients that were closed at once, by the reason.",
            ["reason"],
            registry=self._registry,
        )

        labels = ["log", "destination"]
        self._delivered = Counter(
            "keystead_forwarded_messages",
            "Messages that a destination has taken from this node.",
            labels,
            registry=self._registry,
        )
        self._undelivered = Counter(
            "keystead_forwarding_failures",
            "Times that a destination took no messages from this node.",
            labels,
            registry=self._registry,
        )
        self._dropped = Counter(
            "keystead_forwarding_dropped_messages",
            "Messages that a destination never gets, because too many waited.",
            labels,
            registry=self._registry,
        )

    def checked(self, seconds: float, *, alive: bool) -> None:
        """Count a light check."""
        if alive:
            self._check.observe(seconds)
        else:
            self._check_failures.inc()

    def probed(self, seconds: float, reason: str) -> None:
        """Count a probe; ``reason`` is empty when the server was accepted."""
        self._probe.observe(seconds)
        self._probes.labels(reason or ACCEPTED).inc()

    def detected(self, seconds: float) -> None:
        """Count a confirmed loss, so many seconds after the last good look."""
        self._detect.observe(seconds)

    def discarded(self) -> None:
        """Count a loss that was discarded, because this process had been held up."""
        self._discarded.inc()

    def answered(self, method: str, status: int) -> None:
        """Count an answer. ``method`` is one that the server knows."""
        self._requests.labels(method, str(status)).inc()

    def refused(self, reason: str) -> None:
        """Count a connection that was closed at once."""
        self._refused.labels(reason).inc()

    def delivered(self, log: str, name: str, count: int) -> None:
        """Count messages that a destination has taken."""
        self._delivered.labels(log, name).inc(count)

    def undelivered(self, log: str, name: str) -> None:
        """Count that a destination took no messages."""
        self._undelivered.labels(log, name).inc()

    def dropped(self, log: str, name: str, count: int) -> None:
        """Count messages that a destination never gets."""
        self._dropped.labels(log, name).inc(count)

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
    yield ("keystead_probe_queue", "Calls that probe key servers, or wait for their turn to.", (), [((), queue.calls)])
    yield ("keystead_jobs_running", "Jobs that this node runs.", (), [((), jobs.running)])


def forwarding(waiting: Iterable[tuple[tuple[str, str], float]]) -> Iterable[Samples]:
    """Yield how many messages wait for each destination, on the node that delivers."""
    text = "Messages that wait for a destination, on the node that delivers to it."
    yield ("keystead_forwarding_waiting_messages", text, ("log", "destination"), tuple(waiting))


class _Current(Collector):
    """Gauges whose values were read just before."""

    def __init__(self, samples: Sequence[Samples]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        for name, help_, labels, series in self._samples:
            family = GaugeMetricFamily(name, help_, labels=labels)
            for values, value in series:
                family.add_metric(values, value)
            yield family
