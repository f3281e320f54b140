"""Who uses each certificate, and what the end of one would mean. No key server is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.certificates.ending import ending
from keystead.core.errors import OntapError
from keystead.core.model import Account, Certificate, CertificateType, KeyManager
from keystead.service.keys.reporting.survival import survival_of
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_cluster
from keystead.service.ports.cluster import ClusterRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, ReportRows, TopologyRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystead.service.context import Call
    from keystead.service.ports.store import Store


class Rows(
    TopologyRows,
    CertificateRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    ObservationRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReportRows,
    Protocol,
):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class CertificateUser:
    """A key manager (its uuid) that uses a certificate. ``vserver`` is its SVM's name, or the cluster's.

    ``as_client``: it shows the certificate to its key servers; else it trusts it.
    """

    key_manager: str
    vserver: str
    owned_by_svm: bool
    enabled: bool
    as_client: bool


@dataclass(frozen=True, slots=True)
class CertificateUse:
    """An installed certificate and who uses it. ``logins`` counts the accounts whose logins it may prove."""

    certificate: Certificate
    key_managers: tuple[CertificateUser, ...]
    logins: int

    @property
    def is_used(self) -> bool:
        """True if somebody would miss it."""
        return bool(self.key_managers or self.logins)


@dataclass(frozen=True, slots=True)
class CertificateEffect:
    """The effect of a certificate's end on a key manager, as its keys and servers are now.

    ``lost`` and ``unknown`` count its ``servers``. Of its ``keys``, ``unreadable`` could be read from no server. Then
    ``survives`` more replication domains may fail without a loss.
    """

    vserver: str
    servers: int
    lost: int
    unknown: int
    keys: int
    unreadable: int
    survives: int


class CertificateUses:
    """Who uses each certificate. A call within an SVM gets what belongs to that SVM."""

    def __init__(self, store: Store[Rows]) -> None:
        self._store = store

    async def all(self, call: Call) -> tuple[CertificateUse, ...]:
        """Return all installed certificates that the call sees. Raises StoreError."""
        return await self._store.read(lambda tx: _uses(tx, call, tx.page(Certificate, call.within(Page()))))

    async def one(self, call: Call, uuid: str) -> tuple[CertificateUse, tuple[CertificateEffect, ...]]:
        """Return one certificate and what its end would mean. Raises 4 (404), StoreError."""

        def read(tx: Rows) -> tuple[CertificateUse, tuple[CertificateEffect, ...]]:
            certificate = tx.certificate(uuid, within=call.within_svm)
            if certificate is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
            (use,) = _uses(tx, call, [certificate])
            return use, tuple(_effects(tx, use))

        return await self._store.read(read)


def _uses(tx: Rows, call: Call, certificates: Sequence[Certificate]) -> tuple[CertificateUse, ...]:
    cluster = require_cluster(tx).name
    managers = tx.page(KeyManager, call.within(Page()))
    logins = [each.svm for each in tx.page(Account, call.within(Page().within(certificate=True)))]

    def use(certificate: Certificate) -> CertificateUse:
        users = [
            CertificateUser(
                each.uuid,
                each.svm.name if each.svm else cluster,
                each.svm is not None,
                each.enabled,
                certificate.uuid == each.client_certificate,
            )
            for each in managers
            if certificate.uuid in {each.client_certificate, *each.server_ca_certificates}
        ]
        proves = certificate.type is CertificateType.CLIENT_CA
        users.sort(key=lambda each: each.vserver)
        return CertificateUse(certificate, tuple(users), logins.count(certificate.svm) if proves else 0)

    return tuple(map(use, certificates))


def _effects(tx: Rows, use: CertificateUse) -> Iterator[CertificateEffect]:
    """Yield what the end of a certificate means for each enabled key manager that uses it."""
    vservers = {each.key_manager: each.vserver for each in use.key_managers if each.enabled}
    for manager in tx.key_managers(sorted(vservers)):
        topology = load_topology(tx, manager)
        uuids = [server.uuid for server in topology.servers]
        seen = tx.observations(uuids)
        trusted = [each for uuid, each in topology.certificates.items() if uuid in manager.server_ca_certificates]
        found = ending(use.certificate, manager, trusted, uuids, seen)
        then = survival_of(tx, topology, seen, tx.nodes(), lost=found.lost)
        yield CertificateEffect(
            vservers[manager.uuid],
            len(uuids),
            len(found.lost),
            len(found.unknown),
            then.keys,
            then.now.unreadable.keys,
            then.now.survives,
        )
