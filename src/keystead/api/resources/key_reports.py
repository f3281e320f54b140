"""``.../prove``, ``.../reboot-drill`` and ``.../key-reports``: reading keys for a signed report. Not ONTAP's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.accepted import job_reply
from keystead.api.declared import Form, Paths
from keystead.api.operations import acting, listing, showing
from keystead.api.resource import OURS, Field, Resource
from keystead.api.resources.key_fields import ONE_KEY_MANAGER, key_manager_path, shown
from keystead.api.values import TEXT, TIME, UUID, integer, one_of, place_in_list
from keystead.core.keys.report import ReportKind
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.hal import Reply
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.values import Type
    from keystead.core.keys.report import KeyReport
    from keystead.core.query.query import Wanted
    from keystead.service.cluster.jobs import StepRequest
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/key-reports"
DONE = 201
"""The status of a call with a job that ends in time."""

_COUNT = integer(0, 2**31 - 1)
_FAR = datetime(9999, 1, 1, tzinfo=UTC)


def _field(name: str, type_: Type, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    return Field(name=name, type=type_, help=help_, get=get, since=OURS, **options)


def _place(report: KeyReport) -> str:
    """Return the place in the list, the newest first: the microseconds until a far moment, then the uuid."""
    return f"{(_FAR - report.time) // timedelta(microseconds=1):018} {report.uuid}"


KEY_REPORTS = Resource(
    name="key_report",
    help="A report of a verification or a reboot drill. ``keystead report verify`` checks its ``document`` in a file,"
    " without the service. Only the newest reports of a key manager are kept. Lists show the newest first.",
    declared=(
        _field("uuid", UUID, "The report's identifier.", attrgetter("uuid"), read=Read.KEY),
        _field(
            "kind",
            one_of(*ReportKind),
            "``proof``: which copies exist; ``reboot_drill``: which keys could be read.",
            attrgetter("kind.value"),
        ),
        _field("time", TIME, "The time of the report.", lambda report: shown(report.time)),
        _field("keys", _COUNT, "The number of keys in the report.", attrgetter("keys")),
        _field("unreadable", _COUNT, "The number of keys that no key server returned.", attrgetter("unreadable")),
        _field(
            "failures",
            _COUNT,
            "The number of copies that a verification did not prove, or of keys that a drill did not read.",
            attrgetter("failed"),
        ),
        _field(
            "document",
            TEXT,
            "The signed report, as JSON text; not in lists.",
            lambda report: report.document or None,
        ),
    ),
    link=lambda report: f"{key_manager_path(report.key_manager)}/key-reports/{report.uuid}",
    order=("place", place_in_list(r"[0-9]{18} [0-9a-f-]{36}"), _place),
)
PROOFS = Resource(
    name="key_proof",
    help="Reads every copy of every key, also of retired keys, on new connections, and writes a signed report.",
    declared=(),
    link=key_manager_path,
)
DRILLS = Resource(
    name="key_reboot_drill",
    help="Reads every key in use as this node would after a restart: only from the key servers that it reaches now, and"
    " not from memory. Writes a signed report.",
    declared=(),
    link=key_manager_path,
)


async def _page(request: Request, page: Page) -> tuple[KeyReport, ...]:
    return page.cut(await request.services.key_reports.all(request.call, request.path_uuid()), _place)


async def _show(request: Request, _: Wanted) -> KeyReport:
    return await request.services.key_reports.get(request.call, request.path_uuid(), request.path_uuid("report_uuid"))


async def _prove(request: Request, _: dict[str, Any], query: WriteQuery) -> Reply:
    return await _run(request, await request.services.verification_jobs.prove(request.call, request.path_uuid()), query)


async def _drill(request: Request, _: dict[str, Any], query: WriteQuery) -> Reply:
    return await _run(request, await request.services.verification_jobs.drill(request.call, request.path_uuid()), query)


async def _run(request: Request, task: StepRequest, query: WriteQuery) -> Reply:
    ran = await request.services.jobs.run_in_steps(request.call, task, return_timeout=query.patience)
    return job_reply(ran, done=DONE)


PATHS: Paths = {
    COLLECTION: {"GET": listing(KEY_REPORTS, _page)},
    f"{COLLECTION}/{{report_uuid}}": {"GET": showing(KEY_REPORTS, _show)},
    f"{ONE_KEY_MANAGER}/prove": {"POST": acting(PROOFS, _prove, Form.JOB, "Verify every copy of every key")},
    f"{ONE_KEY_MANAGER}/reboot-drill": {
        "POST": acting(DRILLS, _drill, Form.JOB, "Read every key as a restarted node would")
    },
}
