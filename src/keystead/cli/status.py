"""``keystead status``: what needs somebody, the worst first, under one sentence of verdict."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.commands import Command
from keystead.cli.output import counted, folded, print_records, printable
from keystead.cli.rest import api, api_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NOTHING, WARNINGS, CRITICAL = 0, 10, 20
_STATUS: Final = {"critical": CRITICAL, "warning": WARNINGS}
_WIDTH: Final = 100


@click.command(cls=Command)
@api_command
def status(**flags: Any) -> None:
    """Say what needs somebody: what is wrong, why, what to do and, where known, since when.

    Exit status: 0 nothing needs anybody; 10 there are warnings; 20 a key server is lost or keys cannot be read. As for
    every command, 1 is a refusal, 2 is usage and 3 an unreachable service.

    Example: keystead status
    """
    with api(flags) as service:
        items = service.records("/support/attention", fields="*")
    if flags["output"] == "json":
        print_records(items, (), "json")
    else:
        print_items(items)
    sys.exit(exit_status(items))


def exit_status(items: Iterable[Mapping[str, Any]]) -> int:
    """Return the exit status: that of the worst item."""
    return max((_STATUS[item["severity"]] for item in items), default=NOTHING)


def verdict(items: Sequence[Mapping[str, Any]]) -> str:
    """Return one sentence about all items."""
    if not items:
        return "Nothing needs attention."
    critical = [item for item in items if item["severity"] == "critical"]
    subjects = Counter(item["subject"] for item in critical)
    lost, warnings = subjects["key_server"], len(items) - len(critical)
    servers = f"{counted(lost, 'key server')} {'is' if lost == 1 else 'are'} lost" if lost else "No key server is lost"
    keys = "keys cannot be read" if subjects["keys"] else "every key can be read"
    others = f"there {'is' if warnings == 1 else 'are'} {counted(warnings, 'warning') if warnings else 'no warnings'}"
    return f"{servers}, {keys}, and {others}."


def print_items(items: Sequence[Mapping[str, Any]]) -> None:
    """Print the verdict, then each item with its advice and its command."""
    click.echo(verdict(items))
    for item in items:
        owner = f" of {item['svm']['name']}" if "svm" in item else ""
        click.echo()
        _line(f"{item['severity'].upper()}  {_words(item['subject'])} {item['name']}{owner}")
        if "since" in item:
            _line(f"  since {_time(item['since'])}")
        _line(f"  {item['reason']}")
        if "advice" in item:
            _line(f"  {item['advice']}")
        click.echo(f"  $ {printable(item['command'])}")


def _line(text: str) -> None:
    """Print a line, folded to the width of the terminal, but not in a pipe."""
    line = printable(text)
    click.echo(folded(line, min(shutil.get_terminal_size().columns, _WIDTH)) if sys.stdout.isatty() else line)


def _words(subject: str) -> str:
    return subject.replace("_", " ")


def _time(text: str) -> str:
    """Return a time in UTC, and how long ago it was."""
    time = datetime.fromisoformat(text).astimezone(UTC)
    return f"{time:%Y-%m-%d %H:%M:%S} UTC ({_ago(datetime.now(UTC) - time)} ago)"


def _ago(passed: timedelta) -> str:
    """Return a span of time in its largest unit."""
    for unit, seconds in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if passed >= timedelta(seconds=seconds):
            return counted(passed // timedelta(seconds=seconds), unit)
    return counted(max(passed // timedelta(seconds=1), 0), "second")
