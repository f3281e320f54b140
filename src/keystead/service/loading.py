"""What use cases read before they decide: a key manager in the scope of a call, servers, certificates, the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import ServersState
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.core.keys.model import Incarnation
    from keystead.core.model import Certificate, Cluster, KeyManager, KeyServer
    from keystead.service.context import Call
    from keystead.service.ports.store import Transaction


def require_key_manager(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """Return the key manager, or raise 4 (404)."""
    key_manager = tx.key_manager(uuid, within=call.within_svm, lock=lock)
    if key_manager is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return key_manager


def load_state(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> ServersState:
    """Read everything that decides; with ``lock``, nobody else changes servers of this key manager meanwhile."""
    key_manager = require_key_manager(tx, call, uuid, lock=lock)
    cluster, nodes = tx.cluster_and_nodes()
    return ServersState(
        key_manager=key_manager,
        cluster=made(cluster),
        nodes=nodes,
        certificates=installed(tx, key_manager),
        servers=read_key_servers(tx, uuid),
    )


def read_key_servers(tx: Transaction, key_manager: str) -> tuple[KeyServer, ...]:
    """Read a key manager's servers; a database that cannot is 65536834."""
    try:
        return tx.key_servers(key_manager)
    except StoreError as error:
        raise OntapError(errors.KEY_SERVERS_UNREADABLE) from error


def require_cluster(tx: Transaction) -> Cluster:
    """Return the cluster, which ``keystead init`` made."""
    return made(tx.cluster())


def made(cluster: Cluster | None) -> Cluster:
    """Return the cluster if there is one."""
    if cluster is None:
        raise StoreError("the database holds no cluster: run keystead init")
    return cluster


def installed(tx: Transaction, key_manager: KeyManager, *, lock: bool = False) -> dict[str, Certificate]:
    """Read those of a key manager's certificates that are installed, by uuid."""
    wanted = {key_manager.client_certificate, *key_manager.server_ca_certificates}
    return {certificate.uuid: certificate for certificate in tx.certificates(wanted, lock=lock)}


def incarnation_of(tx: Transaction) -> Incarnation:
    """The database's incarnation. It is made with the schema, so a database without one is damaged."""
    found = tx.incarnation()
    if found is None:
        raise StoreError("the database has no incarnation: it is damaged")
    return found
