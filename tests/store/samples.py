"""Model values for tests of the store, each with a name that a test can choose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from keystead.core.model import (
    AuditHead,
    AuditRecord,
    Certificate,
    CertificateType,
    KeyManager,
    KeyServer,
    Node,
    Release,
    Svm,
)
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SVM = Svm("svm-1", "svm1")
OTHER_SVM = Svm("svm-2", "svm2")
NODE = Node("node-1", "n1", Release(9, 18, 1))


def certificate(uuid: str = "cert-1", svm: Svm | None = None, **changes: Any) -> Certificate:
    """Return a client certificate whose texts all differ, so that columns cannot be mixed up unseen."""
    values: dict[str, Any] = {
        "name": f"name of {uuid}",
        "type": CertificateType.CLIENT,
        "common_name": "cn",
        "public_certificate": "pem",
        "intermediates": ("first", "second"),
        "ca": "issuer",
        "serial_number": "0A",
        "not_before": NOON,
        "expiry_time": NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(days=1),
        "key_size": 2048,
        "hash_function": "sha256",
        "authority_key_identifier": "aki",
        "subject_key_identifier": "ski",
        "sealed_private_key": b"\x00sealed\xff",
    }
    return Certificate(uuid=uuid, svm=svm, **(values | changes))


def key_manager(uuid: str = "km-1", svm: Svm | None = None, *, enabled: bool = True) -> KeyManager:
    """Return a key manager with two server CA certificates."""
    return KeyManager(uuid, svm, enabled, "cert-1", ("ca-2", "ca-1"))


def key_server(position: int = 0, address: str = "", manager: str = "km-1", **changes: Any) -> KeyServer:
    """Return a key server with two secondaries."""
    values = {"timeout": 25, "create_remove_timeout": 10, "username": "user", "sealed_password": b"\x01\x00"}
    return KeyServer(
        uuid=f"{manager}-server-{position}",
        key_manager=manager,
        position=position,
        address=ServerAddress.parse(address or f"Host{position}.Example"),
        secondary_key_servers=("Zeta", "alpha"),
        **(values | changes),  # type: ignore[arg-type]
    )


def audit_record(index: int, node: str = "node-1", read_id: str | None = None) -> AuditRecord:
    """Return a record whose texts all differ."""
    texts = ("account", "location", "svm", "method", "path", "input", "state", "code", "message")
    return AuditRecord(node, index, NOON, *texts, mac=b"mac %d" % index, read_id=read_id)


def audit_head(index: int, node: str = "node-1") -> AuditHead:
    """Return the end of a chain."""
    return AuditHead(node, index, b"mac %d" % index, b"head %d" % index)


def fill(tx: Transaction) -> None:
    """Store two SVMs, a certificate and a key manager of the first, and three key servers."""
    tx.add_svm(SVM)
    tx.add_svm(OTHER_SVM)
    tx.add_certificate(certificate(svm=SVM))
    tx.add_key_manager(key_manager(svm=SVM))
    tx.add_key_servers([key_server(position) for position in range(3)])
