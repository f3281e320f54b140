"""Scripts of commands with what they must print: read, run in a shell, and compare.

A script is text. ``# `` starts a comment, ``$ `` a command; after it ``> `` stands before each line of standard output,
``! `` before each line of standard error, and ``= N`` is the exit status, 0 when absent. Addresses such as
``127.0.0.1:40001`` stand for key servers that really run (see :func:`Script.run`), the ``uuid``s and key ids of the
output are numbered as they appear, and times are all the same, as are the first words of generated certificate names:
then the rest is compared letter by letter.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 120
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_MINUTE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\dZ")
_KEY_ID = re.compile(r"\b[0-9a-f]{32}[0-9a-f]{32}0{16}\b")
_CERTIFICATE = re.compile(r"\b[0-9a-f]{8}(?=-(client|server_ca)\b)")
_ELAPSED = re.compile(r'"elapsed_ms": [\d.]+')
_CHAIN = re.compile(r"valid \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, serial number [0-9A-F]+")
_TRAFFIC = re.compile(r"\b\d+ connections?, \d+ operations a day to watch it and \d+ for keys")
_TRAFFIC_JSON = re.compile(r'"connections": \d+,\s+"operations_per_day": \{\s+"watching": \d+,\s+"keys": \d+')
_MILLISECONDS = re.compile(r"\b\d+\.\d ms")


@dataclass
class Step:
    """One command and what it must do."""

    command: str
    line: int
    output: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    status: int = 0

    @property
    def transcript(self) -> str:
        """The step in the script's own form, for comparison and for reading a failure."""
        shown = [f"$ {self.command}", *(f"> {line}" for line in self.output), *(f"! {line}" for line in self.errors)]
        return "\n".join([*(line.rstrip() for line in shown), *([f"= {self.status}"] if self.status else [])])


@dataclass(frozen=True)
class Script:
    """The steps of one file."""

    steps: tuple[Step, ...]

    @classmethod
    def read(cls, path: Path) -> Script:
        """Read a script; ValueError names the line that is none."""
        steps: list[Step] = []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            mark, text = line[:1], line[2:]
            if mark in {"", "#"}:
                continue
            if mark == "$":
                steps.append(Step(text, number))
            elif mark == ">":
                steps[-1].output.append(text)
            elif mark == "!":
                steps[-1].errors.append(text)
            elif mark == "=":
                steps[-1].status = int(text)
            else:
                raise ValueError(f"{path.name}:{number}: no mark")
        return cls(tuple(steps))

    def run(self, folder: Path, environment: Mapping[str, str], ports: Mapping[str, int]) -> list[Step]:
        """Run the commands one after the other in ``folder``; return what they did, in the script's words.

        ``ports`` maps the ports that scripts name (all of five digits, so that tables keep their shape) to real ones.
        """
        uuids: dict[str, str] = {}
        real = {str(port): name for name, port in ports.items()}
        done: list[Step] = []
        for step in self.steps:
            run = subprocess.run(
                ["bash", "-c", _replaced(step.command, {name: str(port) for name, port in ports.items()})],
                cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=SECONDS, check=False, start_new_session=True,
            )  # fmt: skip
            output, errors = (_settled(_replaced(text, real), uuids) for text in (run.stdout, run.stderr))
            done.append(Step(step.command, step.line, output.splitlines(), errors.splitlines(), run.returncode))
        return done


def _replaced(text: str, numbers: Mapping[str, str]) -> str:
    return re.sub(r"(?<=:)\d{5}\b", lambda found: numbers.get(found.group(), found.group()), text)


def _settled(text: str, uuids: dict[str, str]) -> str:
    """Return the output without what differs from run to run, every column where it was."""
    text = _UUID.sub(
        lambda found: uuids.setdefault(found.group(), f"00000000-0000-4000-8000-{len(uuids) + 1:012}"), text
    )
    text = _KEY_ID.sub(lambda found: uuids.setdefault(found.group(), f"{len(uuids) + 1:080}"), text)
    text = _MINUTE.sub("2030-01-01 00:00Z", _TIME.sub("2030-01-01T00:00:00+00:00", text))
    text = _CHAIN.sub("valid 2030-01-01 to 2030-01-01, serial number 0", text)
    text = _CERTIFICATE.sub("0" * 8, text)
    text = _TRAFFIC_JSON.sub(lambda found: re.sub(r"\d+", "0", found.group()), text)
    text = _TRAFFIC.sub("0 connections, 0 operations a day to watch it and 0 for keys", text)
    return _MILLISECONDS.sub("0.0 ms", _ELAPSED.sub('"elapsed_ms": 0.0', text))
