"""keystead.web.app: a fault of the service is a page in the console's frame, and its log says where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from keystead.api.app import create_app
from keystead.web import app
from keystead.web.declaration import Page
from keystead.web.pages import PAGES
from keystead.web.security import COOKIE, HEADERS, form_token
from tests.web.conftest import ORIGIN, Browser

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest
    from tests.web.conftest import Site

CANARY = "c4nary-s3cret"
PATH = "/fails"


async def fail(request: PageRequest) -> Response:
    """Fail as a mistake in a page does."""
    raise RuntimeError(f"{CANARY} {request.path}")


def destroy(site: Site, table: str) -> None:
    """Take a table away below the running service."""
    with site.open_.store.database.writer.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO elsewhere")


@pytest.fixture
def failing(site: Site, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A browser of a console that has a page with a mistake, for a read and for a form."""
    monkeypatch.setattr(app, "PAGES", (*PAGES, Page(PATH, fail), Page(PATH, fail, method="POST")))
    services = site.open_.services
    return Browser(create_app(services, pages=lambda api: app.with_console(api, services)))


async def test_an_unexpected_exception_is_a_page(failing: Browser) -> None:
    """In the frame, with a sentence and the headers, and without the exception; the log says where it was raised."""
    await failing.log_in()
    with capture_logs() as logs:
        answer = await failing.open(PATH)
    shown = answer.content.decode()
    assert (answer.status, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert HEADERS.items() <= answer.headers.items()
    assert "An unexpected error occurred." in shown
    assert "Log out" in shown
    assert CANARY not in shown
    assert "RuntimeError" not in shown
    assert "Nothing was changed" not in shown
    (entry,) = logs
    assert (entry["event"], entry["method"], entry["path"], entry["error"]) == (
        "unexpected error",
        "GET",
        PATH,
        ["RuntimeError"],
    )
    assert entry["at"][-1].endswith(" fail")
    assert CANARY not in str(logs)


async def test_after_a_form_the_page_does_not_say_that_nothing_was_changed(site: Site, failing: Browser) -> None:
    """Nobody knows how far it came. The call is in the audit log."""
    await failing.log_in()
    body = f"form_token={form_token(failing.cookies[COOKIE], PATH)}".encode()
    with capture_logs():
        answer = await failing.send("POST", PATH, body, content_type="application/x-www-form-urlencoded", origin=ORIGIN)
    assert answer.status == 500
    assert b"Look whether anything was changed" in answer.content
    records = await site.admin.get("/api/security/audit/messages?fields=*&state=error")
    assert [record["message"] for record in records.body["records"]] == ["An unexpected error occurred."]


@pytest.mark.parametrize(("table", "path"), [("certificates", "/certificates"), ("change_marks", "/")])
async def test_a_failed_database_is_a_page(site: Site, browser: Browser, table: str, path: str) -> None:
    """Also where the frame reads what failed: then it has no counts."""
    await browser.log_in(url="/sessions")
    destroy(site, table)
    with capture_logs() as logs:
        answer = await browser.open(path)
    assert (answer.status, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert b"Log out" in answer.content
    assert [entry["event"] for entry in logs] == ["unexpected error"]


async def test_a_failed_login_is_a_page(site: Site, browser: Browser) -> None:
    """The form again, with the sentence."""
    await browser.open("/login")
    destroy(site, "accounts")
    with capture_logs():
        answer = await browser.log_in()
    assert (answer.status, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert b"An unexpected error occurred." in answer.content
