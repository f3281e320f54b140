"""``/healthz``, ``/readyz`` and ``/metrics`` for operators' tools, outside of ``/api``, and the counter of answers.

The first two, and ``/readyz/reads``, need no login and answer one word, or what fails, in general words. ``/metrics``
needs a cluster account, unless a setting makes it public. These pages are not part of ONTAP's API, so they answer in
plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.api.hal import Reply
from keystead.api.request import ALLOW, SVM_SCOPE
from keystead.core import errors
from keystead.core.access import READS
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from keystead.service.cluster.health import Health
    from keystead.service.ports.process import Telemetry

METRICS: Final = "/metrics"
_PLAIN: Final = "text/plain; charset=utf-8"
_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE", "PUT"})


class HealthPages:
    """Middleware that answers the pages that need no login and passes on all other requests."""

    def __init__(self, app: ASGIApp, health: Health) -> None:
        self._app = app
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request or pass it on."""
        match scope.get("path"):
            case "/healthz":
                await _reply(scope, send, 200, b"ok\n")
            case "/readyz":
                await _answer_ready(scope, send, await self._health.not_ready())
            case "/readyz/reads":
                await _answer_ready(scope, send, await self._health.not_ready_for_reads())
            case path if path == METRICS and self._health.metrics_public:
                await MetricsPage(self._health.telemetry)(scope, receive, send)
            case _:
                await self._app(scope, receive, send)


class MetricsPage:
    """The page of metrics as text."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the metrics."""
        del receive
        if SVM_SCOPE in scope:  # the metrics describe the whole cluster
            raise OntapError(errors.NOT_AUTHORIZED)
        text, media_type = await self._telemetry.exposition()
        await _reply(scope, send, 200, text, media_type)


class Counted:
    """Middleware that counts answers by method and status."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count the answer by its first message."""
        method = scope.get("method", "")

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._telemetry.answered(method if method in _METHODS else "other", message["status"])
            await send(message)

        await self._app(scope, receive, counting)


async def _answer_ready(scope: Scope, send: Send, why_not: str) -> None:
    if why_not:
        await _reply(scope, send, 503, f"not ready: {why_not}\n".encode())
    else:
        await _reply(scope, send, 200, b"ready\n")


async def _reply(scope: Scope, send: Send, status: int, text: bytes, media_type: str = _PLAIN) -> None:
    scope[ALLOW] = allow = ", ".join(sorted(READS)).encode()
    if scope["method"] not in READS:
        raise OntapError(errors.METHOD_NOT_SUPPORTED)
    if scope["method"] == "OPTIONS":
        await Reply(200, {}, ((b"allow", allow),)).send(send, hal=False)
        return
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else text})
