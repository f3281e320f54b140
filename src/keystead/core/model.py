"""The things that Keystead keeps, as frozen values. Rules stand beside them in this package, storage elsewhere.

Uuids are lower-case canonical text. Times are aware and UTC. Fields named ``sealed_*`` are ciphertext; no clear secret
is a field of any class here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.server_address import ServerAddress


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A release of the service that a node runs, compared by number: ``9.18.1``."""

    generation: int
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.generation}.{self.major}.{self.minor}"


ONTAP_LEVEL = Release(9, 18, 1)
"""The ONTAP release that this API follows: what ``GET /cluster`` reports, and the row of a node of this release."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The one cluster that a database holds."""

    uuid: str
    name: str
    metrocluster: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One process home (a data directory) that serves this database; ``heard_at`` is when its process last said so.

    ``up`` is what the other nodes make of that. ``clock_doubted``: its clock was not believed when it was read last.
    """

    uuid: str
    name: str
    release: Release
    heard_at: datetime | None = field(default=None, compare=False)
    up: bool = field(default=True, compare=False)
    clock_doubted: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Svm:
    """A storage virtual machine: a tenant."""

    uuid: str
    name: str


class CertificateType(StrEnum):
    """ONTAP's five certificate types."""

    CLIENT = "client"
    SERVER = "server"
    CLIENT_CA = "client_ca"
    SERVER_CA = "server_ca"
    ROOT_CA = "root_ca"


@dataclass(frozen=True, slots=True)
class Certificate:
    """An installed certificate; what it says was read from the PEM when it was installed.

    ``svm`` is None for the cluster's own. ``intermediates`` are PEM texts, leaf's issuer first.
    """

    uuid: str
    svm: Svm | None
    name: str
    type: CertificateType
    common_name: str
    public_certificate: str
    intermediates: tuple[str, ...]
    ca: str
    serial_number: str
    not_before: datetime
    expiry_time: datetime
    key_size: int
    hash_function: str
    authority_key_identifier: str
    subject_key_identifier: str
    sealed_private_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KeyManager:
    """An external key manager configuration; ``svm`` is None for the cluster's (scope ``cluster``).

    The certificates are uuids: they can name certificates that are gone (ONTAP code 65536821). ``min_copies`` is how
    many replication domains must hold a key before it is acknowledged; 0 for a majority.
    """

    uuid: str
    svm: Svm | None
    enabled: bool
    client_certificate: str
    server_ca_certificates: tuple[str, ...]
    policy: str = ""
    configuration_name: str = "default"
    min_copies: int = 0


@dataclass(frozen=True, slots=True)
class KeyServer:
    """A primary key server of a key manager. Times are whole seconds; ``position`` is the order of creation.

    ``secondary_key_servers`` are hosts as the caller wrote them; they use the primary's port. ``tls_server_name`` is
    the name to send as SNI and to verify instead of the host; empty for the host itself. Servers with the same
    ``replication_domain`` are declared to be one replicated cluster; empty where that is left to be found out.
    """

    uuid: str
    key_manager: str
    position: int
    address: ServerAddress
    timeout: int
    create_remove_timeout: int
    username: str
    secondary_key_servers: tuple[str, ...]
    tls_server_name: str = ""
    replication_domain: str = ""
    sealed_password: bytes | None = field(default=None, repr=False)


class State(StrEnum):
    """Whether a node reaches a key server."""

    AVAILABLE = "available"
    NOT_RESPONDING = "not_responding"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A certificate that a key server showed: its leaf or one of its chain. Texts are the peer's, cleaned.

    ``subject`` and ``issuer`` are common names, or whole names where there is none.
    """

    subject: str
    issuer: str
    serial_number: str
    not_after: datetime
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one node last found out about a primary or secondary key server; stored when it changes.

    ``host`` is empty for the primary, else the secondary's. ``stage`` and ``reason`` are empty while available.
    ``certificates`` are the leaf and its chain as last seen.
    """

    node: str
    key_server: str
    host: str
    state: State
    since: datetime
    stage: str = ""
    reason: str = ""
    certificates: tuple[PeerCertificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One EMS event. ``parameters`` are name and value, in the event's order; ``index`` counts per node."""

    node: str
    index: int
    time: datetime
    name: str
    severity: str
    svm: Svm | None
    parameters: tuple[tuple[str, str], ...]
    log_message: str

    @property
    def key(self) -> str:
        """What the events of all nodes are in order by: the time, and what tells apart those of one time."""
        return f"{self.time:%Y%m%dT%H%M%S.%fZ}-{self.node}-{self.index:019d}"


class JobState(StrEnum):
    """The states of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Job:
    """Work that outlives its call. ``svm`` is whose it is, None for the cluster's; ``node`` runs it.

    ``code`` is 0, or the ONTAP code of a failure, whose text is ``message``. ``results`` is a JSON object, or empty.
    """

    uuid: str
    node: str
    svm: Svm | None
    account: str
    description: str
    state: JobState
    message: str
    code: int
    target: str
    start_time: datetime
    end_time: datetime | None = None
    results: str = ""


class Role(StrEnum):
    """Built-in roles: two of cluster accounts, two of SVM accounts, and the one that may read keys, of either."""

    ADMIN = "admin"
    READONLY = "readonly"
    VSADMIN = "vsadmin"
    VSADMIN_READONLY = "vsadmin-readonly"
    KEY_READER = "key-reader"


@dataclass(frozen=True, slots=True)
class Account:
    """An account that may log in; ``version`` changes with every change of its row. Names are unique in the cluster.

    ``svm`` is None for a cluster account. ``password_hash`` is empty for an account without password; ``certificate``
    says that a client certificate whose common name is the account's name logs in.
    """

    name: str
    role: Role
    password_hash: str = field(repr=False)
    version: int = 1
    svm: Svm | None = None
    certificate: bool = False
    locked: bool = False
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the cluster that are kept in its database and changed through the API.

    ``audit_cli``, ``audit_http`` and ``audit_ontapi`` ask for records of reads, too. The polling interval is minutes.
    """

    audit_cli: bool = False
    audit_http: bool = False
    audit_ontapi: bool = False
    health_monitor_polling_interval: int = 15
    cloud_kms_retry_count: int = 3


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key, wrapped by the root key that ``root_key_check`` (a one-way value) tells from others."""

    id: int
    wrapped: bytes = field(repr=False)
    root_key_check: bytes


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of a node's audit chain. ``mac`` covers every other field and the previous record's ``mac``.

    ``input`` is the masked request body, ``state`` is ``success`` or ``error``, ``code`` the ONTAP code of an error.
    ``svm`` is the name that the SVM ``svm_uuid`` had; both are empty for the cluster's own.
    """

    node: str
    index: int
    timestamp: datetime
    account: str
    location: str
    svm: str
    method: str
    path: str
    input: str
    state: str
    code: str
    message: str
    role: str = ""
    svm_uuid: str = ""
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a node's audit chain: the last record's index and MAC.

    ``head_mac`` covers them, so that cutting records off the end cannot be hidden by pointing at an earlier one.
    """

    node: str
    index: int
    mac: bytes
    head_mac: bytes
