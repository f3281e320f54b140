"""What other pages, thieves and names with markup in them can do to the console in a real browser: nothing."""

from __future__ import annotations

import contextlib
import http.server
import threading
from typing import TYPE_CHECKING, Final

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from keystead.web.security import COOKIE
from tests.canaries import Canaries
from tests.peers.certificates import client, server_context
from tests.peers.keystead import PASSWORD
from tests.web.browser.chromium import ARGUMENTS, PROGRAM, Visitor, Visits, in_browser
from tests.web.browser.world import PATHS, install, make_key, page_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser

    from tests.peers.fixtures import Pki
    from tests.web.browser.world import World

pytestmark = [*in_browser, pytest.mark.long]

MARKUP: Final = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'>"


@pytest_asyncio.fixture(loop_scope="session")
async def visits(chromium: Browser, stage: World) -> AsyncIterator[Visits]:
    """Visitors of the world that tests may change."""
    visits = Visits(chromium, stage.service.url)
    yield visits
    await visits.close()


@contextlib.contextmanager
def hostile(pki: Pki, content: str, host: str) -> Iterator[str]:
    """Serve a page of somebody else over HTTPS, and yield its address.

    ``127.0.0.1`` is of the same site as the service, so that cookies are sent; ``localhost`` is another site.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 2  # seconds: browsers open connections that they may never use

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = server_context(pki.server).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_form_of_a_foreign_page_does_nothing(visits: Visits, stage: World, pki: Pki, host: str) -> None:
    """Also when the browser sends the cookie with it, as it does within a site."""
    visitor = await visits.visitor("admin")
    form = f"""<!doctype html><form method="post" action="{visitor.url}/keys/create">
        <input name="key_manager" value="{stage.vs1}"><input name="type" value="vek"><input name="name" value="forged">
        <button>Win a prize</button></form>"""
    with hostile(pki, form, host) as address:
        await visitor.page.goto(address)
        async with visitor.page.expect_response(lambda answer: answer.request.method == "POST") as sent:
            await visitor.page.get_by_role("button", name="Win a prize").click()
        answer = await sent.value
    headers = await answer.request.all_headers()
    assert (COOKIE in headers.get("cookie", "")) == (host == "127.0.0.1")
    assert answer.status == (403 if host == "127.0.0.1" else 303)
    with stage.service.client() as call:
        assert call.get(f"/security/key-managers/{stage.vs1}/volume-keys?name=forged")["num_records"] == 0


async def test_a_planted_cookie_opens_nothing(visits: Visits) -> None:
    """Who knows the cookie from before the login has nothing after it (session fixation)."""
    planted = "0" * 64
    visitor, thief = await visits.visitor(), await visits.visitor()
    for each in (visitor, thief):
        await each.context.add_cookies([{"name": COOKIE, "value": planted, "url": each.url, "secure": True}])
    await visitor.log_in()
    await visitor.page.get_by_role("heading", name="Overview").wait_for()
    assert await cookie(visitor) != planted
    await thief.open("/")
    assert thief.path.startswith("/login")


async def test_a_stolen_cookie_ends_with_the_logout(visits: Visits) -> None:
    """Neither the thief sees a page after it, nor who presses Back on the same machine."""
    visitor, thief = await visits.visitor(), await visits.visitor()
    await visitor.log_in()
    await visitor.page.get_by_role("heading", name="Overview").wait_for()
    await thief.context.add_cookies(
        [{"name": COOKIE, "value": await cookie(visitor), "url": thief.url, "secure": True}]
    )
    await thief.open("/keys")
    assert thief.path == "/keys"
    await visitor.submit("Log out")
    await thief.open("/keys")
    assert thief.path.startswith("/login")
    await visitor.page.go_back()
    assert visitor.path.startswith("/login")
    assert "Needs attention" not in await visitor.text()


async def cookie(visitor: Visitor) -> str:
    """Return the value of the session's cookie."""
    (found,) = [each for each in await visitor.context.cookies() if each["name"] == COOKIE]
    return str(found["value"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_frame_stays_empty(visits: Visits, pki: Pki, host: str) -> None:
    """A foreign page cannot lay ours below its own buttons (clickjacking)."""
    visitor = await visits.visitor("admin")
    with hostile(pki, f'<!doctype html><iframe src="{visitor.url}/keys"></iframe>', host) as address:
        await visitor.page.goto(address)
        _, frame = visitor.page.frames
        assert frame.url.startswith("chrome-error:")
        assert "Keystead" not in await frame.content()
    assert any("frame-ancestors" in each for each in visitor.complaints)


async def test_names_with_markup_are_text(visits: Visits, stage: World, pki: Pki) -> None:
    """Names of keys, tags, certificates and their subjects are shown as they are, and run nothing."""
    named = pki.client_ca.issue((), common_name=MARKUP[:64], purpose="client")
    with stage.service.client() as call:
        key = make_key(call, stage.vs1, MARKUP)
        uuid = install(call, MARKUP, "client", "vs1", named.certificate_pem, named.key_pem)
    visitor = await visits.visitor("admin")
    try:
        await visitor.open("/keys")
        assert MARKUP in await visitor.text()
        await visitor.open("/certificates")
        assert MARKUP[:64] in await visitor.text()
        for path in (f"/keys/{stage.vs1}/{key}", f"/certificates/{uuid}", *(page_of(each, stage) for each in PATHS)):
            await visitor.open(path)
            assert await visitor.page.locator("img, script:not([src])").count() == 0, path
    finally:
        with stage.service.client() as call:
            call("DELETE", f"/security/key-managers/{stage.vs1}/volume-keys/{key}")
            call("DELETE", f"/security/certificates/{uuid}")
    assert visitor.complaints == []


async def test_what_is_typed_by_mistake_is_text(visits: Visits) -> None:
    """A search, a place in a list and a login with markup in them run nothing."""
    visitor = await visits.visitor("admin")
    for path in (
        "/keys?name=",
        "/keys?svm=",
        "/certificates?svm=",
        "/keys?after=",
        "/certificates?type=",
        "/login?next=",
    ):
        await visitor.page.goto(f"{visitor.url}{path}{MARKUP}")
        assert await visitor.page.locator("img, script:not([src])").count() == 0, path
    assert [each for each in visitor.complaints if "status of 4" not in each] == []


async def test_secrets_stay_where_they_were_typed(stage: World, tmp_path: Path, pki: Pki) -> None:
    """Passwords, private keys given and made: in no other page, in nothing that the browser keeps, in no log."""
    canaries, pages = Canaries(), []
    wrong, key = canaries.plant("wrong password"), client(pki.client_ca)
    canaries.plant("password", PASSWORD)
    canaries.plant("private key", key.key_pem)
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=PROGRAM, args=[*ARGUMENTS], ignore_https_errors=True
        )
        visitor = Visitor(stage.service.url, context, context.pages[0])
        await visitor.log_in("admin", password=wrong)
        await visitor.page.get_by_role("alert").wait_for()
        pages.append(await visitor.page.content())
        await visitor.fill_login()
        await visitor.page.get_by_role("heading", name="Overview").wait_for()
        for certificate in (key.certificate_pem, "no certificate"):
            await visitor.open("/certificates/install")
            await visitor.page.get_by_label("Certificate (PEM)").fill(certificate)
            await visitor.page.get_by_label("Private key (PEM").fill(key.key_pem)
            await visitor.submit("Install")
            pages.append(await visitor.page.content())
        await visitor.open("/certificates/request")
        await visitor.page.get_by_label("Subject").fill("CN=made")
        await visitor.submit("Make the request")
        canaries.plant("made key", await visitor.page.locator("pre code").nth(1).inner_text())
        for path in PATHS:
            await visitor.open(page_of(path, stage))
            pages.append(await visitor.page.content())
        await context.close()
    for number, page in enumerate(pages):
        assert canaries.search_bytes(page.encode(), f"page {number}") == []
    kept = [tmp_path / "profile", stage.service.stdout, stage.service.stderr, stage.service.installation.data]
    assert canaries.search_files(kept) == []
