"""Pages of ``docs/`` as scripts: their blocks are run in the order of the page, in one shell, in a folder of their own.

A block that is fenced as one of :data:`PASTED` is run as it stands. Those of :data:`SHOWN` are not. A block that begins
with a comment of a file's name (``# site.yml``) is that file.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

from tests.peers.fork_server import programs
from tests.peers.keystead import EGRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DOCS = Path(__file__).parents[2] / "docs"
PASTED = ("bash", "python")
SHOWN = ("console", "text", "toml", "ini", "yaml")
SECONDS = 900
"""When a page is ended that does not end. This is no measure of speed, because machines are shared."""

_PARTS = re.compile(r"^#+ (?P<heading>.*)$|^ *```(?P<language>.*)\n(?P<text>(?:.*\n)*?) *```$", re.MULTILINE)
_FILE = re.compile(r"# ([\w-]+\.\w+)\n")
_SERVE = """rm -f serve.out
{} > serve.out 2> serve.err &
echo $! > serve.pid
until grep -qs '^listening on' serve.out; do kill -0 $! || break; sleep 0.05; done
"""
_PAUSE = """pause() {
  echo "$1" > pause.new
  mv pause.new pause
  while [ -e pause ] && kill -0 "$PPID"; do sleep 0.05; done
}
"""


@dataclass(frozen=True)
class Block:
    """The content of one fence, and the heading above it."""

    heading: str
    language: str
    text: str

    @property
    def names(self) -> list[str]:
        """The variables that the reader gives values of his own: a block of them has nothing but ``export``."""
        only_names = all(line.startswith("export ") for line in self.text.splitlines())
        return re.findall(r"(\w+)=", self.text) if only_names else []

    @property
    def file(self) -> str | None:
        """The name of the file that the block is."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    @property
    def script(self) -> str:
        """Shell code that runs or writes the block. A service is started as in a terminal of its own."""
        if self.file:
            return f"cat > {self.file} <<'THE_FILE'\n{self.text}THE_FILE\n"
        if self.language == "python":
            return f"python3 - <<'PYTHON'\n{self.text}PYTHON\n"
        if self.text.startswith("keystead serve"):
            return _SERVE.format(self.text.strip())
        return self.text


def blocks(page: str, port: int, section: str = "") -> Iterator[Block]:
    """Yield the fenced blocks of a page below ``docs/``, or of one section, with the port of the reader's service."""
    heading, text = "", (DOCS / page).read_text().replace("8443", str(port))
    if section:
        (text,) = (
            part for part in re.split(r"^(?=## )", text, flags=re.MULTILINE) if part.startswith(f"## {section}\n")
        )
    for part in _PARTS.finditer(text):
        if part["heading"]:
            heading = part["heading"]
        else:
            yield Block(heading, part["language"], dedent(part["text"]))


def environment(folder: Path, port: int, names: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a reader whose home is ``folder`` and who gave ``names`` these values."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")} | {
        "PATH": os.pathsep.join([programs(), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder),
        "KEYSTEAD_LISTEN": f"127.0.0.1:{port}",
        "KEYSTEAD_EGRESS_ALLOW": EGRESS,
        **names,
    }


@dataclass(frozen=True)
class Outcome:
    """How a script ended (negative: by a signal), and what it printed."""

    status: int
    out: str
    err: str


def run(
    script: str, folder: Path, variables: Mapping[str, str], paused: Callable[[str], None] | None = None
) -> Outcome:
    """Run a script by bash, and end it with all that it started.

    A line ``pause WORDS`` of the script calls ``paused`` with these words, and waits until it returns.
    """
    pause = folder / "pause"
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        shell = subprocess.Popen(
            ["bash", "-c", _PAUSE + script], cwd=folder, env=dict(variables),
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            until = time.monotonic() + SECONDS
            while shell.poll() is None and time.monotonic() < until:
                if paused is not None and pause.exists():
                    paused(pause.read_text().strip())
                    pause.unlink()
                time.sleep(0.02)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # a service is in its session
            shell.wait()
    return Outcome(shell.returncode, (folder / "out").read_text(), (folder / "err").read_text())
