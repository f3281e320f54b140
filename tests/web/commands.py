"""Check that the commands which pages show exist, with their options."""

from __future__ import annotations

import html
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import click

from keystead.cli.main import cli

if TYPE_CHECKING:
    from tests.web.conftest import Browser

_CURL = re.compile(r"<h3>curl</h3><pre tabindex=\"0\"><code>(.*?)</code>", re.DOTALL)
_COMMAND = re.compile(r"<h3>CLI</h3><pre tabindex=\"0\"><code>(.*?)</code>", re.DOTALL)


def body_by_curl(browser: Browser) -> Any:
    """Return the body that the first curl command of the open page sends."""
    words = shlex.split(command_by(browser, _CURL))
    return json.loads(words[words.index("--data") + 1])


def words_by_cli(browser: Browser) -> list[str]:
    """Return the words of the first command of the open page."""
    return shlex.split(command_by(browser, _COMMAND))


def command_by(browser: Browser, pattern: re.Pattern[str]) -> str:
    """Return the first text of the open page that a pattern finds."""
    assert browser.page is not None
    return html.unescape(pattern.findall(browser.page.content.decode())[0])


async def check_commands(browser: Browser) -> None:
    """Check each command of the open page."""
    assert browser.page is not None
    found = _COMMAND.findall(browser.page.content.decode())
    assert found
    for text in found:
        check_command(html.unescape(text))


def check_command(text: str) -> None:
    """Parse a command as the CLI does. Raises click's errors for an unknown option."""
    program, *words = shlex.split(text)
    assert program == "keystead"
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, text
        command, words = found, words[1:]
    command.make_context(command.name, words)
