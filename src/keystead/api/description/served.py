"""``/docs/api`` and ``/docs/api/openapi.json``: the API's description, and ``/``: a page for browsers that leads there.

No login is needed, because the pages are the same for every installation of a release. They hold no data of the
installation or of a request. They load nothing, and the description runs its own script only (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from keystead.api.body import declares_body, header
from keystead.api.description.openapi import document
from keystead.api.description.page import SCRIPT, STYLE, page
from keystead.api.description.start import START_PAGE
from keystead.api.request import ALLOW
from keystead.core import errors
from keystead.core.access import READS
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

PAGE: Final = "/docs/api"
DOCUMENT: Final = "/docs/api/openapi.json"
START: Final = ""
"""The path ``/``, without its trailing slash as every path."""
_ALLOWED: Final = ", ".join(sorted(READS)).encode()


@dataclass(frozen=True, slots=True)
class Static:
    """A constant answer: its bytes and the headers that describe them."""

    content: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    tag: bytes  # RFC 9110, ETag


class DocsPages:
    """Middleware that answers the description's paths, and browsers at ``/``. It passes on all other requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request or pass it on."""
        if scope["type"] != "http" or not _is_ours(scope):
            await self._app(scope, receive, send)
            return
        scope[ALLOW] = _ALLOWED
        if scope["method"] not in READS:
            raise OntapError(errors.METHOD_NOT_SUPPORTED)
        if declares_body(scope):
            raise OntapError(errors.BODY_NOT_ALLOWED)
        if scope["method"] == "OPTIONS":
            await _answer(send, 200, ((b"allow", _ALLOWED), (b"content-length", b"0")))
            return
        static = served(scope["path"], packed=b"gzip" in header(scope, b"accept-encoding"))
        if static.tag in header(scope, b"if-none-match"):
            await _answer(send, 304, ((b"etag", static.tag), *_caching(scope["path"])))
        else:
            await _answer(send, 200, static.headers, b"" if scope["method"] == "HEAD" else static.content)


def _is_ours(scope: Scope) -> bool:
    """Return True for a path of the description, and for a browser that reads ``/``."""
    reads = scope["method"] in {"GET", "HEAD"} and not declares_body(scope)
    browser = reads and b"text/html" in header(scope, b"accept").lower()
    return scope["path"] in {PAGE, DOCUMENT} or (scope["path"] == START and browser)


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], content: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": content})


@cache
def served(path: str, *, packed: bool) -> Static:
    """Return the answer of a path, compressed with gzip if ``packed``."""
    text = json.dumps(document(), separators=(",", ":")) if path == DOCUMENT else _HTML[path]()
    media_type = b"application/json" if path == DOCUMENT else b"text/html; charset=utf-8"
    content = gzip.compress(text.encode(), mtime=0) if packed else text.encode()
    tag = b'"' + hashlib.sha256(content).hexdigest()[:32].encode() + b'"'
    headers = (
        (b"content-type", media_type),
        (b"content-length", str(len(content)).encode()),
        *(((b"content-encoding", b"gzip"),) if packed else ()),
        (b"etag", tag),
        *_caching(path),
        (b"content-security-policy", _POLICIES[path].encode()),
        *_SECURITY,
    )
    return Static(content, headers, tag)


def _caching(path: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers for caches. Programs that read ``/`` get another answer than browsers."""
    vary = b"accept, accept-encoding" if path == START else b"accept-encoding"
    return (b"cache-control", b"public, max-age=3600"), (b"vary", vary)


_HTML: Final[Mapping[str, Callable[[], str]]] = {PAGE: page, START: lambda: START_PAGE}


def _source(text: str) -> str:
    """Return the source of a policy that allows this text alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_ALL: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_POLICIES: Final = {
    PAGE: f"default-src 'none'; script-src {_source(SCRIPT)}; style-src {_source(STYLE)}; {_ALL};"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    START: f"default-src 'none'; style-src {_source(STYLE)}; {_ALL}",
    DOCUMENT: f"default-src 'none'; {_ALL}",
}
"""The Content-Security-Policy of each path: what a text allows is its digest, so nothing else runs or is styled."""
_SECURITY: Final = (
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
