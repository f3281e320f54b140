"""Rows of jobs, as a transaction reads and writes them."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, or_, select, update

from keystead.core.jobs import UNFINISHED
from keystead.store import tables
from keystead.store.kinds import JOB
from keystead.store.statements import Statements

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Job

_jobs = tables.jobs.c
_JOB = JOB.within(uuid="u")
_UNFINISHED = JOB.where(node="n").where(_jobs.state.in_([state.value for state in UNFINISHED]))
_UPDATE = (
    update(tables.jobs)
    .where(_jobs.uuid == bindparam("u"))
    .values({name: bindparam(f"new_{name}") for name in ("state", "message", "code", "target", "end_time", "results")})
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

    def job(self, uuid: str, *, within: str | None = None) -> Job | None:
        return self.value_of(JOB, _JOB, {"u": uuid, "w": within})

    def unfinished_jobs(self, node: str) -> tuple[Job, ...]:
        return self.values_of(JOB, _UNFINISHED, {"n": node})

    def add_job(self, job: Job) -> None:
        row = {column.name: getattr(job, column.name) for column in _jobs if column.name != "svm_uuid"}
        owner = {"svm_uuid": job.svm.uuid if job.svm else None}
        self.change(insert(tables.jobs), row | owner | {"state": job.state.value})

    def update_job(self, job: Job) -> None:
        changed = {
            "state": job.state.value,
            "message": job.message,
            "code": job.code,
            "target": job.target,
            "end_time": job.end_time,
            "results": job.results,
        }
        self.change(_UPDATE, {"u": job.uuid} | {f"new_{name}": value for name, value in changed.items()})

    def remove_jobs(self, node: str, *, before: datetime, beyond: int) -> None:
        self.change(_REMOVE, {"n": node, "before": before, "beyond": beyond})
