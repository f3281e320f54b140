"""``/cluster/jobs``: work that continues after the answer to its call. Source: ONTAP REST API reference."""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from keystead.api.accepted import JOBS_PATH, job_link, results_link
from keystead.api.collections import Collection
from keystead.api.operations import steering
from keystead.api.request import single_slashes
from keystead.api.resource import OURS, Field, Group, Resource
from keystead.api.resources.cluster import node_link
from keystead.api.resources.owner import svm_shown
from keystead.api.values import TEXT, TIME, UUID, Parameter, integer, one_of
from keystead.core import errors
from keystead.core.jobs import Action
from keystead.core.model import JobState
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.cluster.jobs import JobView
    from keystead.service.ports.page import Page

_CODE = integer(0, 2**31 - 1)
_COUNT = integer(0, 2**31 - 1)
_uuid = attrgetter("job.uuid")


def _results(view: JobView) -> str | None:
    """Return the path of the results of a ``records`` job, or None while there are none."""
    job = view.job
    path = single_slashes(job.description.partition(" ")[2])
    return results_link(path, job.uuid) if job.results else None


JOBS = Resource(
    name="job",
    ontap="Job",
    help="Work that continues after the answer to its call. Finished jobs are kept for a week. A job with ``progress``"
    " goes on after its node stopped, and can be paused, resumed and cancelled by ``action`` in a PATCH.",
    declared=(
        Field(name="uuid", type=UUID, help="The job's identifier.", get=_uuid, read=Read.KEY, column="uuid"),
        Field(
            name="description",
            type=TEXT,
            help="The call: its method and path.",
            get=attrgetter("job.description"),
            column="description",
        ),
        Field(
            name="state",
            type=one_of(*JobState),
            help="The job's state or outcome.",
            get=attrgetter("job.state.value"),
            column="state",
        ),
        Field(
            name="message",
            type=TEXT,
            help="The progress, ``success``, or the reason for the failure.",
            get=attrgetter("job.message"),
            column="message",
        ),
        Field(
            name="code",
            type=_CODE,
            help="0, or ONTAP's code of the failure.",
            get=attrgetter("job.code"),
            column="code",
        ),
        Group(
            name="error",
            help="The failure of a failed job.",
            get=lambda view: view if view.job.code else None,
        ),
        Field(name="error.code", type=TEXT, help="ONTAP's code.", get=lambda view: str(view.job.code), since="9.9"),
        Field(name="error.message", type=TEXT, help="The error's text.", get=attrgetter("job.message"), since="9.9"),
        Field(
            name="error.target",
            type=TEXT,
            help="The field at fault.",
            get=lambda view: view.job.target or None,
            since="9.9",
        ),
        Group(
            name="error.arguments",
            help="What the error tells besides, as a call tells it. An account of an SVM sees it in its own jobs only.",
            get=lambda view: view.arguments or None,
            many=True,
        ),
        Field(name="error.arguments.code", type=TEXT, help="What it is about.", get=itemgetter(0), since="9.9"),
        Field(name="error.arguments.message", type=TEXT, help="What it is.", get=itemgetter(1), since="9.9"),
        Group(
            name="progress",
            help="How far the job is. Absent for a job that cannot be paused, and ends with its node.",
            get=attrgetter("job.resumable"),
        ),
        Field(name="progress.done", type=_COUNT, help="How much is done.", get=attrgetter("done"), since=OURS),
        Field(name="progress.total", type=_COUNT, help="How much there is to do.", get=attrgetter("total"), since=OURS),
        Field(
            name="requested_action",
            type=one_of(Action.PAUSE, Action.CANCEL),
            help="What the job will do at the end of its step.",
            get=lambda view: (view.job.resumable and view.job.resumable.requested) or None,
            since=OURS,
        ),
        Field(
            name="start_time",
            type=TIME,
            help="The time when the job began.",
            get=lambda view: view.job.start_time.isoformat(),
            column="start_time",
        ),
        Field(
            name="end_time",
            type=TIME,
            help="The time when the job ended.",
            get=lambda view: view.job.end_time and view.job.end_time.isoformat(),
            column="end_time",
        ),
        Group(name="node", help="The node that runs the job.", get=attrgetter("node"), link=node_link),
        Field(name="node.uuid", type=UUID, help="The node's identifier.", get=attrgetter("uuid"), column="node"),
        Field(name="node.name", type=TEXT, help="The node's name.", get=attrgetter("name"), since="9.11"),
        *svm_shown(attrgetter("job.svm"), "The SVM; absent for the cluster's jobs, and once the SVM is deleted."),
    ),
    link=lambda view: job_link(_uuid(view)),
    links={"results": _results},
    order=("uuid", UUID, _uuid),
)


async def _page(request: Request, page: Page) -> tuple[JobView, ...]:
    return await request.services.jobs.page(request.call, page)


async def _show(request: Request, _: Wanted) -> JobView:
    return await request.services.jobs.view(request.call, request.path_uuid())


async def _steer(request: Request, key: str, query: WriteQuery) -> None:
    await request.services.jobs.ask(request.call, key, Action(query.own["action"]))


_STEERED = {"action": Parameter(one_of(*Action), "What the job should do.")}
_CODES = (
    *(errors.MISSING_VALUE, errors.JOB_ENDED, errors.JOB_IS_RUNNING, errors.JOB_NOT_RUNNING),
    *(errors.JOB_WITHOUT_PAUSE, errors.JOB_WITHOUT_CANCEL),
)

PATHS = Collection(resource=JOBS, page=_page, show=_show).paths(JOBS_PATH)
PATHS[f"{JOBS_PATH}/{{uuid}}"]["PATCH"] = steering(JOBS, _steer, _STEERED, "Pause, resume or cancel a job", _CODES)
