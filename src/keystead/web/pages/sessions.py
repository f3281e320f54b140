"""``/sessions``: the logins to the console, and how to end them; ``/logout`` and ``/theme``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.sessions import ends_at
from keystead.web.declaration import Page
from keystead.web.rendering import page, redirect
from keystead.web.security import COOKIE, THEME_COOKIE, THEMES, delete_cookie, own_path, set_cookie
from keystead.web.shell import shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest


async def sessions(request: PageRequest) -> Response:
    """Show the sessions that the account may end."""
    found = await request.services.sessions.list(request.call)
    context = {"sessions": [(each, ends_at(each), each.digest == request.session.digest) for each in found]}
    return page("sessions.html", await shell(request, "/sessions") | context)


async def end_session(request: PageRequest) -> Response:
    """End a session, and show the others."""
    await request.services.sessions.end(request.call, request.value("digest"))
    return redirect("/sessions")


async def log_out(request: PageRequest) -> Response:
    """End the session of this browser."""
    await request.services.sessions.end(request.call, request.session.digest)
    answer = redirect("/login")
    delete_cookie(answer, COOKIE)
    return answer


async def choose_theme(request: PageRequest) -> Response:
    """Keep the colours that were chosen in a cookie."""
    answer = redirect(own_path(request.form.get("next", "/")))
    chosen = request.form.get("theme", "")
    set_cookie(answer, THEME_COOKIE, chosen if chosen in THEMES else THEMES[0])
    return answer


PAGES: Final = (
    Page("/sessions", sessions),
    Page("/sessions/{digest}/end", end_session, method="POST"),
    Page("/logout", log_out, method="POST"),
    Page("/theme", choose_theme, method="POST"),
)
