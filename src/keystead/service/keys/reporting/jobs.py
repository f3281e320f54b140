"""Jobs that end with a signed report: the verification of every copy, and the reboot drill.

Both have connections to key servers of their own, which remember nothing. They read the keys page by page. Each page
holds the keys that the catalogue has when the page is read.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import KeyState
from keystead.core.keys.report import Finding, ReportFindings, ReportKind, Result
from keystead.service.cluster.jobs import JobRequest
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
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

    from keystead.core.jobs import JobOutcome
    from keystead.core.keys.model import Key
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.jobs import Progress
    from keystead.service.context import Call
    from keystead.service.keys.reporting.reports import KeyReports, Maker
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction


log = structlog.get_logger(__name__)


class Rows(TopologyRows, KeyManagerRows, ClusterRows, NodeRows, AuditRows, KeyRows, CopyRows, ReportRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class _JobStart:
    """What a job starts with: the maker of its report, the topology, and the number of keys."""

    maker: Maker
    topology: ServerTopology
    total: int


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

    async def prove(self, call: Call, key_manager: str) -> JobRequest:
        """Return the job that proves every copy of a key manager's keys, retired keys too. Raises 4 (404).

        Called when an API caller asks for a verification. No server is asked before the job runs.
        """
        start = await self._begin(call, key_manager, KEPT_STATES)

        async def work(progress: Progress) -> JobOutcome | None:
            """Verify the copies page by page, then store the report. This is the job."""
            findings = ReportFindings(ReportKind.PROOF, start.topology.domain_of, start.topology.servers)
            async with self._connected() as objects:
                context = KeeperContext(self._store, objects, self._endpoints, self._clock, self._node, _without_limit)
                proof = CopyVerification(context, start.topology)
                async for keys in self._pages(key_manager, KEPT_STATES):
                    found = await proof.prove(keys)
                    await self._count(findings, keys, found, start.total, progress)
            await self._store_report(call, start, findings)
            return None

        return JobRequest(work, start.topology.key_manager.svm)

    async def drill(self, call: Call, key_manager: str) -> JobRequest:
        """Return the job that reads every key in use from its key servers alone. Raises 4 (404).

        Called when an API caller asks for a reboot drill. No server is asked before the job runs. If a certificate or
        secret cannot be used, no server is asked at all, and the report says that each key is unreachable.
        """
        in_use = (KeyState.COMMITTED,)
        start = await self._begin(call, key_manager, in_use)

        async def work(progress: Progress) -> JobOutcome | None:
            """Read the keys page by page, then store the report. This is the job."""
            findings = ReportFindings(ReportKind.REBOOT_DRILL, start.topology.domain_of, start.topology.servers)
            async with self._connected() as objects:
                fetcher = Fetcher(self._store, objects, self._endpoints, self._clock, self._node)
                read_context = fetcher.read_context(start.topology)
                drill = Drill(objects, fetcher, read_context) if read_context is not None else None
                async for keys in self._pages(key_manager, in_use):
                    found = await self._drill_page(drill, keys)
                    await self._count(findings, keys, found, start.total, progress)
            await self._store_report(call, start, findings)
            return None

        return JobRequest(work, start.topology.key_manager.svm)

    # --- the walk ---

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[KeyObjects]:
        """Open connections to key servers for one job, and close them at its end."""
        objects = self._connect()
        try:
            yield objects
        finally:
            await objects.close()

    async def _begin(self, call: Call, key_manager: str, states: Collection[KeyState]) -> _JobStart:
        """Return what a job starts with; the number of keys is that of keys in these states. Raises 4 (404)."""

        def work(tx: Rows) -> _JobStart:
            topology = load_topology(tx, require_key_manager(tx, call, key_manager))
            counts = tx.key_counts(key_manager)
            return _JobStart(self._reports.maker(tx), topology, sum(counts.get(state, 0) for state in states))

        return await self._store.read(work)

    async def _pages(self, key_manager: str, states: Collection[KeyState]) -> AsyncIterator[tuple[Key, ...]]:
        """Yield a key manager's keys in these states, page by page."""
        after, most = "", self._keys_per_read
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

    async def _count(
        self,
        findings: ReportFindings,
        keys: Iterable[Key],
        found: dict[str, list[Finding]],
        total: int,
        progress: Progress,
    ) -> None:
        """Add the findings about a page of keys to the report, and tell the progress."""
        for key in keys:
            findings.add(key, found[key.uuid])
        await progress(OntapError(errors.RECORDS_DONE, done=findings.keys, all=max(findings.keys, total)))

    async def _store_report(self, call: Call, start: _JobStart, findings: ReportFindings) -> None:
        """Store the signed report and an audit record when a job ends. Raises 4 (404) if the key manager is gone."""
        said = f"read {findings.keys} keys, {findings.unreadable} unreadable, {findings.failed} failures"

        def work(tx: Rows) -> None:
            require_key_manager(tx, call, start.topology.key_manager.uuid)
            self._reports.write(tx, start.maker, start.topology, findings)
            self._audit.succeed(tx, call, said, svm=start.topology.key_manager.svm)

        await self._store.write(work)
        log.info("keys read for a report", kind=findings.kind.value, keys=findings.keys, unreadable=findings.unreadable)


async def _without_limit() -> None:
    """Do not limit the rate, because an operator waits."""
