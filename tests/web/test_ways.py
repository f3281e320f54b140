"""The same by other means: commands whose values are quoted, and YAML that reads as it was meant."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from starlette.requests import Request

from keystead.web.request import PageRequest
from keystead.web.security import COOKIE
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from tests.web.conftest import Browser, Site

NAME = 'it\'s; rm -rf "$HOME"'


def test_commands_are_quoted() -> None:
    """A name is one word, whatever is in it; an option without a value is left out."""
    assert shlex.split(command("key", "create", name=NAME, key_tag="", vserver=None)) == [
        *("keystead", "key", "create"),
        *("--name", NAME),
    ]


async def test_ways(site: Site, browser: Browser) -> None:
    """The call of each is the same."""
    await browser.log_in()
    scope = {"type": "http", "method": "GET", "path": "/keys", "scheme": "https", "server": ("h", 443), "headers": []}
    caller, session = await site.open_.services.sessions.find(browser.cookies[COOKIE], "", polls=True)
    request = PageRequest(Request(scope), site.open_.services, caller, session, "")
    body = {"name": NAME}
    (_, cli), (_, curl), (_, task) = ways(request, "keystead x", "POST", "/api/a/b", body)
    assert cli == "keystead x"
    assert json.loads(shlex.split(curl)[-2]) == body
    assert shlex.split(curl)[-1] == "https://h/api/a/b"
    assert json.loads(task.partition("body: ")[2]) == body
    assert 'api: "a/b"' in task
