"""Reads that use cases share: a key manager in the scope of a call, servers, certificates, the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import ServersState
from keystead.service.ports.cluster import ClusterRows, IncarnationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows
from keystead.service.ports.store import StorageError, StoreError

if TYPE_CHECKING:
    from keystead.core.keys.model import Incarnation
    from keystead.core.model import Certificate, Cluster, KeyManager, KeyServer
    from keystead.service.context import Call


class Rows(CertificateRows, KeyManagerRows, KeyServerRows, ClusterRows, Protocol):
    """The rows that this module reads and writes."""


def require_key_manager(tx: KeyManagerRows, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """Return the key manager within the call's scope, or raise 4 (404)."""
    key_manager = tx.key_manager(uuid, within=call.within_svm, lock=lock)
    if key_manager is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return key_manager


def load_state(tx: Rows, call: Call, uuid: str, *, lock: bool = False) -> ServersState:
    """Read everything on which a change of key servers depends, or raise 4 (404).

    With ``lock``, no other transaction changes servers of this key manager meanwhile.
    """
    key_manager = require_key_manager(tx, call, uuid, lock=lock)
    cluster, nodes = tx.cluster_and_nodes()
    return ServersState(
        key_manager=key_manager,
        cluster=require_made_cluster(cluster),
        nodes=nodes,
        certificates=installed_certificates(tx, key_manager),
        servers=read_key_servers(tx, uuid),
    )


def read_key_servers(tx: KeyServerRows, key_manager: str) -> tuple[KeyServer, ...]:
    """Return a key manager's servers, or raise 65536834 if the database cannot read them."""
    try:
        return tx.key_servers(key_manager)
    except StorageError:
        raise
    except StoreError as error:
        raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error


def require_cluster(tx: ClusterRows) -> Cluster:
    """Return the cluster, which ``keystead init`` makes. Raises StoreError if there is none."""
    return require_made_cluster(tx.cluster())


def locked_cluster(tx: ClusterRows) -> Cluster:
    """Lock the cluster, and return it. Accounts and roles have one writer at a time.

    Because of this lock, names stay unique, one administrator always remains, and no account has a role that is gone.
    """
    tx.cluster(lock=True)
    return require_cluster(tx)


def require_made_cluster(cluster: Cluster | None) -> Cluster:
    """Return the cluster that was read. Raises StoreError for None."""
    if cluster is None:
        raise StoreError("the database holds no cluster: run keystead init")
    return cluster


def installed_certificates(
    tx: CertificateRows, *key_managers: KeyManager, lock: bool = False
) -> dict[str, Certificate]:
    """Return those of the key managers' certificates that are installed, by uuid."""
    wanted = {uuid for each in key_managers for uuid in (each.client_certificate, *each.server_ca_certificates)}
    return {certificate.uuid: certificate for certificate in tx.certificates(wanted, lock=lock)}


def incarnation_of(tx: IncarnationRows) -> Incarnation:
    """Return the database's incarnation.

    Raises StoreError if there is none. The schema is made with an incarnation, so such a database is damaged.
    """
    found = tx.incarnation()
    if found is None:
        raise StoreError("the database has no incarnation: it is damaged")
    return found
