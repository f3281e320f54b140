"""``/survival`` and ``/key-managers/{uuid}/survival``: which keys would survive, and the jobs that prove it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from starlette.responses import Response as Answered

from keystead.core.console_paths import SURVIVAL, survival_path
from keystead.core.errors import OntapError
from keystead.core.keys.report import ReportKind
from keystead.core.query.where import Condition, Op, Order
from keystead.service.ports.page import Page as Slice
from keystead.web.declaration import Page
from keystead.web.jobs import job_line
from keystead.web.keys import key_path
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.security import HEADERS, NO_STORE
from keystead.web.shell import shell
from keystead.web.survival import answer, cards, choose, server_name
from keystead.web.survival_tables import (
    KINDS,
    ROWS,
    already,
    combinations,
    key_rows,
    legend,
    manager_lines,
)
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response

    from keystead.core.model import KeyManager
    from keystead.service.context import Call
    from keystead.service.services import Services
    from keystead.web.jobs import JobLine
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

JOBS_SHOWN: Final = 5
REPORTS_SHOWN: Final = 10

_JOBS: Final = "/api/cluster/jobs"
_MANAGERS: Final = "/api/security/key-managers"
_ANY: Final = f"{_MANAGERS}/-"
_PAGE: Final = "/key-managers/{uuid}/survival"


async def _replicate(services: Services, call: Call, key_manager: str) -> None:
    task = await services.key_replicator.replicate(call, key_manager)
    await services.jobs.run(call, task.work, svm=task.svm)


async def _prove(services: Services, call: Call, key_manager: str) -> None:
    await services.jobs.run_in_steps(call, await services.verification_jobs.prove(call, key_manager))


async def _drill(services: Services, call: Call, key_manager: str) -> None:
    await services.jobs.run_in_steps(call, await services.verification_jobs.drill(call, key_manager))


@dataclass(frozen=True, slots=True)
class Action:
    """A job that the page starts. ``name`` ends its path, here and in the API. ``words`` are those of its command."""

    name: str
    title: str
    button: str
    help: str
    words: tuple[str, ...]
    start: Callable[[Services, Call, str], Awaitable[None]]


ACTIONS: Final = (
    Action(
        "replicate",
        "Replicate",
        "Write missing copies",
        "Writes each key to the replication domains that lack it. The service also does this by itself.",
        ("security", "key-manager", "external", "replicate"),
        _replicate,
    ),
    Action(
        "prove",
        KINDS[ReportKind.PROOF],
        "Prove all copies",
        "Reads every copy of every key on new connections, and signs a report. Nothing is changed.",
        ("report", "prove"),
        _prove,
    ),
    Action(
        "reboot-drill",
        KINDS[ReportKind.REBOOT_DRILL],
        "Start the drill",
        "Reads every key in use as this node would after a restart, and signs a report. Nothing is changed.",
        ("report", "reboot-drill"),
        _drill,
    ),
)


@dataclass(frozen=True, slots=True)
class Offer:
    """An action that the account may start: the path of its form, and the same by other means."""

    of: Action
    path: str
    ways: Ways


# --- pages ---


async def managers(request: PageRequest) -> Response:
    """Show the key managers, the one that survives least first; or lead to the only one."""
    found = await request.services.attention.overview(request.call)
    lines = manager_lines(found.managers)
    if len(lines) == 1:
        return redirect(survival_path(lines[0].uuid))
    return page("survival_list.html", await shell(request, SURVIVAL, found.items) | {"managers": lines})


async def survival(request: PageRequest) -> Response:
    """Show what one key manager's keys survive, now or if what was chosen fails."""
    asked = request.http.query_params
    return await _shown(request, asked.getlist("fail") if {"chosen", "fail"} & asked.keys() else None)


async def report(request: PageRequest) -> Response:
    """Send the file of a saved report."""
    found = await request.services.key_reports.get(request.call, request.value("uuid"), request.value("report"))
    name = f"{found.kind.value.replace('_', '-')}-{found.time:%Y%m%dT%H%M%SZ}.json"
    headers = {**HEADERS, **NO_STORE, "content-disposition": f'attachment; filename="{name}"'}
    return Answered(found.document, headers=headers, media_type="application/json")


def _starting(action: Action) -> Callable[[PageRequest], Awaitable[Response]]:
    """Return the function that starts a job and shows the page with its progress."""

    async def start(request: PageRequest) -> Response:
        uuid = request.value("uuid")
        call = replace(request.call, path=f"{_MANAGERS}/{uuid}/{action.name}")  # a job is named by its call of the API
        try:
            await action.start(request.services, call, uuid)
        except OntapError as error:
            return await _shown(request, None, error)
        return redirect(f"{survival_path(uuid)}#work")

    return start


# --- what they show ---


async def _shown(request: PageRequest, asked: list[str] | None, error: OntapError | None = None) -> Response:
    """Show one key manager. ``asked`` are the domains that fail, None for now. ``error``: why a job did not start."""
    uuid = request.value("uuid")
    outlook = await request.services.key_survival.outlook(request.call, uuid)
    choice = choose(outlook, asked)
    rows = key_rows(outlook)
    context = {
        "outlook": outlook,
        "key_path": key_path,
        "sees_keys": request.may("GET", f"{_ANY}/volume-keys/-"),
        "page_path": survival_path(uuid),
        "choice": choice,
        "cards": cards(outlook, choice),
        "answer": answer(outlook, choice),
        "combinations": combinations(outlook),
        "already": already(outlook),
        "rows": rows[:ROWS],
        "folded": rows[ROWS:],
        "columns": [server_name(server) for server in outlook.servers],
        "legend": legend(outlook),
        "offers": _offers(request, outlook.manager),
        **await _work(request, uuid),
        **await refusal(request, error),
    }
    return page("survival.html", await shell(request, SURVIVAL) | context, error.kind.status if error else 200)


async def _work(request: PageRequest, uuid: str) -> dict[str, object]:
    """Return the newest jobs and reports of a key manager, as far as the account may see them."""
    may_read = request.may("GET", f"{_ANY}/key-reports/-")
    reports = await request.services.key_reports.all(request.call, uuid) if may_read else ()
    return {
        "jobs": await _jobs(request, uuid) if request.may("GET", _JOBS) else [],
        "may_read_reports": may_read,
        "reports": [(each, KINDS[each.kind]) for each in reports[:REPORTS_SHOWN]],
        "more_reports": len(reports[REPORTS_SHOWN:]),
    }


async def _jobs(request: PageRequest, uuid: str) -> list[JobLine]:
    """Return the newest jobs of a key manager that this page, the API or a command started."""
    calls = (f"POST {_MANAGERS}/{uuid}/{action.name}" for action in ACTIONS)
    these = tuple(Condition("description", Op.EQUAL, call) for call in calls)
    wanted = Slice((these,), (Order("start_time", descending=True),), limit=JOBS_SHOWN)
    found = await request.services.jobs.page(request.call, wanted)
    return [job_line(view) for view in found]


def _offers(request: PageRequest, manager: KeyManager) -> list[Offer]:
    """Return the jobs that the account may start."""
    offers = []
    for action in ACTIONS:
        path = f"{_MANAGERS}/{manager.uuid}/{action.name}"
        if request.may("POST", path):
            cli = command(*action.words, vserver=vserver(manager.svm))
            form = f"{survival_path(manager.uuid)}/{action.name}"
            offers.append(Offer(action, form, ways(request, cli, "POST", path)))
    return offers


PAGES: Final = (
    Page(SURVIVAL, managers, needs=(("GET", f"{_ANY}/key-survival"),)),
    Page(_PAGE, survival, needs=(("GET", f"{_ANY}/key-survival"),)),
    Page(f"{_PAGE}/reports/{{report}}", report, needs=(("GET", f"{_ANY}/key-reports/-"),)),
    *(
        Page(f"{_PAGE}/{action.name}", _starting(action), needs=(("POST", f"{_ANY}/{action.name}"),), method="POST")
        for action in ACTIONS
    ),
)
