"""The REST application: the router inside authentication inside the error boundary.

This module only composes them. Paths are ONTAP's: ``/api/...``, and ``/api/v1/...`` as well. Doubled slashes and a
trailing slash are accepted, because clients build such paths out of links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route, Router

from keystead.api.auth import Authentication
from keystead.api.description.served import DocsPages
from keystead.api.errors import ErrorBoundary
from keystead.api.health import METRICS, Counted, HealthPages, MetricsPage
from keystead.api.operations import Endpoint
from keystead.api.peers import PeerPage
from keystead.api.request import plain_path
from keystead.api.resources import PATHS
from keystead.api.tunnelling import Tunnelling
from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from keystead.service.services import Services


def create_app(
    services: Services,
    on_login: Callable[[str], None] = lambda _: None,
    pages: Callable[[ASGIApp], ASGIApp] = lambda api: api,
) -> ASGIApp:
    """Return the ASGI application that serves ``/api`` with the use cases in ``services``.

    ``on_login`` is called with the client's address for each request that is authenticated. ``pages`` returns an
    application that answers pages for browsers, and passes all else to the given one.
    """
    health = services.health
    routes = [Route(path, Endpoint(services, operations)) for path, operations in PATHS.items()]
    routes.append(Route(METRICS, MetricsPage(health.telemetry)))
    router = Router(routes, redirect_slashes=False, default=_no_such_path)
    tunnelling = Tunnelling(router, services.svms)
    authentication = Authentication(tunnelling, services.logins, services.certificate_logins, on_login)
    own = DocsPages(HealthPages(PeerPage(authentication, services.peers), health))
    return Counted(ErrorBoundary(_Paths(pages(own)), services.audit), health.telemetry)


class _Paths:
    """ASGI middleware that rewrites a path to the spelling that the routes use."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = plain_path(scope["path"])
        await self._app(scope, receive, send)


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send
    raise OntapError(errors.API_NOT_FOUND)
