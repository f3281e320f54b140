"""How far the work of a resumable job is, as a frozen value. The rules of jobs are in jobs.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resumable:
    """The work of a resumable job, and how far it is.

    ``kind`` names the work. ``parameters`` are its JSON object as text, without secrets. ``origin`` tells the call that
    began it. ``cursor`` is the JSON text from which the work goes on, empty before the first step. ``done`` of
    ``total`` are counted as the work counts. ``requested`` is an action that the next end of a step obeys, or empty.
    """

    kind: str
    parameters: str
    origin: str
    cursor: str = ""
    done: int = 0
    total: int = 0
    requested: str = ""
