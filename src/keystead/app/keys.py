"""What works with keys on key servers, put together: opened with the service, ended and closed in order.

Part of the composition root: like wiring.py it chooses adapters, and it makes nothing on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.keyservers.objects import Objects
from keystead.service.identity_guard import IdentityGuard
from keystead.service.key_guard import RemovalGuard
from keystead.service.key_learning import KeyLearner
from keystead.service.key_places import Reacher
from keystead.service.key_writing import KeyWriter

if TYPE_CHECKING:
    from keystead.keyservers.egress import EgressRules
    from keystead.service.audit import AuditLog
    from keystead.service.ports import Clock, Sealer, Store
    from keystead.service.proving import Prover


@dataclass(frozen=True)
class KeyWork:
    """Everything that reads, writes or keeps keys."""

    objects: Objects
    guard: RemovalGuard
    identity: IdentityGuard
    learner: KeyLearner
    writer: KeyWriter

    def stop(self) -> None:
        """End what waits for key servers: it ends in its own way, within seconds."""
        self.writer.stop()

    async def close(self) -> None:
        """Wait for what is under way, then close the connections to key servers."""
        await self.writer.close()
        await self.learner.close()
        await self.objects.close()


def key_work(
    store: Store, rules: EgressRules, prover: Prover, sealer: Sealer, audit: AuditLog, clock: Clock, node: str
) -> KeyWork:
    """Put it together; nothing runs yet."""
    objects = Objects(rules)
    reacher = Reacher(prover, sealer)
    learner = KeyLearner(store, objects, reacher, sealer, clock)
    return KeyWork(
        objects=objects,
        guard=RemovalGuard(store, objects, reacher, clock),
        identity=IdentityGuard(store, objects, reacher),
        learner=learner,
        writer=KeyWriter(store, objects, reacher, learner, audit, clock, node),
    )
