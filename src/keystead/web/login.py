"""``/login``: the forms for a password and for a client certificate, and the session that begins with one of them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

from keystead.core import errors
from keystead.core.secret import Secret
from keystead.service.accounts.certificate_logins import shown_chain
from keystead.web.rendering import error_answer, page, redirect
from keystead.web.request import read_form
from keystead.web.security import COOKIE, LOGIN_COOKIE, THEME_COOKIE, THEMES, form_token, own_path, set_cookie

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from keystead.core.errors import OntapError
    from keystead.service.accounts.sessions import Sessions

PATH = "/login"

BY_CERTIFICATE = "/login/certificate"
"""Takes the form that logs in with the client certificate which the browser showed on this connection.

The listener asks for certificates only while a CA for logins is installed. The login page has the form only if the
browser showed one.
"""


async def answer(http: Request, sessions: Sessions, origin: str) -> Response:
    """Show the forms, or begin a session and lead to the page that was asked for. Raises OntapError, StoreError."""
    if http.method != "POST":
        return _form(http)
    form = await read_form(http, http.cookies.get(LOGIN_COOKIE, ""), origin)
    location = http.client.host if http.client else ""
    if http.url.path == BY_CERTIFICATE:
        token = await sessions.begin_by_certificate(shown_chain(http.scope), location)
    else:
        token = await sessions.begin(form.get("name", ""), Secret(form.get("password", "")), location)
    answered = redirect(own_path(http.query_params.get("next", "/")))
    set_cookie(answered, COOKIE, token)
    return answered


def first(http: Request) -> Response:
    """Lead to the form; a page that was to be read is shown after the login."""
    wanted = http.url.path + (f"?{http.url.query}" if http.url.query else "")
    return redirect(f"{PATH}?next={quote(wanted)}" if http.method == "GET" and wanted != "/" else PATH)


def refused(http: Request, error: OntapError) -> Response:
    """Show the forms again, with the reason."""
    return _form(http, error)


def _form(http: Request, error: OntapError | None = None) -> Response:
    secret = http.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(32)
    theme = http.cookies.get(THEME_COOKIE, "")
    context = {
        "error": None,
        "is_wrong": error is not None and error.kind is errors.AUTHENTICATION_FAILED,
        "by_certificate": http.url.path == BY_CERTIFICATE,
        "shows_certificate": bool(shown_chain(http.scope)),
        "token": form_token(secret, PATH),
        "certificate_token": form_token(secret, BY_CERTIFICATE),
        "query": f"?{http.url.query}" if http.url.query else "",
        "theme": theme if theme in THEMES else THEMES[0],
    }
    shown = error_answer("login.html", context, error) if error else page("login.html", context)
    set_cookie(shown, LOGIN_COOKIE, secret)
    return shown
