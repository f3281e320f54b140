"""How the demo looks: requests, answers and tables, pleasant on terminals of 80 columns and more.

It draws what it is given; it starts and asks nothing.
"""

from __future__ import annotations

import json
import re
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDEST = 120
INDENT = 4
SECRET = {"private_key", "password", "material"}
MARKS = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("·", "dim")}
_KEY_ID = re.compile(r"\b([0-9a-f]{48})[0-9a-f]{32}\b")
_UUID = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")

console = Console(highlight=False)
console.width = min(console.width, WIDEST)


def rule(title: str) -> None:
    """Begin or end a part."""
    console.print(Rule(title))


def say(text: str) -> None:
    """Say what happens."""
    console.print(Text(text))


def request(title: str, line: str, body: Any) -> None:
    """Show what is asked."""
    console.print()
    console.print(Text(title, style="bold"))
    console.print(Text(f"  {_short(line)}", style="cyan"))
    if body is not None:
        _print_json(body)


def answer(body: Any, *, accepted: bool, milliseconds: float) -> None:
    """Show what came back."""
    word, style = ("accepted", "green") if accepted else ("refused", "bold red")
    console.print(Text(f"  {word} in {milliseconds:.0f} ms", style=style))
    _print_json(body)


def diagnosis(records: Sequence[dict[str, Any]]) -> None:
    """Draw the stages of a dry run: how far each server came, and why no further."""
    for record in records:
        line = Text(f"    {record['server']}")
        for stage in record["stages"]:
            mark, style = MARKS[stage["state"]]
            line.append(f"  {mark} {stage['stage']}", style=style)
        console.print(line)
        if not record["accepted"]:
            console.print(Text(f"      {record['code']} {record['reason']}", style="red"))
        certificate = record["learned"].get("certificate")
        if certificate:
            shown = f"      it showed {certificate['subject']}, issued by {certificate['issuer']}"
            console.print(Text(shown, style="dim"))
        if "at_fault" in record:
            fault = record["at_fault"]
            whose = {"server": "its", "client": "our", "server_ca": "the installed"}[fault["whose"]]
            ends = fault["expiry_time"][:10]
            named = f"      at fault is {whose} certificate {fault['subject']} of {fault['issuer']}, valid until {ends}"
            console.print(Text(named, style="red"))


def key_servers(title: str, stored: Sequence[dict[str, Any]], probed: Sequence[dict[str, Any]]) -> None:
    """Draw the key servers as they are stored, and how they are now."""
    table = _table(title, "#", "server", "state", "TLS", "KMIP", "certificate", "timeout")
    for number, (server, probe) in enumerate(zip(stored, probed, strict=True), 1):
        learned = probe["learned"]
        versions = learned.get("kmip_versions", ["-"])
        table.add_row(
            str(number),
            server["server"],
            Text("available", style="green") if probe["accepted"] else Text("not_responding", style="red"),
            learned.get("tls_version", "-").removeprefix("TLSv"),
            f"{versions[-1]} to {versions[0]}",
            _days_left(learned.get("certificate", {}).get("not_after")),
            f"{server['timeout']} s",
        )
    console.print()
    console.print(table)


def copies(shown: Sequence[dict[str, Any]]) -> None:
    """Draw the copies of a key."""
    table = _table(None, "server", "presence", "state", "proven")
    for copy in shown:
        table.add_row(copy["server"], copy["presence"], copy.get("object_state", "-"), copy.get("proven", "-"))
    console.print(Padding(table, (0, 0, 0, INDENT)))


def survival(shown: dict[str, Any]) -> None:
    """Draw how many keys would be unreadable if servers failed, by how many fail: the worst of such sets."""
    worst: dict[int, int] = {}
    for loss in shown["losses"]:
        count = len(loss["domains"])
        worst[count] = max(worst.get(count, 0), loss["keys"])
    table = _table(None, "servers lost", "keys unreadable at worst")
    for count, keys in sorted(worst.items()):
        table.add_row(str(count), f"{keys} of {shown['keys']}")
    console.print(Padding(table, (0, 0, 0, INDENT)))


def _table(title: str | None, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _days_left(not_after: str | None) -> str:
    return f"{(datetime.fromisoformat(not_after) - datetime.now(UTC)).days} days left" if not_after else "-"


def _print_json(value: Any) -> None:
    room = console.width - INDENT
    for line in _laid_out(_shown(value), room).splitlines():
        depth = len(line) - len(line.lstrip())
        for part in textwrap.wrap(line, room, subsequent_indent=" " * (depth + 2), break_on_hyphens=False):
            console.print(Text(" " * INDENT) + JSONHighlighter()(Text(part)))


def _laid_out(value: Any, room: int) -> str:
    """JSON on as few lines as fit: a value on one line if there is room for it, else one line per member."""
    text = json.dumps(value)
    if len(text) < room or not isinstance(value, dict | list) or not value:
        return text
    if isinstance(value, dict):
        members = [f"{json.dumps(name)}: {_laid_out(each, room - 2)}" for name, each in value.items()]
    else:
        members = [_laid_out(each, room - 2) for each in value]
    inner = ",\n".join(members).replace("\n", "\n  ")
    return f"{{\n  {inner}\n}}" if isinstance(value, dict) else f"[\n  {inner}\n]"


def _shown(value: Any) -> Any:
    """Shorten identifiers and PEM texts, and show no private key and no key material at all."""
    if isinstance(value, dict):
        return {name: "***" if name in SECRET else _shown(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, str):
        return f"{value[:27]}..." if value.startswith("-----BEGIN") else _short(value)
    return value


def _short(text: str) -> str:
    return _KEY_ID.sub(r"\1...", _UUID.sub(r"\1...", text))
