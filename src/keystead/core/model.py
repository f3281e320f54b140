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
    """One process home (a data directory) that serves this database."""

    uuid: str
    name: str
    release: Release


@dataclass(frozen=True, slots=True)
class Svm:
    """A storage virtual machine: a tenant."""

    uuid: str
    name: str


class CertificateType(StrEnum):
    """The certificate types kept here, out of ONTAP's five."""

    CLIENT = "client"
    SERVER_CA = "server_ca"


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

    The certificates are uuids: they can name certificates that are gone (ONTAP code 65536821).
    """

    uuid: str
    svm: Svm | None
    enabled: bool
    client_certificate: str
    server_ca_certificates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyServer:
    """A primary key server of a key manager. Times are whole seconds; ``position`` is the order of creation.

    ``secondary_key_servers`` are hosts as the caller wrote them; they use the primary's port.
    """

    uuid: str
    key_manager: str
    position: int
    address: ServerAddress
    timeout: int
    create_remove_timeout: int
    username: str
    secondary_key_servers: tuple[str, ...]
    sealed_password: bytes | None = field(default=None, repr=False)


class Role(StrEnum):
    """Built-in roles of cluster accounts."""

    ADMIN = "admin"
    READONLY = "readonly"


@dataclass(frozen=True, slots=True)
class Account:
    """An account that may log in; ``version`` changes with every change of its row."""

    name: str
    role: Role
    password_hash: str = field(repr=False)
    version: int = 1


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
