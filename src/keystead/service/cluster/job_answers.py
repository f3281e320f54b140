"""What a job comes to for who waits for it, and for the audit log."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, NamedTuple

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.cluster.svms import svm_of
from keystead.service.failures import answer_to

if TYPE_CHECKING:
    from keystead.core.model import Job
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call

log = structlog.get_logger(__name__)


class JobAnswer(NamedTuple):
    """A job as it is when its call is answered, and its error if it has failed by then."""

    job: Job
    error: OntapError | None


def failure_of(job: Job, error: BaseException) -> OntapError:
    """Return the error with which a job fails whose work raised this one.

    The text of an unexpected exception is neither stored nor logged, because it may quote data.
    """
    if isinstance(error, OntapError):
        return OntapError(errors.JOB_INTERRUPTED) if error.kind is errors.SHUTTING_DOWN else error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    log.error("unexpected error in a job", job=job.uuid, kind=type(error).__name__, at=f"{frame.name}:{frame.lineno}")
    fault = answer_to(error)
    fault.svm = svm_of(error)
    return fault


async def record_failure(audit: AuditLog, call: Call, job: Job, error: OntapError) -> None:
    """Record that a job failed, as the refusal of the call that began it."""
    error.svm = error.svm or job.svm
    await audit.refuse(call, error)
    error.recorded = True
