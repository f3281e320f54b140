"""The things that Keystead keeps, as frozen values. Their rules are in this package, their storage is not.

Uuids are lower-case canonical text. Times are aware and in UTC. Fields named ``sealed_*`` are ciphertext. No class here
has a field for a clear secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.resumable import Resumable
    from keystead.core.server_address import ServerAddress


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A release of the service on a node, such as ``9.18.1``. Releases are compared by number."""

    generation: int
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.generation}.{self.major}.{self.minor}"


ONTAP_LEVEL = Release(9, 18, 1)
"""The ONTAP release that this API follows. ``GET /cluster`` reports it, and each node of this release stores it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The one cluster of a database."""

    uuid: str
    name: str
    metrocluster: bool = False


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A process that serves as a node: its token, Keystead's release, and where its data directory is.

    ``place`` differs for a copy of the directory. It is empty if the database is in the directory, too.
    """

    token: str
    release: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """How other nodes reach the process of a node, and what proves it to them.

    ``address`` is ``host:port`` of its listener, ``certificate`` the SHA-256 fingerprint of the listener's certificate,
    in hexadecimal digits. ``public_key`` is that of the process, which signs with it (one line of base64). ``proxies``
    are the networks from which the listener expects a header of the PROXY protocol.
    """

    address: str
    certificate: str
    public_key: str
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A Keystead process on this database, with its data directory. ``heard_at`` is its last sign of life.

    The database's clock says when that was, ``reported`` is what the node's own clock said then. ``up`` is what the
    other nodes conclude from it. ``clock_doubted``: its clock was untrusted when it was last read.
    ``starting``: it has not looked at each of its key servers yet since it started. ``has_left``: it was stopped.
    ``process`` is the last one that served as this node, and ``schema`` that of its release. ``contact`` is None until
    the process has told. ``reads_until``: it reads no key without the database later than that; None if not known.
    """

    uuid: str
    name: str
    release: Release
    heard_at: datetime | None = field(default=None, compare=False)
    up: bool = field(default=True, compare=False)
    reported: datetime | None = field(default=None, compare=False)
    clock_doubted: bool = field(default=False, compare=False)
    starting: bool = field(default=False, compare=False)
    has_left: bool = field(default=False, compare=False)
    process: NodeProcess | None = field(default=None, compare=False)
    schema: str = field(default="", compare=False)
    contact: Contact | None = field(default=None, compare=False)
    reads_until: datetime | None = field(default=None, compare=False)


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
    """An installed certificate. Its values were read from the PEM text when it was installed.

    ``svm`` is None for the cluster's own. ``intermediates`` are PEM texts, the issuer of the leaf first.
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
    """An external key manager configuration. ``svm`` is None for the cluster's (scope ``cluster``).

    The certificates are uuids, perhaps of certificates that no longer exist (ONTAP code 65536821). ``min_copies`` is
    how many replication domains must hold a key before it is acknowledged; 0 for a majority. ``monitor_interval`` is in
    seconds, between two checks of each key server; 0 for the setting of each node.
    """

    uuid: str
    svm: Svm | None
    enabled: bool
    client_certificate: str
    server_ca_certificates: tuple[str, ...]
    policy: str = ""
    configuration_name: str = "default"
    min_copies: int = 0
    monitor_interval: int = 0


@dataclass(frozen=True, slots=True)
class KeyServer:
    """A primary key server of a key manager. Times are whole seconds; ``position`` is the order of creation.

    ``secondary_key_servers`` are hosts as the caller wrote them; they use the primary's port. ``tls_server_name`` is
    the name to send as SNI and to verify instead of the host; empty for the host itself. ``replication_domain``
    declares that the servers with the same value fail together; empty to have it found out.
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
    """The state of a key server, as a node sees it."""

    AVAILABLE = "available"
    NOT_RESPONDING = "not_responding"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A certificate that a key server showed: its own, or one of its chain. Texts come from the peer and are cleaned.

    ``subject`` and ``issuer`` are common names, or whole names where there is no common name.
    """

    subject: str
    issuer: str
    serial_number: str
    not_after: datetime
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one node last found out about a primary or secondary. It is stored when it changes.

    ``host`` is empty for the primary, else that of the secondary. ``stage`` and ``reason`` are empty while available.
    ``certificates`` are the server's own and its chain, as last seen. ``last_available`` is the last good look before
    the present state, or its beginning while available. ``latency_ms`` is the time of one request. ``keys_visible``:
    the address showed the canary, and the newest copy there, at the last look that could see them; None before it.
    ``hidden_since`` is when it first did not, None while it does.
    """

    node: str
    key_server: str
    host: str
    state: State
    since: datetime
    stage: str = ""
    reason: str = ""
    certificates: tuple[PeerCertificate, ...] = ()
    last_available: datetime | None = None
    latency_ms: int | None = None
    keys_visible: bool | None = None
    hidden_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One EMS event. ``parameters`` are names and values in the event's order. ``index`` counts per node."""

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
        """The sort key of events of all nodes: the time, and then what tells apart events of one time."""
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
    """Work that outlives its call. ``svm`` is the owner, None for the cluster; ``node`` runs the work.

    ``code`` is 0, or the ONTAP code of a failure with the text ``message``; ``arguments`` are those of its error.
    ``results`` is a JSON object, or empty. ``resumable`` is None if the work cannot go on in another process.
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
    arguments: tuple[tuple[str, str], ...] = ()
    resumable: Resumable | None = None


class Role(StrEnum):
    """Built-in roles: two for cluster accounts, two for SVM accounts, the key reader's for both.

    ``kmip-client`` is the role of an SVM's application: it uses objects over KMIP, and nothing over REST.
    """

    ADMIN = "admin"
    READONLY = "readonly"
    VSADMIN = "vsadmin"
    VSADMIN_READONLY = "vsadmin-readonly"
    KEY_READER = "key-reader"
    KMIP_CLIENT = "kmip-client"


class Access(StrEnum):
    """ONTAP's words for what a privilege grants."""

    NONE = "none"
    READONLY = "readonly"
    READ_CREATE = "read_create"
    READ_MODIFY = "read_modify"
    READ_CREATE_MODIFY = "read_create_modify"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Privilege:
    """Access to a path and to everything beneath it."""

    path: str
    access: Access


@dataclass(frozen=True, slots=True)
class CustomRole:
    """A role that administrators made. ``svm`` is its owner, None for the cluster; ``privileges`` are by path."""

    name: str
    svm: Svm | None
    privileges: tuple[Privilege, ...]

    @property
    def value(self) -> str:
        """The role's name, as a built-in role has it."""
        return self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Account:
    """An account that may log in. ``version`` changes with every change of its row. Names are unique in the cluster.

    ``svm`` is None for a cluster account. ``password_hash`` is empty for an account without password. ``certificate``
    says that a client certificate may log in if its common name is the account's name. ``has_read_keys`` says that a
    read of key material by it was announced.
    """

    name: str
    role: Role | CustomRole
    password_hash: str = field(repr=False)
    version: int = 1
    svm: Svm | None = None
    certificate: bool = False
    locked: bool = False
    comment: str = ""
    has_read_keys: bool = False


@dataclass(frozen=True, slots=True)
class LoginMessages:
    """What those who log in are to be told. ``svm`` is None for the cluster's own.

    ``show_cluster_message``: an SVM's accounts are told the cluster's message, too.
    """

    svm: Svm | None
    banner: str = ""
    message: str = ""
    show_cluster_message: bool = True


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the cluster that are stored in its database and changed through the API.

    ``audit_cli``, ``audit_http`` and ``audit_ontapi`` turn on records of reads. The polling interval is in minutes. In
    the ``key_recovery_days`` after its deletion a key can be recovered. The cluster's contact and location are for
    people.
    """

    audit_cli: bool = False
    audit_http: bool = False
    audit_ontapi: bool = False
    health_monitor_polling_interval: int = 15
    cloud_kms_retry_count: int = 3
    key_recovery_days: int = 7
    cluster_contact: str = ""
    cluster_location: str = ""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key, wrapped by a root key. ``root_key_check``, a one-way value, says by which one."""

    id: int
    wrapped: bytes = field(repr=False)
    root_key_check: bytes


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record of a node's audit chain. ``mac`` covers the fields before it and the previous record's ``mac``.

    ``input`` is the masked request body, ``state`` is ``success`` or ``error``, ``code`` is the ONTAP code of an error.
    ``svm`` is the name that the SVM ``svm_uuid`` had; both are empty for the cluster's own.

    ``read_id`` is the id of a read of key material, None for other records. ``mac`` does not cover it: it is a copy for
    searching, and ``message`` has the id too.
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
    read_id: str | None = None


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of a node's audit chain: the index and MAC of the last record.

    ``head_mac`` covers both, so that nobody can hide that records were cut off the end.
    """

    node: str
    index: int
    mac: bytes
    head_mac: bytes
