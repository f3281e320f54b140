"""The topology of a key manager's servers, and the endpoints of their addresses.

Code that reads or writes copies first calls :func:`load_topology` in one transaction. It gets its endpoints from
:class:`Endpoints`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.domains import domains
from keystead.service.loading import incarnation_of
from keystead.service.ports.keys import TopologyRows
from keystead.service.ports.objects import Endpoint
from keystead.service.ports.sealing import SealContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keystead.core.keys.model import Incarnation, ServerProfile
    from keystead.core.model import Certificate, KeyManager, KeyServer
    from keystead.core.probing import TlsIdentity
    from keystead.core.secret import Secret
    from keystead.service.ports.sealing import Sealer
    from keystead.service.probing.prober import ServerProber


PRIMARY = ""
"""The ``host`` of a primary: it is empty."""


class Rows(TopologyRows, Protocol):
    """The rows that this module reads and writes."""


def digest_key_context(key_manager: str) -> SealContext:
    """Return the seal context of a key manager's digest key: needed to seal the key and to open it."""
    return SealContext("digest_keys", key_manager, "sealed")


@dataclass(frozen=True)
class ServerTopology:
    """The servers of a key manager in their order, with profiles and incarnation, as one transaction saw them.

    ``certificates`` and ``profiles`` may lack entries. ``sealed_digest_key`` is None until the digest key was made.
    """

    key_manager: KeyManager
    servers: tuple[KeyServer, ...]
    certificates: Mapping[str, Certificate]
    profiles: Mapping[str, ServerProfile]
    incarnation: Incarnation
    sealed_digest_key: bytes | None

    @cached_property
    def domain_of(self) -> dict[str, str]:
        """The replication domain of each server, by uuid."""
        return domains(self.servers, self.profiles)

    @property
    def learned(self) -> bool:
        """True if there is a digest key and every server has a profile."""
        return self.sealed_digest_key is not None and all(server.uuid in self.profiles for server in self.servers)

    def server(self, uuid: str) -> KeyServer | None:
        """Return the server with this uuid, or None if no such server is configured; a detached one is not."""
        return next((server for server in self.servers if server.uuid == uuid), None)


def load_topology(tx: Rows, key_manager: KeyManager) -> ServerTopology:
    """Read the topology of a key manager as it is in this transaction.

    Certificates that were deleted are missing from ``certificates``, and servers that were not learned from
    ``profiles``.
    """
    servers = tx.key_servers(key_manager.uuid)
    wanted = {key_manager.client_certificate, *key_manager.server_ca_certificates}
    return ServerTopology(
        key_manager=key_manager,
        servers=servers,
        certificates={found.uuid: found for found in tx.certificates(sorted(wanted))},
        profiles={found.key_server: found for found in tx.profiles([server.uuid for server in servers])},
        incarnation=incarnation_of(tx),
        sealed_digest_key=tx.digest_key(key_manager.uuid),
    )


class Endpoints:
    """The maker of endpoints: how to reach addresses of key servers, with which identity, name and password."""

    def __init__(self, prover: ServerProber, sealer: Sealer) -> None:
        self._prover = prover
        self._sealer = sealer

    def identity(self, topology: ServerTopology) -> TlsIdentity:
        """Return the TLS identity that the key manager shows to its servers.

        Raises SealError, KeyError for a certificate that is gone, ValueError for one without its private key.
        """
        return self._prover.identity(topology.key_manager, topology.certificates)

    def primary(self, server: KeyServer, identity: TlsIdentity) -> Endpoint:
        """Return the endpoint of the server's primary. Raises SealError if the password cannot be unsealed.

        ``target.timeout_s`` is the server's ``timeout``, but at most the prover's ``longest_s``. A ``timeout`` of -1
        (no limit) gives ``longest_s``, and 0 gives one second.
        """
        target = self._prover.target(server, self._prover.longest_s)
        return Endpoint(server.uuid, PRIMARY, server.address, target, identity)

    def each(self, server: KeyServer, identity: TlsIdentity) -> Iterator[Endpoint]:
        """Yield the endpoint of the primary, then those of its secondaries in their order. Raises SealError."""
        primary = self.primary(server, identity)
        yield primary
        for host, address in zip(server.secondary_key_servers, secondary_addresses(server), strict=True):
            yield Endpoint(server.uuid, host, address, primary.target, identity)

    def addresses(
        self, topology: ServerTopology, servers: Iterable[KeyServer] | None = None
    ) -> dict[tuple[str, str], Endpoint]:
        """Return the endpoints of all addresses by address id (server uuid, host), secondaries included.

        ``servers``: only of these servers, else of all servers of the topology. Raises as :meth:`identity` does.
        """
        identity, servers = self.identity(topology), topology.servers if servers is None else servers
        return {
            (server.uuid, endpoint.host): endpoint for server in servers for endpoint in self.each(server, identity)
        }

    def digest_key(self, topology: ServerTopology) -> Secret:
        """Return the key manager's digest key, unsealed. Called before copies or canaries are compared.

        Raises SealError, and ValueError if there is no digest key yet.
        """
        if topology.sealed_digest_key is None:
            raise ValueError(f"key manager {topology.key_manager.uuid} has no digest key")
        return self._sealer.unseal(topology.sealed_digest_key, digest_key_context(topology.key_manager.uuid))
