"""The outermost layer: it turns every failure into ONTAP's error body. It records refused writes and all denials once.

The caller learns nothing about an unexpected exception. The log gets its types and the places in the code, but not its
text, because an exception may quote secrets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from keystead.api.body import ClientGoneError, header
from keystead.api.hal import Reply, wants_arguments, wants_links, wants_pretty
from keystead.api.request import ALLOW, CALLER, call_of, raw_path
from keystead.core import errors
from keystead.core.access import READS
from keystead.core.audit import cleaned
from keystead.core.errors import OntapError
from keystead.service.cluster.svms import svm_of
from keystead.service.failures import answer_to, log_fields_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from keystead.service.audit.log import AuditLog

REALM = b'Basic realm="Keystead", charset="UTF-8"'
RETRY_AFTER_S = 5
_CLOSING = {408, 413}  # these are answered before the whole body was read

log = structlog.get_logger(__name__)


class ErrorBoundary:
    """Middleware that answers and records the errors that the application raises."""

    def __init__(self, app: ASGIApp, audit: AuditLog) -> None:
        self._app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, even if the application raises an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientGoneError:
            return
        except OntapError as error:
            refusal = error
        except asyncio.CancelledError:
            refusal = OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S)
        except Exception as error:  # noqa: BLE001 - this layer answers every fault
            log.error(  # noqa: TRY400 - a traceback's last line is the exception's text
                "unexpected error",
                method=scope["method"],
                path=cleaned(raw_path(scope)),
                **log_fields_of(error),
            )
            refusal = answer_to(error)
            refusal.svm = svm_of(error)
        else:
            await self._record_read(scope, None)
            return
        if started:
            return
        await self._record(scope, refusal)
        arguments = wants_arguments(header(scope, b"x-dot-error-arguments"))
        await error_reply(refusal, allow=scope.get(ALLOW, b""), arguments=arguments).send(
            send,
            hal=wants_links(header(scope, b"accept")),
            bodiless=scope["method"] == "HEAD",
            pretty=wants_pretty(scope["query_string"]),
        )
        await self._record_read(scope, refusal)

    async def _record_read(self, scope: Scope, error: OntapError | None) -> None:
        """Record a read by a known caller, if the options of the audit log ask for it."""
        if scope["method"] in READS and CALLER in scope and not _is_denial(error):
            await self._audit.answered(call_of(scope, scope[CALLER]), error)

    async def _record(self, scope: Scope, error: OntapError) -> None:
        """Record the refusal of a write, or a denial, of a known caller. If this fails, log it and keep the answer."""
        wanted = scope["method"] not in READS or _is_denial(error)
        if not wanted or CALLER not in scope or error.recorded:
            return
        try:
            await self._audit.refuse(call_of(scope, scope[CALLER]), error)
        except Exception as failure:  # noqa: BLE001 - logged; the caller still gets the answer
            log.error(  # noqa: TRY400 - as above
                "refusal not recorded", path=cleaned(raw_path(scope)), code=error.kind.code, **log_fields_of(failure)
            )


def _is_denial(error: OntapError | None) -> bool:
    """Return True if the caller's role does not allow the call. Such a read is recorded whatever the options say."""
    return error is not None and error.kind is errors.NOT_AUTHORIZED


def error_body(error: OntapError, *, arguments: bool = True) -> dict[str, Any]:
    """Return ONTAP's ``error`` object. A client can leave out ``arguments`` by the header X-Dot-Error-Arguments."""
    body: dict[str, Any] = {"message": error.message, "code": str(error.kind.code)}
    if error.target is not None:
        body["target"] = error.target
    if error.arguments and arguments:
        body["arguments"] = [{"code": code, "message": message} for code, message in error.arguments]
    return body


def error_reply(error: OntapError, *, allow: bytes = b"", arguments: bool = True, **more: Any) -> Reply:
    """Return the reply with ONTAP's error body and status. ``allow`` is the value of a 405's Allow header.

    ``more`` goes into the body next to ``error``: the results of a call of several objects before it failed.
    """
    headers: list[tuple[bytes, bytes]] = []
    if error.kind.status == 401:
        headers.append((b"www-authenticate", REALM))
    if error.kind.status == 405:
        headers.append((b"allow", allow))
    if error.kind.status in _CLOSING:
        headers.append((b"connection", b"close"))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    return Reply(error.kind.status, {"error": error_body(error, arguments=arguments), **more}, tuple(headers))
