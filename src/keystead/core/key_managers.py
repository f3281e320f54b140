"""The rules of creating an external key manager. Pure. Source: ONTAP 9.6 page of ``POST /security/key-managers``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import AddRequest, check_certificates, check_multitenant, check_servers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.key_servers import NewKeyServer
    from keystead.core.model import Certificate, Cluster, KeyManager, Node


@dataclass(frozen=True, slots=True)
class NewKeyManager:
    """A key manager as the caller asks for it; neither ``svm_uuid`` nor ``svm_name`` means the cluster's own."""

    svm_uuid: str | None
    svm_name: str | None
    client_certificate: str | None
    server_ca_certificates: tuple[str, ...]
    servers: tuple[NewKeyServer, ...]

    @property
    def add_request(self) -> AddRequest:
        """The servers as an add of their own, with targets where they stand in this body."""
        return AddRequest(self.servers, prefix="external.servers[{index}].")


@dataclass(frozen=True, slots=True)
class CreateState:
    """What decides about a creation: the scope's present key manager, and the certificates named, if installed."""

    existing: KeyManager | None
    cluster: Cluster
    nodes: tuple[Node, ...]
    certificates: Mapping[str, Certificate]


def check_complete(new: NewKeyManager) -> None:
    """Raise 65536876 unless client certificate, server CAs and key servers are named, 262222 for a CA named twice."""
    if not (new.client_certificate and new.server_ca_certificates and new.servers):
        raise OntapError(errors.EXTERNAL_INCOMPLETE)
    seen: set[str] = set()
    for index, uuid in enumerate(new.server_ca_certificates):
        if uuid in seen:
            field = f"external.server_ca_certificates[{index}].uuid"
            raise OntapError(errors.VALUE_TWICE, target=field, field=field, value=uuid)
        seen.add(uuid)


def check_create(state: CreateState, planned: KeyManager, new: NewKeyManager) -> None:
    """Raise the first rule that forbids the creation of ``planned`` with the servers of ``new``."""
    check_multitenant(planned.svm, state.cluster, state.nodes)
    if state.existing is not None:
        named = [("key_manager", state.existing.uuid)]
        raise OntapError(errors.KEY_MANAGER_EXISTS, arguments=named)
    check_certificates(planned, state.certificates)
    check_servers((), new.add_request)
