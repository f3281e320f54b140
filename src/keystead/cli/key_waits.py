"""What the purge of retired keys waits for, in words, with the command that ends the wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RELEASE: Final = "release"
RELEASING: Final = "keystead security key-manager incarnation release"
_WORDS: Final = {
    RELEASE: f"retired, waits for release: {RELEASING}",
    "retirement": "retired before the database was restored or lost records; destroyed only if it is retired again:"
    " keystead security key-manager key retire",
}


def say_what_waits(records: Sequence[Mapping[str, Any]]) -> None:
    """Print a line on standard error for each retired key whose recovery window alone does not end it."""
    for record in records:
        if words := _WORDS.get(record.get("purge_waits_for", "")):
            click.echo(f"{record['name']}: {words}", err=True)
