"""All metric families of the service. ``docs/reference/metrics.md`` is generated from them.

Names and units follow Prometheus' documentation, "Metric and label naming".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How the values of a family behave."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """A metric family, as it is exposed. ``buckets`` are the upper bounds of a histogram.

    ``values`` are those of its only label if they are known before. Each has a series from the start, because
    Prometheus sees no rise in the first sample of a series.
    """

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: tuple[str, ...] = ()


def _gauge(name: str, help_: str, *labels: str) -> Family:
    return Family(Kind.GAUGE, name, help_, labels)


def _counter(name: str, help_: str, *labels: str) -> Family:
    return Family(Kind.COUNTER, name, help_, labels)


def _key_count(name: str, help_: str, *labels: str) -> Family:
    return _gauge(name, f"{help_} Shown by the node that keeps keys.", "svm", "key_manager", *labels)


def _histogram(name: str, help_: str, *buckets: float) -> Family:
    return Family(Kind.HISTOGRAM, name, help_, (), buckets)


_OF_ADDRESS: Final = ("svm", "key_manager", "key_server", "address", "role")
_OF_DESTINATION: Final = ("log", "destination")

BUILD_INFO: Final = _gauge("keystead_build_info", "The release of this process; always 1.", "version")

AVAILABLE: Final = _gauge(
    "keystead_key_server_available",
    "Whether a key server's address answers this node: 1 or 0; no series while unknown.",
    *_OF_ADDRESS,
)
KEYS_VISIBLE: Final = _gauge(
    "keystead_key_server_keys_visible",
    "Whether a key server's address showed its canary and its newest copy when it was last asked: 1 or 0.",
    *_OF_ADDRESS,
)
SERVER_CERTIFICATE_EXPIRY: Final = _gauge(
    "keystead_key_server_certificate_expiry_timestamp_seconds",
    "Time when the first of the certificates that a key server last showed expires.",
    *_OF_ADDRESS,
)
CERTIFICATE_EXPIRY: Final = _gauge(
    "keystead_certificate_expiry_timestamp_seconds",
    "Time when a certificate that a key manager uses expires, and with the type `server` that of the listener.",
    *("svm", "type", "common_name", "serial_number"),
)
WATCHED: Final = _gauge("keystead_watched_addresses", "Addresses of key servers that are watched.")
LIGHT_CHECK: Final = _histogram(
    "keystead_light_check_seconds",
    "Light checks of key servers that were answered.",
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
LIGHT_CHECK_FAILURES: Final = _counter(
    "keystead_light_check_failures_total", "Light checks of key servers that failed."
)
PROBE: Final = _histogram(
    "keystead_probe_seconds",
    "Probes of watched key servers, whatever came of them.",
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0),
)
PROBES: Final = _counter(
    "keystead_probes_total",
    "Probes of watched key servers, by what they found: `accepted` or the reason.",
    "outcome",
)
TIME_TO_DETECT: Final = _histogram(
    "keystead_time_to_detect_seconds",
    "From the last good look at a key server to each failure that is confirmed.",
    *(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 30.0, 60.0),
)
DISCARDED: Final = _counter(
    "keystead_looks_discarded_total",
    "Losses of key servers that were not believed, because this process had been held up.",
)

KEEPER: Final = _gauge("keystead_keeper", "Whether this node keeps keys: 1 or 0.")
KEYS: Final = _key_count("keystead_keys", "Keys in use, and retired ones that can be recovered.")
SOLE_COPY: Final = _key_count("keystead_keys_sole_copy", "Keys proven in one replication domain only.")
UNPROVEN: Final = _key_count("keystead_keys_unproven", "Keys without a proven copy.")
UNREADABLE: Final = _key_count("keystead_keys_unreadable", "Keys that no key server can give now.")
MAY_FAIL: Final = _key_count(
    "keystead_domains_may_fail", "Replication domains that may fail from now on without a loss."
)
OLDEST_PROOF: Final = _key_count(
    "keystead_keys_oldest_proof_timestamp_seconds",
    "Time of the oldest proof that the numbers of readable keys rest on.",
)
COUNTED: Final = _key_count(
    "keystead_keys_counted_timestamp_seconds",
    "Time when the keys were counted: every 5 seconds, or less often if that takes over half a second.",
)
COPIES: Final = _key_count(
    "keystead_key_copies",
    "Keys by what is known of their copies on a configured key server: `present`, `away` (proven, and the server"
    " cannot be read now), `missing`, `different`, `unknown`.",
    *("key_server", "presence"),
)

LAST_BACKUP: Final = _gauge(
    "keystead_last_backup_timestamp_seconds",
    "Time of the last backup of this data directory; no series before the first.",
)
DELIVERED: Final = _counter(
    "keystead_forwarded_messages_total", "Messages that a destination has taken from this node.", *_OF_DESTINATION
)
UNDELIVERED: Final = _counter(
    "keystead_forwarding_failures_total",
    "Times that a destination took no messages from this node.",
    *_OF_DESTINATION,
)
DROPPED: Final = _counter(
    "keystead_forwarding_dropped_messages_total",
    "Messages that a destination never gets, because too many waited.",
    *_OF_DESTINATION,
)
WAITING: Final = _gauge(
    "keystead_forwarding_waiting_messages",
    "Messages that wait for a destination, on the node that delivers to it.",
    *_OF_DESTINATION,
)
REQUESTS: Final = _counter("keystead_http_requests_total", "Answers, by method and status.", "method", "status")
REFUSED: Final = Family(
    Kind.COUNTER,
    "keystead_connections_refused_total",
    "Connections of clients that were closed at once, by the reason: the limit that was met (`address`, `reserved`,"
    " `in_all`) or `proxy_header`.",
    labels=("reason",),
    values=("address", "reserved", "in_all", "proxy_header"),
)
PUSHES: Final = Family(
    Kind.COUNTER,
    "keystead_withdrawals_total",
    "Withdrawals of keys, accounts and certificates between nodes: those that another node `confirmed` or not"
    " (`unconfirmed`), and messages that came from another node (`taken`), or were `refused`.",
    labels=("outcome",),
    values=("confirmed", "unconfirmed", "taken", "refused"),
)
QUEUE: Final = _gauge("keystead_probe_queue", "Calls that probe key servers, or wait for their turn to.")
JOBS: Final = _gauge("keystead_jobs_running", "Jobs that this node runs.")
JOB_DONE: Final = _gauge("keystead_job_done", "How much a resumable job of this node has done.", "kind", "job")
JOB_TOTAL: Final = _gauge("keystead_job_total", "How much a resumable job of this node has to do.", "kind", "job")

FAMILIES: Final = tuple(value for value in globals().values() if isinstance(value, Family))
"""All of them, in the order above."""
