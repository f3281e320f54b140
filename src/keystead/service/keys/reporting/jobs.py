"""Jobs that end with a signed report: the verification of every copy, and the reboot drill.

Both have connections to key servers of their own, which remember nothing. They read the keys page by page. Each page
holds the keys that the catalogue has when the page is read. A page is a step of the job: after it the findings so far
are stored, and another process can go on with the next page. It begins anew if what is reported on has changed: the key
servers, or for a drill the node.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import KeyState
from keystead.core.keys.report import Finding, ReportFindings, ReportKind, Result
from keystead.service.cluster.jobs import StepRequest
from keystead.service.keys.context import COPIES_PER_READ, KeeperContext
from keystead.service.keys.reading.fetch import UNUSABLE, Fetcher
from keystead.service.keys.reporting.drill import Drill
from keystead.service.keys.reporting.proof import CopyVerification
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import CopyRows, KeyRows, ReportRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from keystead.core.keys.model import Key
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.job_runner import Also, JobSteps, StepWork
    from keystead.service.context import Call
    from keystead.service.keys.reporting.reports import KeyReports, Maker
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction


log = structlog.get_logger(__name__)

_STATES: Final = {ReportKind.PROOF: KEPT_STATES, ReportKind.REBOOT_DRILL: (KeyState.COMMITTED,)}
"""The states of the keys that a report is about."""


class Rows(TopologyRows, KeyManagerRows, ClusterRows, NodeRows, AuditRows, KeyRows, CopyRows, ReportRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """A walk over a key manager's keys: the maker of its report, the topology, and what was found so far.

    ``basis`` is what the report is about. The walk goes on after the key ``after`` (uuid), empty at first.
    """

    maker: Maker
    topology: ServerTopology
    findings: ReportFindings
    basis: list[Any]
    after: str = ""

    def cursor(self, after: str) -> dict[str, Any]:
        """Return the JSON object from which another process can go on after a key (uuid)."""
        began = self.maker.began.isoformat()
        return {"basis": self.basis, "began": began, "after": after, "findings": self.findings.as_json()}


class VerificationJobs:
    """The verification and the drill. ``connect`` opens connections to key servers that remember nothing."""

    def __init__(
        self,
        store: Store[Transaction],
        connect: Callable[[], KeyObjects],
        endpoints: Endpoints,
        reports: KeyReports,
        audit: AuditLog,
        clock: Clock,
        node: str,
        *,
        keys_per_read: int = COPIES_PER_READ,
    ) -> None:
        self._store = store
        self._keys_per_read = keys_per_read
        self._connect = connect
        self._endpoints = endpoints
        self._reports = reports
        self._audit = audit
        self._clock = clock
        self._node = node

    @property
    def works(self) -> dict[str, StepWork]:
        """The works of both jobs, by the name of their kind."""
        return {ReportKind.PROOF.value: self._prove, ReportKind.REBOOT_DRILL.value: self._drill}

    async def prove(self, call: Call, key_manager: str) -> StepRequest:
        """Return the job that proves every copy of a key manager's keys, retired keys too. Raises 4 (404).

        Called when an API caller asks for a verification. No server is asked before the job runs.
        """
        return await self._request(ReportKind.PROOF, call, key_manager)

    async def drill(self, call: Call, key_manager: str) -> StepRequest:
        """Return the job that reads every key in use from its key servers alone. Raises 4 (404).

        Called when an API caller asks for a reboot drill. No server is asked before the job runs. If a certificate or
        secret cannot be used, no server is asked at all, and the report says that each key is unreachable.
        """
        return await self._request(ReportKind.REBOOT_DRILL, call, key_manager)

    async def _request(self, kind: ReportKind, call: Call, key_manager: str) -> StepRequest:
        def work(tx: Rows) -> StepRequest:
            manager = require_key_manager(tx, call, key_manager)
            counts = tx.key_counts(key_manager)
            total = sum(counts.get(state, 0) for state in _STATES[kind])
            return StepRequest(kind.value, {"key_manager": key_manager}, manager.svm, total)

        return await self._store.read(work)

    # --- the jobs ---

    async def _prove(self, steps: JobSteps) -> Also:
        """Verify the copies page by page. Return what stores the report."""
        walk = await self._begin(steps, ReportKind.PROOF)
        async with self._connected() as objects:
            context = KeeperContext(
                self._store, objects, self._endpoints, self._clock, self._node, _without_limit, self._audit
            )
            proof = CopyVerification(context, walk.topology)
            async for keys in self._pages(walk):
                page = await proof.prove(keys)
                await _store_page(steps, walk, keys, page.found, partial(proof.store, page=page))
        return self._ending(steps, walk)

    async def _drill(self, steps: JobSteps) -> Also:
        """Read the keys page by page. Return what stores the report."""
        walk = await self._begin(steps, ReportKind.REBOOT_DRILL)
        async with self._connected() as objects:
            fetcher = Fetcher(self._store, objects, self._endpoints, self._clock, self._node)
            read_context = fetcher.read_context(walk.topology)
            drill = Drill(objects, fetcher, read_context) if read_context is not None else None
            async for keys in self._pages(walk):
                await _store_page(steps, walk, keys, await self._drill_page(drill, keys), _nothing)
        return self._ending(steps, walk)

    # --- the walk ---

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[KeyObjects]:
        """Open connections to key servers for one job, and close them at its end."""
        objects = self._connect()
        try:
            yield objects
        finally:
            await objects.close()

    async def _begin(self, steps: JobSteps, kind: ReportKind) -> _Walk:
        """Return the walk as the last step left it, or a new one. Raises 4 (404) if the key manager is gone."""

        def read(tx: Rows) -> tuple[Maker, ServerTopology]:
            manager = require_key_manager(tx, steps.call, steps.parameters["key_manager"])
            return self._reports.maker(tx), load_topology(tx, manager)

        maker, topology = await self._store.read(read)
        basis = _basis(topology, self._node if kind is ReportKind.REBOOT_DRILL else "")
        said, about = steps.cursor, (kind, topology.domain_of, topology.servers)
        if said is None or said["basis"] != basis:
            return _Walk(maker, topology, ReportFindings(*about), basis)
        maker = replace(maker, began=datetime.fromisoformat(said["began"]))
        return _Walk(maker, topology, ReportFindings.resumed(*about, said["findings"]), basis, said["after"])

    async def _pages(self, walk: _Walk) -> AsyncIterator[tuple[Key, ...]]:
        """Yield the rest of a key manager's keys in the states that the report is about, page by page."""
        after, most, states = walk.after, self._keys_per_read, _STATES[walk.findings.kind]
        key_manager = walk.topology.key_manager.uuid
        while keys := await self._store.read(lambda tx: tx.keys_in(key_manager, states, after, most)):  # noqa: B023
            after = keys[-1].uuid
            yield keys

    async def _drill_page(self, drill: Drill | None, keys: Sequence[Key]) -> dict[str, list[Finding]]:
        """Read a page of keys. Return the findings by key (uuid).

        ``drill`` is None if a certificate or secret cannot be used. Then no server is asked, and each key is
        unreachable.
        """
        if drill is None:
            return {key.uuid: [Finding("", "", Result.UNREACHABLE, reason=UNUSABLE)] for key in keys}
        uuids = [key.uuid for key in keys]
        return await drill.read(keys, await self._store.read(lambda tx: tx.copies_not_aborted(uuids)))

    def _ending(self, steps: JobSteps, walk: _Walk) -> Also:
        """Return what stores the signed report and an audit record. It raises 4 (404) if the key manager is gone."""
        findings, manager = walk.findings, walk.topology.key_manager
        said = f"read {findings.keys} keys, {findings.unreadable} unreadable, {findings.failed} failures"

        def work(tx: Rows) -> None:
            require_key_manager(tx, steps.call, manager.uuid)
            self._reports.write(tx, walk.maker, walk.topology, findings)
            self._audit.succeed(tx, steps.call, said, svm=manager.svm)

        log.info("keys read for a report", kind=findings.kind.value, keys=findings.keys, unreadable=findings.unreadable)
        return work


async def _store_page(
    steps: JobSteps, walk: _Walk, keys: Sequence[Key], found: dict[str, list[Finding]], also: Also
) -> None:
    """Add the findings about a page of keys, and store them as a step of the job."""
    findings = walk.findings
    for key in keys:
        findings.add(key, found[key.uuid])
    await steps.store(walk.cursor(keys[-1].uuid), findings.keys, steps.total, also)


def _basis(topology: ServerTopology, node: str) -> list[Any]:
    """Return what a report is about, as a JSON value: a node, or any, and the servers with their domains."""
    servers = [
        [server.uuid, str(server.address), *server.secondary_key_servers, topology.domain_of[server.uuid]]
        for server in topology.servers
    ]
    return [node, *servers]


def _nothing(_: Transaction) -> None:
    """Store nothing besides the step."""


async def _without_limit() -> None:
    """Do not limit the rate, because an operator waits."""
