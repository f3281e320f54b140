"""The console beside the API on one listener: it answers the paths of its pages, and passes on all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from keystead.core import errors
from keystead.core.audit import cleaned
from keystead.core.console_paths import EVENTS
from keystead.core.errors import ADVICE, OntapError
from keystead.service.cluster.svms import svm_of
from keystead.service.failures import answer_to, log_fields_of
from keystead.web import login
from keystead.web.confirming import confirmation
from keystead.web.lists import path_with
from keystead.web.pages import PAGES
from keystead.web.refusing import plain
from keystead.web.rendering import STATIC, error_answer, static
from keystead.web.request import PageRequest
from keystead.web.security import COOKIE, HEADERS, Strict
from keystead.web.shell import shell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from keystead.service.services import Services
    from keystead.web.declaration import Page

log = structlog.get_logger(__name__)

START: Final = ""
"""The path ``/`` as the API's middleware passes it on: without a trailing slash."""

POLL: Final = "x-poll"
"""The header of a request by which an open page asks for changes. It does not count as use of the session."""

YEAR: Final = "public, max-age=31536000, immutable"


def with_console(
    api: ASGIApp, services: Services, origin: str = "", is_self_made: Callable[[], bool] = lambda: True
) -> ASGIApp:
    """Return an application that answers browsers with the console, and everybody else with the API.

    ``origin`` is the setting ``console_origin``; empty means whatever host a browser asks for. ``is_self_made`` tells
    whether the listener shows the certificate that ``init`` made.
    """
    console = Console(services, origin)
    by_path: dict[str, dict[str, Page]] = {}
    for each in PAGES:
        by_path.setdefault(each.path, {})[each.method] = each
    routes = [Route(path, console.endpoint(pages), methods=[*pages]) for path, pages in by_path.items()]
    routes += [
        Route(login.PATH, console.login, methods=["GET", "POST"]),
        Route(login.BY_CERTIFICATE, console.login, methods=["GET", "POST"]),
        Route("/static/{tag}/{name}", _static),
    ]
    browsers = _Browsers(Router(routes, redirect_slashes=False, default=api), api)
    return Strict(browsers, origin, is_self_made) if origin else browsers


class _Browsers:
    """Middleware that leaves ``/`` to the API unless a browser asks for it. Programs read it as before."""

    def __init__(self, app: ASGIApp, api: ASGIApp) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == START and _is_browser(scope):
            scope["path"] = "/"
        app = self._app if scope["type"] == "http" and scope["path"] != START else self._api
        await app(scope, receive, send)


def _is_browser(scope: Scope) -> bool:
    """Return True if a browser reads a page."""
    return scope["method"] in {"GET", "HEAD"} and "text/html" in Request(scope).headers.get("accept", "")


class Console:
    """Answers requests for pages: who is it, may they, and what went wrong."""

    def __init__(self, services: Services, origin: str) -> None:
        self._services = services
        self._origin = origin
        self._needs = {each.path: each.needs for each in PAGES if each.method == "GET"}

    def endpoint(self, pages: Mapping[str, Page]) -> Callable[[Request], Awaitable[Response]]:
        """Return the function that answers a path. ``pages`` are those of the path, by method."""

        async def answer(http: Request) -> Response:
            if http.method == "HEAD":
                http.scope["method"] = "GET"
            return await self._answer(http, pages[http.method])

        return answer

    async def login(self, http: Request) -> Response:
        """Show the login forms, or take one."""
        try:
            return await login.answer(http, self._services.sessions, self._origin)
        except Exception as failure:  # noqa: BLE001 - a browser gets a page for every fault
            return login.refused(http, _as_error(http, failure))

    async def _answer(self, http: Request, wanted: Page) -> Response:
        """Answer with a page, with the login form for who is not logged in, or with what went wrong."""
        try:
            request = await self._open(http)
        except OntapError:
            return login.first(http)
        except Exception as failure:  # noqa: BLE001 - as above
            return login.refused(http, _as_error(http, failure))
        try:
            answer = await self._made(request, wanted)
        except Exception as failure:  # noqa: BLE001 - as above
            error = _as_error(http, failure)
            if wanted.method != "GET" or error.kind is errors.NOT_AUTHORIZED:
                await self._services.audit.refuse(request.call, error)
            return await error_page(request, error)
        tag = answer.headers.get("etag")
        if tag and tag == http.headers.get("if-none-match") and http.method == "GET":
            return Response(status_code=304, headers={**HEADERS, "etag": tag})
        return answer

    async def _made(self, request: PageRequest, wanted: Page) -> Response:
        """Return the page. Raises what went wrong."""
        if wanted.method == "POST":
            await request.read_form()
        for method, path in wanted.needs:
            request.require(method, path.format(**request.http.path_params))
        confirming = await confirmation(request) if wanted.asks_password else None
        answer = confirming or await wanted.make(request)
        if wanted.method == "GET":
            await self._services.audit.answered(request.call, None)
        return answer

    async def _open(self, http: Request) -> PageRequest:
        """Return the request of whoever holds the session. Raises 6691623 (401) if there is none, StoreError."""
        token = http.cookies.get(COOKIE, "")
        location = http.client.host if http.client else ""
        caller, session = await self._services.sessions.find(token, location, polls=POLL in http.headers)
        return PageRequest(http, self._services, caller, session, token, self._origin, self._needs)


async def error_page(request: PageRequest, error: OntapError) -> Response:
    """Return the page that says what went wrong, and what to do.

    After a fault of the service, its frame reads nothing, because that could fail again.
    """
    items = () if error.kind.status >= 500 else None
    facts = {"advice": plain(ADVICE.get(error.kind, ""))}
    missing = _missing_server(request, error)
    events = {"missing": missing, "its_events": path_with(EVENTS, {"text": missing})}
    return error_answer("error.html", await shell(request, "", items) | facts | events, error)


def _missing_server(request: PageRequest, error: OntapError) -> str:
    """Return the address of the page's path if no key server has it, and the account may see events; else "".

    The link in the message of an older event may lead to a key server that was removed.
    """
    named = str(request.http.path_params.get("server", ""))
    is_missing = error.kind is errors.ENTRY_NOT_FOUND and named.isprintable() and request.may_open(EVENTS)
    return named if is_missing else ""


def _as_error(http: Request, failure: Exception) -> OntapError:
    """Return the error to show. A fault of the service is logged; who asked learns nothing about it."""
    if isinstance(failure, OntapError):
        return failure
    log.error("unexpected error", method=http.method, path=cleaned(http.url.path), **log_fields_of(failure))
    error = answer_to(failure)
    error.svm = svm_of(failure)
    return error


async def _static(http: Request) -> Response:
    """Answer with a file that pages load. Its path changes with its content."""
    name = http.path_params["name"]
    if name not in STATIC or static(name)[1] != http.path_params["tag"]:
        return Response(status_code=404, headers=HEADERS)
    return Response(static(name)[0], headers={**HEADERS, "cache-control": YEAR}, media_type=STATIC[name])
