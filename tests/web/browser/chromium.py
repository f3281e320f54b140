"""Debian's Chromium, driven by Playwright: visitors of the console, each with cookies of its own."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from playwright.async_api import async_playwright

from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, BrowserContext, Page, Response

PROGRAM: Final = shutil.which("chromium-headless-shell")
ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu")
"""The sandbox needs more rights than containers give. Only our own pages are opened."""

PHONE: Final = {"width": 320, "height": 640}
DESK: Final = {"width": 1280, "height": 800}

in_browser: Final = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(PROGRAM is None, reason="Debian's package chromium-headless-shell is not installed"),
]
"""The marks of tests that need the browser. They share an event loop, as they share the browser."""


@dataclass
class Visitor:
    """Somebody with a browser: one page, and what was wrong with it. ``answers`` are all documents that came."""

    url: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    async def open(self, path: str) -> Response:
        """Open a page, and return its answer."""
        answer = await self.page.goto(f"{self.url}{path}")
        assert answer is not None
        return answer

    async def log_in(self, account: str = "admin", path: str = "/", password: str = PASSWORD) -> None:
        """Open a page, and log in with the form that comes instead."""
        await self.open(path)
        await self.fill_login(account, password)

    async def fill_login(self, account: str = "admin", password: str = PASSWORD) -> None:
        """Log in with the form that is open."""
        await self.page.get_by_label("Name").fill(account)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()

    async def submit(self, button: str) -> None:
        """Press a button, and wait for the page that follows."""
        async with self.page.expect_navigation():
            await self.page.get_by_role("button", name=button, exact=True).click()

    @property
    def path(self) -> str:
        """The path of the open page."""
        return self.page.url.removeprefix(self.url)

    async def text(self) -> str:
        """Return what the open page says."""
        return await self.page.locator("body").inner_text()

    def listen(self) -> None:
        """Note what the browser's console complains of, failed requests, and dialogs, which no page of ours has."""
        page, note = self.page, self.complaints.append
        page.on("console", lambda said: note(f"console: {said.text}") if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: note(f"error: {error}"))
        page.on("requestfailed", lambda request: note(f"failed: {request.url} {request.failure}"))
        page.on("response", lambda answer: self.answers.append(answer))  # noqa: PLW0108 - the list is replaced in tests
        page.on("dialog", self._dialog)

    async def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Run the browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=[*ARGUMENTS])
        yield browser
        await browser.close()


class Visits:
    """Makes visitors of one service. An account logs in once; its later visitors begin with the session's cookies."""

    def __init__(self, chromium: Browser, url: str) -> None:
        self._chromium = chromium
        self._url = url
        self._states: dict[str, Any] = {}
        self._open: list[BrowserContext] = []

    async def visitor(self, account: str = "", **options: Any) -> Visitor:
        """Return a new visitor, logged in if an account is given. ``options`` are those of a Playwright context."""
        if account and account not in self._states:
            first = await self._visitor()
            await first.log_in(account)
            self._states[account] = await first.context.storage_state()
        return await self._visitor(storage_state=self._states.get(account), **options)

    async def close(self) -> None:
        """End the visitors."""
        for context in self._open:
            await context.close()
        self._open.clear()

    async def _visitor(self, **options: Any) -> Visitor:
        options = {"ignore_https_errors": True, "viewport": DESK, **options}
        context = await self._chromium.new_context(**options)
        self._open.append(context)
        context.set_default_timeout(20_000)
        made = Visitor(self._url, context, await context.new_page())
        made.listen()
        return made
