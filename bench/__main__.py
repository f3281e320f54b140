"""``./dev bench [-o json] [NAME ...]``: measure the budgets, each against a peer or a floor in the same run.

Prints a table, or with ``-o json`` one JSON object and nothing else on standard output (progress goes to standard
error). It never fails for being over budget: a reader judges, and machines are noisy.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.row import Row

MODULES = (
    "bench.codec",
    "bench.client",
    "bench.connect",
    "bench.api",
    "bench.lists",
    "bench.audit",
    "bench.keys",
    "bench.growth",
    "bench.connections",
    "bench.console",
    "bench.monitor",
    "bench.process",
    "bench.nodes",
)
LIMIT_S = 540


def rows() -> dict[str, Callable[[], Row]]:
    """Collect what every module measures, by name."""
    found: dict[str, Callable[[], Row]] = {}
    for module in MODULES:
        found |= importlib.import_module(module).ROWS
    return found


def table(results: dict[str, Row]) -> Table:
    """Draw the results."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("what", "measured", "budget", "against"):
        drawn.add_column(column)
    for name, row in results.items():
        style = {True: "green", False: "red", None: ""}[row.within]
        sign = "≥" if row.better == "higher" else "≤"
        budget = "" if row.budget is None else f"{sign} {row.budget:g} {row.unit}"
        drawn.add_row(
            name,
            f"[{style}]{row.value:.3g} {row.unit}[/]" if style else f"{row.value:.3g} {row.unit}",
            budget,
            row.against,
        )
    return drawn


def main() -> None:
    """Run the rows that were asked for, or all."""
    known = rows()
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(known))
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(known)}")
    results: dict[str, Row] = {}
    began = time.monotonic()
    for name in options.names or known:
        if time.monotonic() - began > LIMIT_S:
            print(f"out of time before {name}", file=sys.stderr)
            break
        started = time.monotonic()
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        results[name] = known[name]()
        print(f" {time.monotonic() - started:.1f} s", file=sys.stderr)
    if options.output == "json":
        print(json.dumps({name: row.as_json() for name, row in results.items()}))
        return
    console = Console()
    console.print(table(results))
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} cores; medians; ratios are of one run")


if __name__ == "__main__":
    main()
