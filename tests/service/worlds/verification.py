"""What proves keys on one node, over the worlds of keys, and a look into the reports that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keystead.core.keys.report import FORMAT, parse
from keystead.core.model import JobState
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.objects import Objects
from keystead.sealing.signing import Signer, verify
from keystead.service.keys.reporting.jobs import VerificationJobs
from keystead.service.keys.reporting.reports import KeyReports
from tests.service.worlds.jobs import jobs_of
from tests.service.worlds.keys import CALL

if TYPE_CHECKING:
    from keystead.core.keys.report import KeyReport
    from keystead.core.model import Job
    from keystead.service.cluster.jobs import Jobs, StepRequest
    from keystead.service.context import Call
    from tests.service.worlds.keys import KeyNode, KeyWorld


@dataclass
class ProvingNode:
    """A node with what proves, and the key that signs."""

    of: KeyNode
    signer: Signer
    jobs: Jobs
    reports: KeyReports
    prover: VerificationJobs

    async def run(self, task: StepRequest, call: Call = CALL) -> Job:
        """Run a job to its end."""
        return (await self.jobs.run_in_steps(call, task, return_timeout=30)).job

    async def prove(self, key_manager: str, call: Call = CALL) -> dict[str, Any]:
        """Prove, and return what the report says."""
        return await self._said(key_manager, await self.run(await self.prover.prove(call, key_manager)))

    async def drill(self, key_manager: str, call: Call = CALL) -> dict[str, Any]:
        """Drill, and return what the report says."""
        return await self._said(key_manager, await self.run(await self.prover.drill(call, key_manager)))

    async def newest(self, key_manager: str) -> KeyReport:
        """Return the newest report."""
        found = await self.reports.all(CALL, key_manager)
        return await self.reports.get(CALL, key_manager, found[0].uuid)

    async def _said(self, key_manager: str, job: Job) -> dict[str, Any]:
        assert (job.state, job.message) == (JobState.SUCCESS, "success")
        signed = parse((await self.newest(key_manager)).document)
        assert verify(self.signer.public, FORMAT, signed.message, signed.signature)
        return dict(signed.report)


async def proving(world: KeyWorld, **options: int) -> ProvingNode:
    """Open a node that verifies; ``options`` are those of VerificationJobs. It writes keys to slow servers, too."""
    node = await world.node(grace_s=10)
    signer, _ = Signer.create(world.home.keyring)
    reports = KeyReports(node.store, signer, world.clock, node.uuid)
    rules = EgressRules.parse(("127.0.0.0/8", "::1/128"), ())
    prover = VerificationJobs(
        node.store, lambda: Objects(rules), node.endpoints, reports, node.audit, world.clock, node.uuid, **options
    )
    jobs = jobs_of(node.store, world.clock, node.uuid, prover.works, node.audit)
    return ProvingNode(node, signer, jobs, reports, prover)


def results(said: dict[str, Any]) -> list[dict[str, int]]:
    """Return what was found on each server, in order."""
    return [each["results"] for each in said["servers"]]


def failures(said: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the failures that are listed: key id, result and reason."""
    return [(each["key_id"], each["result"], each["reason"]) for each in said["failures"]["listed"]]
