"""Nodes that invite and nodes that join: as commands that are talked to; the inviting one also as a thread."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from keystead.app.invite import invite
from keystead.app.join_messages import LIVES_S
from keystead.app.opening import CannotStart
from tests.peers import fork_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.app.invite import Invitation
    from keystead.settings import Settings
    from tests.peers.keystead import Installation

WITHIN_S = 60
TOKEN_LINE = "It asks for this token, which is shown only here:\n"
ASKED = "[y/N]: "


class Talk:
    """A running command: what it printed on both streams, and what it is told. It ends with the block."""

    def __init__(self, installation: Installation, *arguments: str) -> None:
        theirs, self._in = os.pipe()
        self._out, output = os.pipe()
        command, environment = installation.command(*arguments), installation.environment
        self._process = (
            subprocess.Popen(command, env=environment, stdin=theirs, stdout=output, stderr=output)
            if installation.fresh
            else fork_server.start(command[2:], environment, (theirs, output, output))
        )
        self.pid = self._process.pid
        self.said = ""
        for each in (theirs, output):
            os.close(each)

    def wait_for(self, text: str) -> Self:
        """Read until it has printed a text."""
        until = time.monotonic() + WITHIN_S
        while text not in self.said:
            assert self._read(until), self.said
        return self

    def after(self, text: str) -> str:
        """Return the line, or rest of a line, that it prints after a text."""
        self.wait_for(text)
        while "\n" not in self.said.partition(text)[2].lstrip():
            assert self._read(time.monotonic() + WITHIN_S), self.said
        return self.said.partition(text)[2].split()[0]

    def tell(self, line: str) -> None:
        """Type a line."""
        os.write(self._in, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.wait(WITHIN_S)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return the exit status and all that it printed."""
        while self._read(time.monotonic() + WITHIN_S):
            pass
        return self._process.wait(WITHIN_S), self.said

    def _read(self, until: float) -> bool:
        assert select.select([self._out], [], [], max(until - time.monotonic(), 0))[0], self.said
        found = os.read(self._out, 65536).decode()
        self.said += found
        return bool(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.close(self._in)
        os.close(self._out)


class Inviter(Talk):
    """``keystead node invite``, once it waits; without ``listen`` at the node's own address."""

    def __init__(self, installation: Installation, listen: str = "127.0.0.1:0") -> None:
        super().__init__(installation, "node", "invite", *(("--listen", listen) if listen else ()))
        self.url = self.after("--join ")
        self.token = self.after(TOKEN_LINE)


class Joiner(Talk):
    """``keystead init --join``, with the token on standard input."""

    def __init__(self, installation: Installation, url: str, token: str) -> None:
        super().__init__(installation, "init", "--join", url, "--token-file", "-")
        self.tell(token)


def join(member: Installation, new: Installation) -> None:
    """Have a new node join, as a how-to page has it: both show the same, and the operator says yes."""
    with Inviter(member, "") as inviter, Joiner(new, inviter.url, inviter.token) as joiner:
        assert joiner.after("compare:\n") == inviter.wait_for(ASKED).after("fingerprint:\n")
        inviter.tell("y")
        assert inviter.end()[0] == joiner.end()[0] == 0, (inviter.said, joiner.said)


@dataclass
class Inviting:
    """An invitation in this process. ``ended`` is the line that its command would print, or why it was refused."""

    invitation: Invitation
    ended: str = ""

    @property
    def url(self) -> str:
        return self.invitation.url


@contextlib.contextmanager
def inviting(settings: Settings, *, answer: bool | None = True, lives_s: float = LIVES_S) -> Iterator[Inviting]:
    """Invite, and give this answer when asked. At the end of the block wait until the invitation has ended."""
    shown: queue.SimpleQueue[Invitation] = queue.SimpleQueue()
    ended: list[str] = []

    def run() -> None:
        try:
            ended.append(invite(settings, "127.0.0.1:0", shown.put, lambda *_: answer, lives_s))
        except CannotStart as refused:
            ended.append(str(refused))

    thread = threading.Thread(target=run)
    thread.start()
    found = Inviting(shown.get(timeout=WITHIN_S))
    yield found
    thread.join(WITHIN_S)
    (found.ended,) = ended
