"""Where a key manager's keys are kept: its servers, what is known of them, and how each address is reached.

Everything that reads or writes copies begins with :func:`load_topology`, in one transaction, and asks
:class:`Endpoints`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.domains import domains
from keystead.service.loading import incarnation_of
from keystead.service.ports.objects import Endpoint
from keystead.service.ports.store import SealContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keystead.core.keys.model import Incarnation, ServerProfile
    from keystead.core.model import Certificate, KeyManager, KeyServer
    from keystead.core.probing import TlsIdentity
    from keystead.core.secret import Secret
    from keystead.service.ports.store import Sealer, Transaction
    from keystead.service.probing.prober import ServerProber


PRIMARY = ""
"""The ``host`` of a primary."""


def digest_key_place(key_manager: str) -> SealContext:
    """Where a key manager's digest key is sealed."""
    return SealContext("digest_keys", key_manager, "sealed")


@dataclass(frozen=True)
class ServerTopology:
    """A key manager's servers in their order, with what is known of them, as one transaction saw it."""

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
        """Whether all is known that keys are written with."""
        return self.sealed_digest_key is not None and all(server.uuid in self.profiles for server in self.servers)

    def server(self, uuid: str) -> KeyServer | None:
        """The server with this uuid, None for one that is not configured."""
        return next((server for server in self.servers if server.uuid == uuid), None)


def load_topology(tx: Transaction, key_manager: KeyManager) -> ServerTopology:
    """Read what is known of a key manager's servers. A certificate that is gone is missing from ``certificates``."""
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
    """Says how addresses of key servers are reached: with which identity, name and password."""

    def __init__(self, prover: ServerProber, sealer: Sealer) -> None:
        self._prover = prover
        self._sealer = sealer

    def identity(self, topology: ServerTopology) -> TlsIdentity:
        """What the key manager shows its servers. Raises SealError, KeyError or ValueError as the prover does."""
        return self._prover.identity(topology.key_manager, topology.certificates)

    def primary(self, server: KeyServer, identity: TlsIdentity) -> Endpoint:
        """The primary itself. ``target.timeout_s`` is the server's ``timeout``. Raises SealError."""
        target = self._prover.target(server, self._prover.longest_s)
        return Endpoint(server.uuid, PRIMARY, server.address, target, identity)

    def each(self, server: KeyServer, identity: TlsIdentity) -> Iterator[Endpoint]:
        """The primary, then its secondaries in their order."""
        primary = self.primary(server, identity)
        yield primary
        for host, address in zip(server.secondary_key_servers, secondary_addresses(server), strict=True):
            yield Endpoint(server.uuid, host, address, primary.target, identity)

    def addresses(
        self, topology: ServerTopology, servers: Iterable[KeyServer] | None = None
    ) -> dict[tuple[str, str], Endpoint]:
        """Every address of a key manager's servers, or of these, by server (uuid) and host. Raises as ``identity``."""
        identity, servers = self.identity(topology), topology.servers if servers is None else servers
        return {
            (server.uuid, endpoint.host): endpoint for server in servers for endpoint in self.each(server, identity)
        }

    def digest_key(self, topology: ServerTopology) -> Secret:
        """The key of the key manager's digests. Raises SealError, ValueError when there is none yet."""
        if topology.sealed_digest_key is None:
            raise ValueError(f"key manager {topology.key_manager.uuid} has no digest key")
        return self._sealer.unseal(topology.sealed_digest_key, digest_key_place(topology.key_manager.uuid))
