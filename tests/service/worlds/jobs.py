"""The jobs of one process of a node, with the kinds of resumable work that a test gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.service.audit.log import AuditLog
from keystead.service.cluster.job_runner import JobRunner
from keystead.service.cluster.jobs import Jobs
from keystead.service.cluster.leases import LENGTH, Leases
from tests.service.worlds.basics import KEYRING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from keystead.service.cluster.job_runner import StepWork
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction


def jobs_of(
    store: Store[Transaction],
    clock: Clock,
    node: str,
    kinds: Mapping[str, StepWork] | None = None,
    audit: AuditLog | None = None,
    length: timedelta = LENGTH,
) -> Jobs:
    """Return the jobs of a process of a node."""
    audit = audit or AuditLog(store, KEYRING, clock, node)
    runner = JobRunner(store, audit, clock, node, Leases(store, clock, node, length), kinds or {})
    return Jobs(store, audit, clock, node, runner)
