"""Replies to calls that run as jobs: a link to the job, or the result if the job has ended.

Source: "Getting started with the ONTAP REST API", "Synchronous and asynchronous operations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.errors import error_reply
from keystead.api.hal import Reply, segment, self_link

if TYPE_CHECKING:
    from keystead.service.cluster.job_answers import JobAnswer

JOBS_PATH = "/api/cluster/jobs"
JOB_RESULTS = "job_results_uuid"


def job_link(uuid: str) -> str:
    """Return the path of a job."""
    return f"{JOBS_PATH}/{segment(uuid)}"


def results_link(path: str, uuid: str) -> str:
    """Return the path of the results of a ``records`` job. ``path`` is the path of the call that began the job."""
    return f"{path}?{JOB_RESULTS}={uuid}"


def job_reply(ran: JobAnswer, *, done: int = 200) -> Reply:
    """Return 202 while the job runs and ``done`` after its success. Raise the job's error after its failure.

    The reply has ``_links`` even if ``Accept`` asks for none, because the official client finds the job by them.
    """
    if ran.error is not None:
        raise ran.error
    return Reply(202 if ran.job.end_time is None else done, {"job": _job(ran)})


def records_reply(ran: JobAnswer, path: str, *, done: int, arguments: bool) -> Reply:
    """Return 202 while a ``records`` job runs, ``done`` after its success, and its error after its failure.

    ``Location`` and ``_links.results`` hold the link to the results. ``path`` is the path of the call.
    """
    results = results_link(path, ran.job.uuid)
    job = _job(ran, results={"href": results})
    location = (b"location", results.encode())
    if ran.error is not None:
        failed = error_reply(ran.error, arguments=arguments, job=job)
        return Reply(failed.status, failed.body, (location, *failed.headers))
    return Reply(202 if ran.job.end_time is None else done, {"job": job}, (location,))


def _job(ran: JobAnswer, **links: Any) -> dict[str, Any]:
    return {"uuid": ran.job.uuid, "_links": self_link(job_link(ran.job.uuid)) | links}
