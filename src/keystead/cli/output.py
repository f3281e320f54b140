"""How commands show records: a table for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_records(records: Sequence[dict[str, Any]], columns: Sequence[str], form: str) -> None:
    """Print records: every field as JSON, or these columns as a table."""
    if form == "json":
        click.echo(json.dumps(records, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for record in records:
        table.add_row(*(_text(record.get(column, "")) for column in columns))
    Console(markup=False, highlight=False, soft_wrap=False).print(table)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)
