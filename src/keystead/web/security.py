"""What keeps the console's pages to who opened them: headers, cookies, the tokens of forms, and where a form is from.

Sources: OWASP Session Management and CSRF cheat sheets; RFC 6265bis (``__Host-`` cookies); Fetch Metadata (W3C).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "__Host-keystead"
"""The cookie with a session's token. Its name makes browsers refuse it from other hosts and over plain HTTP."""

LOGIN_COOKIE: Final = "__Host-keystead-login"
"""The cookie of the login form, so that no foreign page can log somebody in."""

THEME_COOKIE: Final = "keystead-theme"
THEMES: Final = ("auto", "light", "dark")

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",  # with "no-referrer", a form of ours would have the origin "null"
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Headers of every answer of the console."""

STRICT: Final = (b"strict-transport-security", b"max-age=31536000")
"""The header by which a browser uses nothing but HTTPS with this host for a year (RFC 6797)."""

NO_STORE: Final = {"cache-control": "no-store"}


def set_cookie(response: Response, name: str, value: str) -> None:
    """Set a cookie that scripts cannot read, and that a foreign page's form does not send."""
    response.set_cookie(name, value, path="/", secure=True, httponly=True, samesite="lax")


def delete_cookie(response: Response, name: str) -> None:
    """Delete a cookie."""
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")


def form_token(secret: str, path: str) -> str:
    """Return the token of the form that posts to ``path``. ``secret`` is the value of the browser's cookie."""
    return hmac.new(secret.encode(errors="replace"), path.encode(), "sha256").hexdigest()


def check_token(secret: str, path: str, token: str) -> None:
    """Raise 6 (403) unless the token is that of the form on one of our pages."""
    expected = form_token(secret, path)
    if not secret or not hmac.compare_digest(expected, token.encode("ascii", "replace").decode()):
        raise OntapError(errors.NOT_AUTHORIZED)


def check_same_origin(request: Request, origin: str) -> None:
    """Raise 6 (403) for a form that a page of another origin sent. ``origin`` is the setting ``console_origin``."""
    own = {origin} if origin else {f"{request.url.scheme}://{request.headers.get('host', '')}".lower()}
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"} or request.headers.get("origin", "").lower() not in own:
        raise OntapError(errors.NOT_AUTHORIZED)


def own_path(text: str) -> str:
    """Return a path of ours that a parameter names, ``/`` if it names anything else."""
    parts = urlsplit(text)
    is_ours = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if is_ours and not parts.netloc and not parts.scheme else "/"


class Strict:
    """Middleware that adds HSTS to the console's answers at the address of the setting ``console_origin``.

    A browser that has seen HSTS lets nobody pass a certificate that it does not trust. So the header is left out while
    ``is_self_made`` says that the listener shows the certificate that ``init`` made.
    """

    def __init__(self, app: ASGIApp, origin: str, is_self_made: Callable[[], bool]) -> None:
        self._app = app
        self._host = urlsplit(origin).netloc.lower()
        self._is_self_made = is_self_made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_ours = scope["type"] == "http" and Headers(scope=scope).get("host", "").lower() == self._host

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], STRICT]}
            await send(message)

        await self._app(scope, receive, strict if is_ours and not self._is_self_made() else send)
