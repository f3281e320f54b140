"""The output of records: JSON for programs, a table that fits the terminal for people."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "  "
_MICROSECONDS = re.compile(r"(?<=^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+(?=(Z|[+-]\d\d:\d\d)$)")
"""The microseconds of a time. Only JSON output shows them."""


def print_records(records: Sequence[dict[str, Any]], columns: Sequence[str], form: str) -> None:
    """Print records: every field as JSON, or these columns as a table without empty columns.

    ``columns`` begin with the most important one. If the terminal is too narrow, columns at the end are left out, and a
    line on standard error names them. Only a last column of more than half a line, such as a key id, is printed below
    the others. Output to a pipe is always the whole table, without colours.
    """
    if form == "json":
        click.echo(json.dumps(records, indent=2))
        return
    if not records:
        click.echo("no records", err=True)
        return
    rows = [[shown(record.get(column)) for column in columns] for record in records]
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    names = [columns[index] for index in kept]
    rows = [[row[index] for index in kept] for row in rows]
    widths = [max(map(_width, column)) for column in zip(names, *rows, strict=True)]
    room = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or _breadth(widths) <= room:
        _print_table(names, rows, widths)
    else:
        _print_narrow(names, rows, widths, room)


def print_below(lines: Sequence[str]) -> None:
    """Print lines below a table, after an empty line. Fold them on a terminal. Print nothing if there are none."""
    shown_lines = [printable(line) for line in lines]
    if sys.stdout.isatty():
        shown_lines = [folded(line, shutil.get_terminal_size().columns) for line in shown_lines]
    if shown_lines:
        click.echo("\n".join(["", *shown_lines]))


def print_done(record: dict[str, Any], said: str, form: str) -> None:
    """Print the result of a command that lists nothing: the record as JSON, or words for people."""
    if form == "json":
        print_records([record], (), form)
    else:
        click.echo(said, err=True)


def printable(text: str) -> str:
    """Return a text on one line that cannot control a terminal. Characters that are not printable become escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def folded(line: str, columns: int) -> str:
    """Return a line folded to so many columns. Break only between words, and keep the indentation."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line.lstrip(),
        columns,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: "1 key", "2 keys"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    click.echo(_bold(_line(names, widths)))
    for row in rows:
        click.echo(_line(row, widths))


def _print_narrow(names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], room: int) -> None:
    """Print the first columns, as many as fit. If the last one is wide, print it below them."""
    beside = len(widths) - 1 if 2 * widths[-1] > room else len(widths)
    fitting = max((number for number in range(beside + 1) if _breadth(widths[:number]) <= room), default=0)
    kept = fitting or min(beside, 1)  # the first column says which record it is
    for row in (names, *rows):
        style = _bold if row is names else str
        if kept:
            click.echo(style(_line(row[:kept], widths[:kept])))
        if beside < len(widths) and row[-1]:
            click.echo(style(folded(row[-1], room)))
    if kept < beside:
        missing = ", ".join(names[kept:beside])
        click.echo(
            f"columns left out at {room} columns: {missing}; --output json or a wider terminal shows them", err=True
        )


def _breadth(widths: Sequence[int]) -> int:
    """Return the number of terminal columns that a table takes."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return GAP.join(map(_padded, cells, widths)).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return the number of terminal columns that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _bold(text: str) -> str:
    """Return a text in bold, unless NO_COLOR (https://no-color.org) is set. click removes the style in a pipe."""
    return text if os.environ.get("NO_COLOR") else click.style(text, bold=True)


def shown(value: Any) -> str:
    """Return a value in the form for people: a list with commas, a time without microseconds."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    return printable(_MICROSECONDS.sub("", str(value)))
