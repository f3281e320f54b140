"""Replication when it is asked for: the copies that key servers lack, now, as a job. The keeper does so by itself.

Whoever asks may have just seen to the servers. So none is left alone for having failed before: each address is asked
once, which ends the pause of one that answers, and what it says is what the job says when copies could not be written.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.keys.keeping import KEPT
from keystead.core.keys.model import Presence
from keystead.service.cluster.jobs import Task
from keystead.service.keys.context import topology_of
from keystead.service.keys.looking.canaries import Sight, sight
from keystead.service.keys.looking.verify import CANARY_NOT_SEEN
from keystead.service.keys.writing.attempt_runner import NOT_REACHED
from keystead.service.keys.writing.shortage import at_fault
from keystead.service.loading import require_key_manager
from keystead.service.ports.objects import KeyServerFault
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.service.cluster.jobs import Progress
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.keeping.sweep import CopySweep, Filled
    from keystead.service.keys.learning.learn import ServerLearner
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.objects import Endpoint


class KeyReplicator:
    """Makes the job."""

    def __init__(self, context: KeeperContext, learner: ServerLearner, keeping: CopySweep) -> None:
        self._context = context
        self._learner = learner
        self._keeping = keeping

    async def replicate(self, call: Call, key_manager: str) -> Task:
        """The job that writes missing copies, for whoever sees the key manager. Raises 4 (404).

        What new servers can do is learned first, as far as they answer.
        """
        found = await self._context.store.glance(lambda tx: require_key_manager(tx, call, key_manager))

        async def work(progress: Progress) -> JobOutcome | None:
            away = await self._ask(key_manager)
            self._learner.retry(key_manager)
            topology = await self._learner.ensure(key_manager)
            filled = await self._fill(key_manager, progress)
            unlearned = dict.fromkeys(_unlearned(topology), NOT_REACHED) if filled.tally.keys else {}
            hides = filled.tally.keys and CANARY_NOT_SEEN in away.values()
            if not (filled.failed or unlearned or hides):
                return JobOutcome(message=_said(filled))
            return _failure(
                call, topology, {**unlearned, **self._learner.unlearned(key_manager), **away, **filled.down}
            )

        return Task(work, found.svm)

    async def _fill(self, key_manager: str, progress: Progress) -> Filled:
        counts = await self._context.store.read(lambda tx: tx.key_counts(key_manager))
        total = sum(counts.get(state, 0) for state in KEPT)

        async def said(done: int) -> None:
            await progress(OntapError(errors.RECORDS_DONE, done=done, all=max(done, total)))

        self._keeping.try_again()
        return await self._keeping.fill(key_manager, said)

    async def _ask(self, key_manager: str) -> dict[str, str]:
        """Ask every address of the key servers anew; return the servers (uuids) whose primary is away, and why.

        So is one that answers, and shows nothing of ours: what it had is not known to be lacking, nor to be there.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return {}
        try:
            reaches = [*self._context.endpoints.addresses(topology).values()]
        except NO_IDENTITY:
            return {}  # nor can anything be written: the walk over the keys says so
        said = await asyncio.gather(*(self._ask_one(endpoint, topology) for endpoint in reaches))
        return {
            endpoint.key_server: why for endpoint, why in zip(reaches, said, strict=True) if why and not endpoint.host
        }

    async def _ask_one(self, endpoint: Endpoint, topology: ServerTopology) -> str:
        """Why an address does not answer, or what it does not show; empty when it does."""
        profile = topology.profiles.get(endpoint.key_server)
        try:
            async with self._context.objects.session(
                endpoint, timeout_s=endpoint.target.timeout_s, anew=True
            ) as session:
                await session.get_capabilities()
                if profile is None or not profile.canary:
                    return ""
                seen = await sight(session, profile, self._context.endpoints.digest_key(topology))
                return "" if seen is Sight.SEEN else CANARY_NOT_SEEN
        except KeyServerFault as fault:
            return fault.reason


def _said(filled: Filled) -> str:
    """What came of it; copies that are unknown are not lacking, and not there either before their server shows them."""
    unknown = sum(count for (_, presence), count in filled.tally.copies.items() if presence is Presence.UNKNOWN)
    written = "1 copy written" if filled.copied == 1 else f"{filled.copied} copies written"
    return f"{written}, {unknown} unknown" if unknown else written


def _unlearned(topology: ServerTopology) -> list[str]:
    """The servers (uuids) in whose domains nothing can be written: it is not known yet what any of them can do."""
    known = {topology.domain_of[uuid] for uuid in topology.profiles}
    return [server.uuid for server in topology.servers if topology.domain_of[server.uuid] not in known]


def _failure(call: Call, topology: ServerTopology, reasons: Mapping[str, str]) -> JobOutcome:
    """How the job fails. What it keeps is read by all who see it: an SVM's says which servers, and no reason."""
    told = topology.key_manager.svm is None
    named = [server for server in topology.servers if server.uuid in reasons]
    said = [f"{server.address} ({reasons[server.uuid]})" if told else str(server.address) for server in named]
    error = OntapError(errors.TOO_FEW_COPIES, arguments=at_fault(call, topology, reasons))
    return JobOutcome(error, detail=", ".join(said))
