"""The rules of external key managers: what may be created, changed and deleted, and the ONTAP codes of refusals.

Pure: facts in; a plan or one :class:`OntapError` out. Source: ONTAP pages of ``/security/key-managers``; 65538111 and
65538120 from 9.17, inactive configurations (655395xx) from 9.16.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import AddRequest, check_certificates, check_multitenant, check_release, check_servers
from keystead.core.keys.guarding import check_no_keys, check_not_at_cluster
from keystead.core.model import CertificateType, KeyManager, Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.errors import ErrorKind
    from keystead.core.key_servers import NewKeyServer, ServersState
    from keystead.core.keys.model import KeyState
    from keystead.core.model import Certificate, Cluster, Node, Svm

INACTIVE_SINCE = Release(9, 16, 1)
POLICY_LIMIT = 255  # characters
LONGEST_MONITOR_INTERVAL = 86_400  # seconds
CLIENT_CERTIFICATE = "external.client_certificate"
SERVER_CA_CERTIFICATES = "external.server_ca_certificates"


@dataclass(frozen=True, slots=True)
class CertificateName:
    """How a body names a certificate: by uuid, by name, or by both. Both must be of the same certificate."""

    uuid: str | None = None
    name: str | None = None

    def is_of(self, certificate: Certificate) -> bool:
        """Return True if this names the certificate."""
        return self.uuid in {None, certificate.uuid} and self.name in {None, certificate.name}


Found = dict[CertificateName, tuple["Certificate", ...]]
"""The certificates that each name may mean, of those that the call sees: an SVM's own before the cluster's."""


@dataclass(frozen=True, slots=True)
class NewKeyManager:
    """A key manager as the caller asks for it. Without ``svm_uuid`` and ``svm_name`` it is the cluster's."""

    svm_uuid: str | None
    svm_name: str | None
    client_certificate: CertificateName | None
    server_ca_certificates: tuple[CertificateName, ...]
    servers: tuple[NewKeyServer, ...]
    policy: str | None = None
    configuration_name: str = "default"
    inactive: bool = False
    min_copies: int = 0
    monitor_interval: int = 0

    @property
    def add_request(self) -> AddRequest:
        """The servers as an add request. Its targets are the places of their fields in this body."""
        return AddRequest(self.servers, prefix="external.servers[{index}].")

    @property
    def named(self) -> tuple[CertificateName, ...]:
        """All certificates that the request names."""
        return _named(self.client_certificate, self.server_ca_certificates)


@dataclass(frozen=True, slots=True)
class KeyManagerChange:
    """Changes of a key manager; None leaves a value as it is. ``scope`` and ``svm_*`` may only repeat the owner."""

    client_certificate: CertificateName | None = None
    server_ca_certificates: tuple[CertificateName, ...] | None = None
    policy: str | None = None
    scope: str | None = None
    svm_uuid: str | None = None
    svm_name: str | None = None
    min_copies: int | None = None
    monitor_interval: int | None = None

    @property
    def named(self) -> tuple[CertificateName, ...]:
        """All certificates that the change names."""
        return _named(self.client_certificate, self.server_ca_certificates or ())

    @property
    def empty(self) -> bool:
        """True if no change is asked for."""
        return self.client_certificate is None and self.server_ca_certificates is None and not self.settings

    @property
    def settings(self) -> dict[str, Any]:
        """The values to store that need no proof, by the names of the key manager's fields."""
        values = {name: getattr(self, name) for name in ("policy", "min_copies", "monitor_interval")}
        return {name: value for name, value in values.items() if value is not None}

    def blamed(self, kind: ErrorKind) -> str:
        """Return the certificate field of the request that a key server's refusal is about."""
        given = [CLIENT_CERTIFICATE] if self.client_certificate else []
        given += [SERVER_CA_CERTIFICATES] if self.server_ca_certificates else []
        return given[-1 if kind is errors.SERVER_CA_REFUSED else 0]


@dataclass(frozen=True, slots=True)
class CreateState:
    """The facts that decide about a creation: the owner, and the key manager that the owner has, enabled or not.

    ``keys_at_cluster`` is how many keys of this SVM the cluster's key manager has.
    """

    svm: Svm | None
    existing: KeyManager | None
    cluster: Cluster
    nodes: tuple[Node, ...]
    found: Found
    keys_at_cluster: int = 0


@dataclass(frozen=True, slots=True)
class CreationPlan:
    """An accepted key manager with its certificates, by uuid.

    ``proves``: the servers must be proved with these certificates before the key manager is stored.
    """

    key_manager: KeyManager
    certificates: Mapping[str, Certificate]
    proves: bool = True


def _named(client: CertificateName | None, cas: tuple[CertificateName, ...]) -> tuple[CertificateName, ...]:
    return cas if client is None else (client, *cas)


# --- create ---


def check_complete(new: NewKeyManager) -> None:
    """Raise 65536876 unless client certificate, server CAs and key servers are named."""
    if not (new.client_certificate and new.server_ca_certificates and new.servers):
        raise OntapError(errors.EXTERNAL_INCOMPLETE)


def plan_create(state: CreateState, new: NewKeyManager, uuid: str) -> CreationPlan:
    """Return the plan of a creation, or raise the first rule that is broken. Call :func:`check_complete` first."""
    if new.policy is not None:
        check_policy(new.policy, state.svm)
    if new.inactive:
        _check_inactive(state)
    check_multitenant(state.svm, state.cluster, state.nodes)
    if state.existing is not None:
        raise OntapError(_already_exists(state.existing, new), arguments=[("key_manager", state.existing.uuid)])
    check_not_at_cluster(state.keys_at_cluster)
    client = _chosen(state.found, new.client_certificate or CertificateName(), CertificateType.CLIENT)
    cas = _chosen_cas(state.found, new.server_ca_certificates)
    planned = KeyManager(
        uuid,
        state.svm,
        enabled=not new.inactive,
        client_certificate=client.uuid,
        server_ca_certificates=tuple(ca.uuid for ca in cas),
        policy=new.policy or "",
        configuration_name=new.configuration_name,
        min_copies=new.min_copies,
        monitor_interval=new.monitor_interval,
    )
    certificates = {certificate.uuid: certificate for certificate in (client, *cas)}
    check_certificates(planned, certificates)
    check_servers((), new.add_request)
    return CreationPlan(planned, certificates)


def check_policy(policy: str, svm: Svm | None) -> None:
    """Raise 65538120 for the cluster's key manager, 65538111 for an invalid name of a policy."""
    if svm is None:
        raise OntapError(errors.POLICY_ON_ADMIN_SVM, target="policy")
    if not 0 < len(policy) <= POLICY_LIMIT or not policy.isprintable() or policy != policy.strip():
        raise OntapError(errors.POLICY_INVALID, target="policy")


def _check_inactive(state: CreateState) -> None:
    if state.svm is not None:
        raise OntapError(errors.INACTIVE_OF_SVM)
    check_release(state.nodes, INACTIVE_SINCE, errors.INACTIVE_RELEASE)
    if state.cluster.metrocluster:
        raise OntapError(errors.INACTIVE_METROCLUSTER)


def _already_exists(existing: KeyManager, new: NewKeyManager) -> ErrorKind:
    """Return the error for an owner that has a key manager already."""
    if new.inactive:
        return errors.INACTIVE_BESIDE_ANOTHER
    if not existing.enabled:
        return errors.ENABLE_BESIDE_INACTIVE
    return errors.ADMIN_SVM_HAS_KEY_MANAGER if existing.svm is None else errors.KEY_MANAGER_EXISTS


# --- change ---


def plan_change(state: ServersState, found: Found, change: KeyManagerChange) -> CreationPlan:
    """Return the plan of a change, or raise the first rule that is broken."""
    _check_changeable(state, change)
    before = state.key_manager
    after = replace(before, **change.settings)
    certificates = dict(state.certificates)
    if change.client_certificate is not None:
        client = _chosen(found, change.client_certificate, CertificateType.CLIENT)
        certificates[client.uuid] = client
        after = replace(after, client_certificate=client.uuid)
    if change.server_ca_certificates is not None:
        cas = _chosen_cas(found, change.server_ca_certificates)
        certificates |= {ca.uuid: ca for ca in cas}
        after = replace(after, server_ca_certificates=tuple(ca.uuid for ca in cas))
    if change.named:
        check_certificates(after, certificates)
    if change.client_certificate is not None:
        _check_successor(certificates, before, after)
    return CreationPlan(after, certificates, proves=bool(change.named))


def _check_changeable(state: ServersState, change: KeyManagerChange) -> None:
    """Raise the error that forbids the change, whichever certificates it names."""
    key_manager = state.key_manager
    _check_agrees(key_manager, change)
    if change.empty:
        raise OntapError(errors.NO_VALUES)
    if not key_manager.enabled:
        raise OntapError(errors.INACTIVE_UNCHANGEABLE)
    check_multitenant(key_manager.svm, state.cluster, state.nodes)
    if change.policy is not None:
        check_policy(change.policy, key_manager.svm)
    if change.server_ca_certificates == ():
        raise OntapError(errors.EXTERNAL_INCOMPLETE, target=SERVER_CA_CERTIFICATES)


def _check_agrees(key_manager: KeyManager, change: KeyManagerChange) -> None:
    """Raise 262185 if the body names another owner. A body may repeat the owner, but cannot change it."""
    svm = key_manager.svm
    actual = {
        "scope": "svm" if svm else "cluster",
        "svm.uuid": svm.uuid if svm else "",
        "svm.name": svm.name if svm else "",
    }
    said = {"scope": change.scope, "svm.uuid": change.svm_uuid, "svm.name": change.svm_name}
    for field, value in said.items():
        if value is not None and value != actual[field]:
            reason = "it does not agree with the key manager"
            raise OntapError(errors.INVALID_VALUE, target=field, field=field, reason=reason)


def _check_successor(certificates: Mapping[str, Certificate], before: KeyManager, after: KeyManager) -> None:
    """Raise 65536850 for another key pair. A client certificate that no longer exists cannot be compared."""
    old = certificates.get(before.client_certificate)
    if old is not None:
        check_same_key_pair(old, certificates[after.client_certificate], CLIENT_CERTIFICATE)


def check_same_key_pair(old: Certificate, new: Certificate, target: str) -> None:
    """Raise 65536850 unless both certificates are for one key pair. ``target`` is the field that the error names.

    Called when a key manager gets another client certificate, and before the successor of one is installed.
    """
    if not has_same_key_pair(old, new):
        raise OntapError(errors.KEY_PAIR, target=target)


def has_same_key_pair(one: Certificate, other: Certificate) -> bool:
    """Return True if both certificates are for one key pair."""
    return _public_key(one) == _public_key(other)


def _public_key(certificate: Certificate) -> bytes:
    key = x509.load_pem_x509_certificate(certificate.public_certificate.encode()).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- delete ---


def check_delete(
    key_manager: KeyManager, keys: Mapping[KeyState, int], left: int, away: Sequence[str] = (), *, held: bool
) -> None:
    """Raise 65536828 if the key manager is not enabled, 65536867 if it has keys or destruction is held.

    A key manager that is not enabled is deleted as a key store. ``keys`` are the numbers of keys by state. ``left`` is
    the number of keys in terminal states with objects that must still be destroyed. ``away`` are the addresses of
    servers that cannot be read now. While destruction is ``held``, the
    database may lack keys, and only this key manager can tell which keys its objects are.
    """
    if not key_manager.enabled:
        raise OntapError(errors.NOT_ENABLED)
    check_no_keys(keys, left, away, key_manager.svm.name if key_manager.svm else None)
    if held:
        command = "keystead security key-manager incarnation release"
        raise OntapError(errors.KEYS_IN_USE, arguments=[("reason", "destruction_held"), ("next", command)])


# --- certificates that a body names ---


def _chosen_cas(found: Found, named: Iterable[CertificateName]) -> list[Certificate]:
    """Return the server CA certificates that a body names, or raise 262222 if one is named twice."""
    cas: list[Certificate] = []
    for index, name in enumerate(named):
        target = f"{SERVER_CA_CERTIFICATES}[{index}]"
        ca = _chosen(found, name, CertificateType.SERVER_CA, target)
        if ca in cas:
            raise OntapError(errors.VALUE_TWICE, target=target, field=target, value=ca.uuid)
        cas.append(ca)
    return cas


def _chosen(
    found: Found, name: CertificateName, type_: CertificateType, target: str = CLIENT_CERTIFICATE
) -> Certificate:
    """Return the certificate of this type that a body names, or raise 65536821."""
    for certificate in found.get(name, ()):
        if certificate.type == type_ and name.is_of(certificate):
            return certificate
    raise OntapError(errors.CERTIFICATE_NOT_INSTALLED, target=target)


def serving(svm_uuids: Iterable[str], enabled: Iterable[KeyManager]) -> dict[str, KeyManager]:
    """Return the key manager that keeps each SVM's keys, by the SVM's uuid: its own, else the cluster's.

    ``enabled`` are the enabled key managers. An SVM without a key manager has no entry.
    """
    by_owner = {manager.svm.uuid if manager.svm else None: manager for manager in enabled}
    found = {uuid: by_owner.get(uuid) or by_owner.get(None) for uuid in svm_uuids}
    return {uuid: manager for uuid, manager in found.items() if manager is not None}
