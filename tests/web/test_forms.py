"""What holds for every form of the console."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from keystead.api.app import create_app
from keystead.app.wiring import running
from keystead.core import errors
from keystead.settings import Settings
from keystead.web.app import with_console
from keystead.web.pages import PAGES
from keystead.web.security import COOKIE, form_token
from tests.peers.asgi import AsgiClient
from tests.peers.keystead import PASSWORD
from tests.web.conftest import ORIGIN, Browser

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tests.peers.keystead import Installation

PATHS: Final = [re.sub(r"{\w+}", "x", page.path) for page in PAGES if page.method == "POST"]
FIELDS: Final = ("name", "servers", "password")
"""Each form is sent these, with a NUL in one of them."""


async def changes(app: ASGIApp) -> int:
    """Return how many changes the audit log has."""
    path = "/api/security/audit/messages?state=success&return_records=false"
    return int((await AsgiClient(app, "admin", PASSWORD).get(path)).body["num_records"])


async def test_a_nul_in_a_form_is_refused_in_words(place: Installation) -> None:
    """400 on every form, the login too, in whatever field; nothing is changed, and the page does not repeat it."""
    async with running(Settings(data=place.data, database=place.database)) as open_:
        app = create_app(open_.services, pages=lambda api: with_console(api, open_.services))
        refused = await Browser(app).log_in("ad\0min")
        assert (refused.status, b"it holds the character NUL" in refused.content) == (400, True)
        browser = Browser(app)
        assert (await browser.log_in()).status == 200
        before = await changes(app)
        for path, field in ((path, field) for path in PATHS for field in FIELDS):
            token = form_token(browser.cookies[COOKIE], path)
            sent = dict.fromkeys(FIELDS, "x") | {field: "a\0b", "form_token": token}
            form = {"content_type": "application/x-www-form-urlencoded", "origin": ORIGIN}
            answer = await browser.send("POST", path, urlencode(sent).encode(), **form)
            shown = answer.content.decode()
            assert answer.status == 400, (path, field)
            assert "it holds the character NUL" in shown
            assert f"Code {errors.INVALID_VALUE.code}, about {field}" in shown
            assert "\0" not in shown
        assert await changes(app) == before
