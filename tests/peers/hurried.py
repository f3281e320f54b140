"""``python -m tests.peers.hurried MODULE:NAME=SECONDS ... COMMAND ...`` is the ``keystead`` command with other times.

Each ``NAME`` is a constant of a module: a time for which a process waits, and which is not what the test is about.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from importlib import import_module

from keystead.cli.main import main


def hurry(wanted: str) -> None:
    """Set a constant, which is a number of seconds or a timedelta. Raise AttributeError if there is none."""
    place, _, seconds = wanted.partition("=")
    name, _, constant = place.partition(":")
    module = import_module(name)
    is_timedelta = isinstance(getattr(module, constant), timedelta)
    setattr(module, constant, timedelta(seconds=float(seconds)) if is_timedelta else float(seconds))


if __name__ == "__main__":
    while ":" in sys.argv[1]:
        hurry(sys.argv.pop(1))
    main()
