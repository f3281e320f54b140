"""The context of use cases that change key managers and key servers: ports, guards and the callback after a change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from keystead.core.quorum import OFF, Quorum
from keystead.service import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from keystead.core.key_servers import ServersState
    from keystead.core.model import KeyServer, Svm
    from keystead.core.probing import ProbeResult
    from keystead.service.audit.log import AuditLog
    from keystead.service.configuration.key_server_views import TrafficOf
    from keystead.service.context import Call
    from keystead.service.keys.guarding.relocation import RelocationGuard
    from keystead.service.keys.guarding.removal import RemovalGuard
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store, Transaction
    from keystead.service.probing.prober import ServerProber


@dataclass(frozen=True, slots=True)
class ConfigurationContext:
    """The dependencies of changes to key managers and key servers.

    ``on_changed`` gets the uuid of a key manager after its servers were probed and the change was stored. ``traffic``
    returns a function that returns the traffic of this node with a key server, or None if it is not known.
    """

    store: Store[Transaction]
    prover: ServerProber
    sealer: Sealer
    audit: AuditLog
    removal_guard: RemovalGuard
    relocation_guard: RelocationGuard
    on_changed: Callable[[str], None] = lambda _: None
    traffic: Callable[[], TrafficOf] = lambda: _unknown
    quorum: Quorum = OFF

    def load(self, tx: loading.Rows, call: Call, uuid: str, *, lock: bool = False) -> ServersState:
        """Return the state that decides about the servers of a key manager: see :func:`loading.load_state`."""
        return replace(loading.load_state(tx, call, uuid, lock=lock), quorum=self.quorum)

    def traffic_for(self, wanted: Collection[str]) -> TrafficOf:
        """Return the function for reads of these fields. Called on the event loop, before the transaction."""
        return self.traffic() if any("cost." in name for name in wanted) else _unknown

    async def record_probe(self, call: Call, svm: Svm | None, what: str, results: Sequence[ProbeResult]) -> None:
        """Write the audit record of a call that probed servers and stored none."""
        refused = sum(not result.accepted for result in results)
        message = f"{what}: {len(results) - refused} accepted, {refused} refused"
        await self.store.write(lambda tx: self.audit.succeed(tx, call, message, svm=svm))


def _unknown(_: KeyServer) -> None:
    """Return no traffic."""
