"""``/docs/api`` and ``/docs/api/openapi.json``: the API's description, for people and for programs.

Readable without login: it is the same for every installation of a release and holds nothing of this one. Nothing of a
request is repeated. The page runs no script and loads nothing (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from keystead.api.body import declares_body, header
from keystead.api.docs_page import STYLE, page
from keystead.api.openapi import document
from keystead.api.request import ALLOW
from keystead.core import errors
from keystead.core.access import READS
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PAGE: Final = "/docs/api"
DOCUMENT: Final = "/docs/api/openapi.json"
_ALLOWED: Final = ", ".join(sorted(READS)).encode()


@dataclass(frozen=True, slots=True)
class Static:
    """What is answered always alike: its bytes, their type and their tag (RFC 9110, ETag)."""

    content: bytes
    media_type: bytes

    @property
    def tag(self) -> bytes:
        """A digest in quotes."""
        return b'"' + hashlib.sha256(self.content).hexdigest()[:32].encode() + b'"'


class DocsPages:
    """Answers the two paths, and hands on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        if scope["type"] != "http" or scope["path"] not in {PAGE, DOCUMENT}:
            await self._app(scope, receive, send)
            return
        scope[ALLOW] = _ALLOWED
        if scope["method"] not in READS:
            raise OntapError(errors.METHOD_NOT_SUPPORTED)
        if declares_body(scope):
            raise OntapError(errors.BODY_NOT_ALLOWED)
        static = served(scope["path"])
        unchanged = static.tag in header(scope, b"if-none-match")
        bodiless = unchanged or scope["method"] != "GET"
        headers = [
            (b"content-type", static.media_type),
            (b"content-length", b"0" if scope["method"] == "OPTIONS" else str(len(static.content)).encode()),
            (b"allow", _ALLOWED),
            *([] if unchanged else _SECURITY),
            (b"cache-control", b"public, max-age=3600"),
            (b"etag", static.tag),
        ]
        kept = headers[2:] if unchanged else headers
        await send({"type": "http.response.start", "status": 304 if unchanged else 200, "headers": kept})
        await send({"type": "http.response.body", "body": b"" if bodiless else static.content})


@cache
def served(path: str) -> Static:
    """What a path answers."""
    if path == PAGE:
        return Static(page().encode(), b"text/html; charset=utf-8")
    return Static(json.dumps(document(), separators=(",", ":")).encode(), b"application/json")


_STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_SECURITY: Final = (
    (
        b"content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'".encode(),
    ),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
