"""The state of key servers for people: one line for each, and what to do about those that fail."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from keystead.cli.output import folded, print_records, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HIDDEN: Final = "canary_not_seen"
"""The reason word for a server that answers and does not show our keys."""


def print_status(states: Sequence[dict[str, Any]], form: str) -> None:
    """Print what each node says about each key server: all fields as JSON, or a table with advice below it.

    ``states`` are the API's ``node_states``, each with ``vserver``, ``server``, and ``node`` as a name.
    """
    if form == "json":
        print_records(states, (), form)
        return
    several = len({state["node"] for state in states}) > 1
    columns = ["node"] * several + ["vserver", "server", "state", "since", "cert", "keys"]
    now = datetime.now(UTC)
    print_records([state | _in_short(state, now) for state in states], columns, form)
    for line in dict.fromkeys(line for state in states for line in _advice_about(state)):
        text = printable(line)
        click.echo(folded(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def _in_short(state: Mapping[str, Any], now: datetime) -> dict[str, str]:
    """Return the cells of the table that are shorter than the fields."""
    ends = [datetime.fromisoformat(each["expiry_time"]) for each in state.get("certificates", ())]
    since = state.get("since")
    keys = state.get("keys_visible")
    return {
        "since": f"{datetime.fromisoformat(since).astimezone(UTC):%Y-%m-%d %H:%MZ}" if since else "",
        "cert": f"{(min(ends) - now) // timedelta(days=1)}d" if ends else "",
        "keys": "" if keys is None else "yes" if keys else "no",
    }


def _advice_about(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each thing that is wrong with a server, with the reason and what to do."""
    facts = [f"{name} {state[name]}" for name in ("stage", "reason") if name in state]
    if facts:
        facts += [f"last available {_seconds(state['last_available'])}"] if "last_available" in state else []
        said = f"{state['server']} is {state['state']}: {', '.join(facts)}."
        yield f"{said} {_what_to_do(state.get('reason', ''))}".rstrip()
    if state.get("keys_visible") is False:
        yield f"{state['server']} does not show our keys. {_what_to_do(HIDDEN)}"


def _seconds(time: str) -> str:
    """Return a time of the API in UTC, in seconds."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def _what_to_do(reason: str) -> str:
    """Return the advice about a reason word, or nothing for another word."""
    from keystead.keyservers.failures import ADVICE
    from keystead.keyservers.key_reasons import WORDS

    word = WORDS.get(reason)
    return word.advice if word else ADVICE.get(reason, "")
