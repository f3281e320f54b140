"""Confirm a known key server that lost its canary and shows another public key than before.

Keystead does not learn such a server by itself, because another machine with a certificate of a trusted CA may answer
at the address. An administrator of the cluster says that it is the right one. Its old copies do not count until they
are read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors, events
from keystead.core.errors import OntapError
from keystead.core.keys.learning import same_canary
from keystead.service.announcing import add_events, cluster_name
from keystead.service.keys.looking.canaries import shows_canary_of
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import TopologyRows
from keystead.service.ports.objects import KeyServerFault
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyServer
    from keystead.core.server_address import ServerAddress
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.learning.learn import ServerLearner
    from keystead.service.keys.topology import ServerTopology


class Rows(TopologyRows, KeyManagerRows, ClusterRows, EventRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class ServerConfirmation:
    """The confirmation of key servers by an administrator of the cluster."""

    def __init__(self, context: KeeperContext, learner: ServerLearner, audit: AuditLog) -> None:
        self._context = context
        self._learner = learner
        self._audit = audit

    async def confirm(self, call: Call, key_manager: str, address: ServerAddress) -> str:
        """Accept the public key that a server shows now, and learn the server at once. Return the public key.

        The public key is its SHA-256 in hexadecimal. Nothing changes if the server shows its canary, or was never
        learned: then there is nothing to confirm. Raises 4 (404) within an SVM, and if there is no such server.
        65536987: the server does not answer, or cannot be learned.
        """
        call.check_sees(None)
        topology = await self._context.store.read(
            lambda tx: load_topology(tx, require_key_manager(tx, call, key_manager))
        )
        server = next((each for each in topology.servers if each.address == address), None)
        if server is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
        profile = topology.profiles.get(server.uuid)
        shown, is_known = await self._look(topology, server, profile)
        if profile is None or is_known:
            return shown
        await self._context.store.write(
            lambda tx: self._store(tx, call, topology, server, replace(profile, public_key=shown))
        )
        await self._learn(call, key_manager, server)
        return shown

    async def _look(
        self, topology: ServerTopology, server: KeyServer, profile: ServerProfile | None
    ) -> tuple[str, bool]:
        """Return the public key that the server shows on a new connection, and whether it shows its canary there."""
        try:
            endpoint = self._context.endpoints.primary(server, self._context.endpoints.identity(topology))
            digest_key = self._context.endpoints.digest_key(topology)
            timeout_s = endpoint.target.timeout_s
            async with self._context.objects.session(endpoint, timeout_s=timeout_s, fresh=True, anew=True) as session:
                known = profile is not None and await shows_canary_of(session, profile, profile, digest_key)
                return session.public_key, known
        except KeyServerFault as fault:
            raise _unavailable(server, fault.reason) from fault
        except NO_IDENTITY as error:
            raise _unavailable(server, "identity_unusable") from error

    def _store(self, tx: Rows, call: Call, topology: ServerTopology, server: KeyServer, profile: ServerProfile) -> None:
        """Store the public key in the profile of a server, if its canary is still the one that was looked for."""
        manager = require_key_manager(tx, call, topology.key_manager.uuid, lock=True)
        stored = tx.profiles([server.uuid])
        if not stored or not same_canary(stored[0], profile):
            raise OntapError(errors.TOO_BUSY, retry_after=1)
        tx.put_profile(replace(stored[0], public_key=profile.public_key))
        said = f"confirmed key server {server.address} with public key {profile.public_key}"
        self._audit.succeed(tx, call, said, svm=manager.svm)
        vserver = manager.svm.name if manager.svm else cluster_name(tx)
        values = {"vserver": vserver, "address": str(server.address), "public_key": profile.public_key}
        now = self._context.clock.now()
        add_events(tx, [events.SERVER_CONFIRMED.happened(self._context.node, now, manager.svm, values)])

    async def _learn(self, call: Call, key_manager: str, server: KeyServer) -> None:
        """Learn the server with its new public key. Raises 65536987 if that fails; the keeper does not try again."""
        topology = await self._context.store.read(
            lambda tx: load_topology(tx, require_key_manager(tx, call, key_manager))
        )
        if not await self._learner.learn(topology, self._context.endpoints.identity(topology), server):
            raise _unavailable(server, self._learner.unlearned(key_manager).get(server.uuid, ""))


def _unavailable(server: KeyServer, reason: str) -> OntapError:
    """Return the error 65536987 for a server that cannot be confirmed now."""
    return OntapError(errors.TOO_FEW_COPIES, arguments=[("server", str(server.address)), ("reason", reason)])
