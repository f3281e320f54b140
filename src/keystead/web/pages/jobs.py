"""``/jobs``: the jobs that the account sees; one job, and the forms that pause, resume and cancel it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keystead.core.errors import OntapError
from keystead.core.jobs import Action
from keystead.web.declaration import Page
from keystead.web.jobs import JOBS, STATES, job_page, job_path, offers, place_of, row
from keystead.web.lists import AFTER, path_with
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import shell
from keystead.web.ways import query_ways

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from keystead.web.request import PageRequest

API: Final = "/api/cluster/jobs"
ONE: Final = f"{API}/{{uuid}}"
ROWS: Final = 50


async def jobs(request: PageRequest) -> Response:
    """Show a page of the jobs, the newest first."""
    asked = request.http.query_params
    found = await request.services.jobs.page(request.call, job_page(asked, ROWS + 1))
    wanted = {"state": asked.get("state", "")}
    more = len(found) > ROWS
    context = {
        "rows": [row(view) for view in found[:ROWS]],
        "wanted": wanted,
        "states": STATES,
        "is_first": AFTER not in asked,
        "next": path_with(JOBS, {**wanted, AFTER: place_of(found[ROWS - 1].job)}) if more else "",
    }
    return page("jobs.html", await shell(request, JOBS) | context)


async def job(request: PageRequest) -> Response:
    """Show one job."""
    return await _one(request)


def _asking(action: Action) -> Callable[[PageRequest], Awaitable[Response]]:
    """Return the function that asks a job for an action, and shows it."""

    async def ask(request: PageRequest) -> Response:
        uuid = request.value("uuid")
        try:
            await request.services.jobs.ask(request.call, uuid, action)
        except OntapError as error:
            return await _one(request, error)
        return redirect(job_path(uuid))

    return ask


async def _one(request: PageRequest, error: OntapError | None = None) -> Response:
    """Show one job. ``error`` says why a form was refused."""
    view = await request.services.jobs.view(request.call, request.value("uuid"))
    path = ONE.format(uuid=view.job.uuid)
    may_ask = request.may("PATCH", path)
    offered = [
        (
            each,
            query_ways(request, f"keystead job {each.action} {view.job.uuid}", "PATCH", path, {"action": each.action}),
        )
        for each in (offers(view.job, datetime.now(UTC)) if may_ask else ())
    ]
    context = {"row": row(view), "job": view.job, "node": view.node, "offers": offered, **await refusal(request, error)}
    return page("job.html", await shell(request, JOBS) | context, error.kind.status if error else 200)


PAGES: Final = (
    Page(JOBS, jobs, needs=(("GET", API),)),
    Page(f"{JOBS}/{{uuid}}", job, needs=(("GET", ONE),)),
    *(
        Page(f"{JOBS}/{{uuid}}/{action}", _asking(action), needs=(("PATCH", ONE),), method="POST")
        for action in (Action.PAUSE, Action.RESUME, Action.CANCEL)
    ),
)
