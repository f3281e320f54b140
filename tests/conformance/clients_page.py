"""The tables of docs/explanation/clients.md: which examples of other people's clients pass. A test run makes them.

A test that ran all examples of a section calls :func:`check`. It fails if the page says something else. With
``KEYSTEAD_WRITE_CLIENTS=1`` in the environment it writes the page instead.
"""

from __future__ import annotations

import os
import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "clients.md"


class Example(NamedTuple):
    """One example that was run: the resource or module that it documents, its own name, and why it is known to fail."""

    group: str
    name: str
    failure: str = ""


def check(section: str, examples: Iterable[Example]) -> None:
    """Compare the section's table with the page, or write it there. A section stands between two comments."""
    text = PAGE.read_text()
    begin, end = f"<!-- {section}: begin -->\n", f"<!-- {section}: end -->"
    assert begin in text, f"{PAGE.name} has no section {section}"
    table = "\n".join(_table(sorted(examples))) + "\n"
    written = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: begin + table + end, text, flags=re.DOTALL)
    if os.environ.get("KEYSTEAD_WRITE_CLIENTS"):
        PAGE.write_text(written)
    assert PAGE.read_text() == written, f"{PAGE.name} is stale: run this test with KEYSTEAD_WRITE_CLIENTS=1"


def _table(examples: list[Example]) -> list[str]:
    """Return a row per group with how many examples pass, then a row per example that is known to fail."""
    rows = ["", "| of | examples | pass | fail as expected |", "|---|---|---|---|"]
    for group, members in groupby(examples, key=lambda each: each.group):
        of_group = list(members)
        failures = sum(bool(each.failure) for each in of_group)
        rows.append(f"| {group} | {len(of_group)} | {len(of_group) - failures} | {failures} |")
    known = [each for each in examples if each.failure]
    if known:
        rows += ["", "| fails as expected | why |", "|---|---|"]
        rows += [f"| {each.group}: {each.name} | {each.failure} |" for each in known]
    return [*rows, ""]
