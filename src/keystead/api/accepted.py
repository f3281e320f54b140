"""The answer to a call that runs as a job: where to look for it, or what came of it when it ended in time.

Source: "Getting started with the ONTAP REST API", "Synchronous and asynchronous operations".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.hal import Reply, segment, self_link

if TYPE_CHECKING:
    from keystead.service.jobs import Ran

JOBS_PATH = "/api/cluster/jobs"


def job_link(uuid: str) -> str:
    """The path of a job."""
    return f"{JOBS_PATH}/{segment(uuid)}"


def job_reply(ran: Ran, *, done: int = 200, results: str = "") -> Reply:
    """202 while the job runs, ``done`` after its success; its failure is raised.

    ``results`` is the path of what came of it, for ``Location`` and ``_links.results``. The links stand there whatever
    ``Accept`` says: the official client finds the job by them.
    """
    if ran.error is not None:
        raise ran.error
    links: dict[str, Any] = self_link(job_link(ran.job.uuid))
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if results:
        links["results"] = {"href": results}
        headers = ((b"location", results.encode()),)
    body = {"job": {"uuid": ran.job.uuid, "_links": links}}
    return Reply(202 if ran.job.end_time is None else done, body, headers)
