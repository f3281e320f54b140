"""Rows of jobs, as a transaction reads and writes them."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, or_, select, update

from keystead.core.jobs import TO_RUN, UNFINISHED
from keystead.core.resumable import Resumable
from keystead.store import tables
from keystead.store.kinds import JOB
from keystead.store.statements import Statements, columns_of

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Job
    from keystead.store.statements import Parameters

_jobs = tables.jobs.c
_NOT_RESUMABLE = Resumable(kind="", parameters="", origin="")
_JOB = JOB.within(uuid="u")
_LOCK_JOB = select(_jobs.uuid).where(_jobs.uuid == bindparam("u")).with_for_update()
_TO_RUN = JOB.everything.where(_jobs.kind != "", _jobs.state.in_([state.value for state in TO_RUN]))
_UNFINISHED = JOB.where(node="n").where(_jobs.state.in_([state.value for state in UNFINISHED]))
_CHANGING = (
    *("node", "state", "message", "code", "target", "end_time", "results", "arguments"),
    *("cursor", "done", "total", "requested"),
)
_UPDATE = (
    update(tables.jobs)
    .where(_jobs.uuid == bindparam("u"), _jobs.end_time.is_(None))
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)
_OLDEST_KEPT = (
    select(_jobs.start_time)
    .where(_jobs.node == bindparam("n"))
    .order_by(_jobs.start_time.desc())
    .limit(1)
    .offset(bindparam("beyond"))
    .scalar_subquery()
)
_REMOVE = delete(tables.jobs).where(
    _jobs.node == bindparam("n"),
    _jobs.end_time.is_not(None),
    or_(_jobs.start_time < bindparam("before"), _jobs.start_time <= _OLDEST_KEPT),
)


class JobRows(Statements):
    """The rows of jobs and their results."""

    def job(self, uuid: str, *, within: str | None = None, lock: bool = False) -> Job | None:
        if lock and self.row_locks:
            self.all(_LOCK_JOB, {"u": uuid}, lambda row: row)
        return self.value_of(JOB, _JOB, {"u": uuid, "w": within})

    def unfinished_jobs(self, node: str) -> tuple[Job, ...]:
        return self.values_of(JOB, _UNFINISHED, {"n": node})

    def resumable_jobs(self) -> tuple[Job, ...]:
        return self.values_of(JOB, _TO_RUN, {})

    def add_job(self, job: Job) -> None:
        self.change(insert(tables.jobs), _row(job) | {"svm_uuid": job.svm.uuid if job.svm else None})

    def update_job(self, job: Job) -> None:
        row = _row(job)
        self.change(_UPDATE, {"u": job.uuid} | {f"new_{name}": row[name] for name in _CHANGING})

    def remove_jobs(self, node: str, *, before: datetime, beyond: int) -> None:
        self.change(_REMOVE, {"n": node, "before": before, "beyond": beyond})


def _row(job: Job) -> Parameters:
    """Return the columns of a job, except for its owner's."""
    steps = columns_of(tables.jobs, job.resumable or _NOT_RESUMABLE)
    return columns_of(tables.jobs, job) | steps | {"state": job.state.value, "arguments": json.dumps(job.arguments)}
