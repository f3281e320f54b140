"""Logging in and out, what a browser must send, and what no page of others can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.web.security import COOKIE, HEADERS, LOGIN_COOKIE
from tests.peers.keystead import PASSWORD
from tests.web.conftest import ORIGIN, forms

if TYPE_CHECKING:
    from tests.web.conftest import Browser, Site

PATHS = ("/", "/login", "/sessions", "/nothing-here", "/static/none/console.css")


async def test_a_login_leads_to_the_page_that_was_asked_for(browser: Browser) -> None:
    """With a cookie that scripts, other hosts and foreign forms do not get."""
    asked = await browser.open("/sessions")
    answer = await browser.send(
        "POST",
        "/login?next=/sessions",
        f"form_token={forms(asked)['/login?next=/sessions']['form_token']}&name=admin&password={PASSWORD}".encode(),
        content_type="application/x-www-form-urlencoded",
        origin=ORIGIN,
    )
    assert (answer.status, answer.headers["location"]) == (303, "/sessions")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}=".lower())
    assert {"path=/", "secure", "httponly", "samesite=lax"} <= set(cookie.split("; "))
    assert "domain" not in cookie
    page = await browser.open("/sessions")
    assert page.status == 200
    assert b"this browser" in page.content


@pytest.mark.parametrize(
    "next_", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "", "/a%0d%0ab: c"]
)
async def test_a_login_leads_nowhere_else(browser: Browser, next_: str) -> None:
    """Neither to another host, nor to anything that is no path of ours."""
    await browser.open(f"/login?next={next_}")
    assert browser.page is not None
    (action,) = forms(browser.page)
    answer = await browser.send(
        "POST",
        action,
        f"form_token={forms(browser.page)[action]['form_token']}&name=admin&password={PASSWORD}".encode(),
        content_type="application/x-www-form-urlencoded",
        origin=ORIGIN,
    )
    assert (answer.status, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", PASSWORD), ("", "")])
async def test_a_wrong_login(browser: Browser, name: str, password: str) -> None:
    """One sentence for all, with the form again; no session begins, and the password is not repeated."""
    answer = await browser.log_in(name, password)
    assert answer.status == 401
    assert b"The name or the password is wrong." in answer.content
    assert COOKIE not in browser.cookies
    assert PASSWORD.encode() not in answer.content


async def test_a_login_gives_another_token(site: Site) -> None:
    """A token that was there before, perhaps left by somebody else, opens nothing (session fixation)."""
    browser = site.browser()
    browser.cookies[COOKIE] = "planted"
    await browser.log_in()
    assert browser.cookies[COOKIE] != "planted"
    stranger = site.browser()
    stranger.cookies[COOKIE] = "planted"
    answer = await stranger.open("/")
    assert "/login" in forms(answer)


async def test_an_old_cookie_opens_nothing(site: Site) -> None:
    """After the logout its token is worthless, also where it was copied."""
    browser, thief = site.browser(), site.browser()
    await browser.log_in()
    thief.cookies[COOKIE] = browser.cookies[COOKIE]
    assert "/logout" in forms(await thief.open("/"))
    answer = await browser.submit("/logout")
    assert "/login" in forms(answer)
    assert "/login" in forms(await thief.open("/"))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
    ids=str,
)
async def test_a_form_from_elsewhere_does_nothing(browser: Browser, headers: dict[str, str | None]) -> None:
    """A foreign page may send a form with our cookie, and cannot say that it is ours."""
    await browser.log_in()
    answer = await browser.submit("/logout", None, **headers)
    assert answer.status == 403
    assert "/logout" in forms(await browser.open("/"))


@pytest.mark.parametrize("token", ["", "0" * 64, "\xff"])
async def test_a_form_without_its_token_does_nothing(browser: Browser, token: str) -> None:
    """The token is that of this session and this path."""
    await browser.log_in()
    answer = await browser.submit("/logout", {"form_token": token})
    assert answer.status == 403
    assert browser.page is not None
    theirs = forms(await browser.open("/"))["/theme"]["form_token"]
    assert (await browser.submit("/logout", {"form_token": theirs})).status == 403
    assert "/logout" in forms(await browser.open("/"))


async def test_nobody_can_be_logged_in_by_a_foreign_page(browser: Browser) -> None:
    """The login form has a token of its own, made for this browser."""
    await browser.open("/login")
    browser.cookies[LOGIN_COOKIE] = "another"
    answer = await browser.submit("/login", {"name": "admin", "password": PASSWORD})
    assert answer.status == 403
    assert COOKIE not in browser.cookies


async def test_the_api_ignores_the_cookie_and_pages_ignore_basic(site: Site, browser: Browser) -> None:
    """So a page in a browser can do nothing to the API, and a stored credential opens no page."""
    await browser.log_in()
    answer = await browser.send("GET", "/api/cluster")
    assert answer.status == 401
    answer = await site.browser().send("GET", "/", authorization="Basic YWRtaW46" + PASSWORD)
    assert (answer.status, answer.headers["location"]) == (303, "/login")


async def test_programs_read_the_start_as_before(site: Site) -> None:
    """Without a browser's ``Accept`` the path answers 401 in JSON."""
    answer = await site.browser().send("GET", "/", accept="*/*")
    assert answer.status == 401
    assert "json" in answer.headers["content-type"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_the_headers(site: Site, path: str) -> None:
    """Logged in or not, found or not."""
    for browser in (site.browser(), site.browser()):
        answer = await browser.send("GET", path)
        if "json" in answer.headers.get("content-type", ""):  # the API's own
            continue
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "no-store" in answer.headers.get("cache-control", "no-store")
        await browser.log_in()


async def test_who_sees_which_session(site: Site) -> None:
    """The administrator ends any, others their own."""
    admin, auditor = site.browser(), site.browser()
    await admin.log_in()
    await auditor.log_in("auditor")
    page = await auditor.open("/sessions")
    assert page.content.count(b">End</button>") == 1
    page = await admin.open("/sessions")
    assert page.content.count(b">End</button>") == 2
    (theirs,) = [each for each in forms(page) if each.startswith("/sessions/")][:1]
    ends = [each for each in forms(page) if each.startswith("/sessions/")]
    assert theirs in ends
    for action in ends:
        await admin.open("/sessions")
        if admin.page is not None and action in forms(admin.page):
            await admin.submit(action)
    assert "/login?next=/sessions" in forms(await auditor.open("/sessions"))


async def test_the_colours_stay(browser: Browser) -> None:
    """The choice is a cookie; what is no colour is left out."""
    await browser.log_in()
    page = await browser.submit("/theme", {"theme": "dark"})
    assert b'data-theme="dark"' in page.content
    page = await browser.submit("/theme", {"theme": "<script>"})
    assert b'data-theme="auto"' in page.content


async def test_a_poll_that_finds_nothing_new(browser: Browser) -> None:
    """It answers 304, and does not lengthen the session."""
    page = await browser.log_in()
    answer = await browser.send("GET", "/", x_poll="1", if_none_match=page.headers["etag"])
    assert answer.status == 304
    answer = await browser.send("GET", "/", x_poll="1", if_none_match='"other"')
    assert answer.status == 200
    assert answer.headers["etag"] == page.headers["etag"]
