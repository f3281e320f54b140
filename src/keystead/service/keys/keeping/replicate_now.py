"""Replication on demand: a job that writes missing copies now. The keeper also writes them without this job.

The caller may have just repaired the servers. So each address is asked once, even if its circuit is open. An answer
closes the circuit. The reasons from these requests are the reasons that the job reports when it cannot write copies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import Presence
from keystead.service.cluster.jobs import JobRequest
from keystead.service.keys.context import topology_of
from keystead.service.keys.looking.canaries import CANARY_NOT_SEEN, CanarySight, find_own_canary
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
    """The maker of the replication job."""

    def __init__(self, context: KeeperContext, learner: ServerLearner, keeping: CopySweep) -> None:
        self._context = context
        self._learner = learner
        self._keeping = keeping

    async def replicate(self, call: Call, key_manager: str) -> JobRequest:
        """Return the job that writes missing copies. No server is asked, and nothing is written, before the job runs.

        The job fails if a copy was not written. If there are keys, it also fails if a domain has no learned server, or
        if a primary that answers does not show its canary. A server that is not learned is no failure while another
        server of its domain is learned. Called when a user asks for replication. Raises 4 (404) unless the call sees
        the key manager.
        """
        found = await self._context.store.read_few(lambda tx: require_key_manager(tx, call, key_manager))

        async def work(progress: Progress) -> JobOutcome | None:
            """Ask all addresses, learn servers without a profile as far as they answer, and write missing copies.

            The job fails if a copy was not written. If there are keys, it also fails if a domain has no learned server,
            or if a primary hides its canary.
            """
            reasons = await self._ask_addresses(key_manager)
            self._learner.retry(key_manager)
            topology = await self._learner.ensure(key_manager)
            filled = await self._fill(key_manager, progress)
            unknown = dict.fromkeys(_without_learned_server(topology), NOT_REACHED) if filled.tally.keys else {}
            hides = filled.tally.keys and CANARY_NOT_SEEN in reasons.values()
            if not (filled.failed or unknown or hides):
                return JobOutcome(message=_message(filled))
            return _failure(
                call, topology, {**unknown, **self._learner.unlearned(key_manager), **reasons, **filled.down}
            )

        return JobRequest(work, found.svm)

    async def _fill(self, key_manager: str, progress: Progress) -> Filled:
        """Write the missing copies, also to servers in back-off. Report the progress in keys after each page."""
        counts = await self._context.store.read(lambda tx: tx.key_counts(key_manager))
        total = sum(counts.get(state, 0) for state in KEPT_STATES)

        async def said(done: int) -> None:
            """Report that ``done`` keys were counted. The total grows with it if keys were created meanwhile."""
            await progress(OntapError(errors.RECORDS_DONE, done=done, all=max(done, total)))

        self._keeping.try_again()
        return await self._keeping.fill_all(key_manager, said)

    async def _ask_addresses(self, key_manager: str) -> dict[str, str]:
        """Ask every address of the key servers. Return, by server (uuid), the reason why its primary failed.

        A primary that answers without its canary failed, too, because the state of its copies is then not known.
        Failures of secondaries are left out. Empty if the key manager was deleted, or if our certificate cannot be
        used.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return {}
        try:
            endpoints = [*self._context.endpoints.addresses(topology).values()]
        except NO_IDENTITY:
            return {}  # the walk over the keys counts these failures
        said = await asyncio.gather(*(self._ask_address(endpoint, topology) for endpoint in endpoints))
        return {
            endpoint.key_server: why for endpoint, why in zip(endpoints, said, strict=True) if why and not endpoint.host
        }

    async def _ask_address(self, endpoint: Endpoint, topology: ServerTopology) -> str:
        """Ask one address, even if its circuit is open.

        Return the reason if it does not answer or hides its canary, else an empty text. A server without a profile has
        no canary to hide.
        """
        profile = topology.profiles.get(endpoint.key_server)
        try:
            async with self._context.objects.session(
                endpoint, timeout_s=endpoint.target.timeout_s, anew=True
            ) as session:
                await session.get_capabilities()
                if profile is None or not profile.canary:
                    return ""
                seen = await find_own_canary(session, profile, self._context.endpoints.digest_key(topology))
                return "" if seen is CanarySight.SEEN else CANARY_NOT_SEEN
        except KeyServerFault as fault:
            return fault.reason


def _message(filled: Filled) -> str:
    """Return the message of a job that succeeded: the number of copies written, and of unknown copies.

    An unknown copy is not missing, but it is not known to be there before its server shows its canary.
    """
    unknown = sum(count for (_, presence), count in filled.tally.copies.items() if presence is Presence.UNKNOWN)
    written = "1 copy written" if filled.copied == 1 else f"{filled.copied} copies written"
    return f"{written}, {unknown} unknown" if unknown else written


def _without_learned_server(topology: ServerTopology) -> list[str]:
    """Return the servers (uuids) in domains where no server was learned, so that no copy can be written there."""
    known = {topology.domain_of[uuid] for uuid in topology.profiles}
    return [server.uuid for server in topology.servers if topology.domain_of[server.uuid] not in known]


def _failure(call: Call, topology: ServerTopology, reasons: Mapping[str, str]) -> JobOutcome:
    """Return the outcome of a job that failed, with the servers that failed. ``reasons`` are by server (uuid)."""
    return JobOutcome(OntapError(errors.TOO_FEW_COPIES, arguments=at_fault(call, topology, reasons)))
