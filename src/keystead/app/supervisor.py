"""Tells systemd when this process serves, stops and is alive, by the protocol of sd_notify(3).

A supervisor that waits for notes names its socket in ``NOTIFY_SOCKET``. Without that, nothing is sent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)


class Supervisor:
    """The program that started this process, as the environment names it."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = _watchdog_s(environment)

    def ready(self) -> None:
        """Say that the process serves."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the process begins to stop."""
        self._send("STOPPING=1")

    async def feed(self) -> None:
        """Say that the event loop runs, three times in each period of the watchdog, for ever.

        Call it in the loop that serves: one that is stuck says nothing, and the supervisor starts the process again.
        """
        while self._watchdog_s:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 3)

    def _send(self, note: str) -> None:
        """Send one note. A failure is logged only, because the service must not fail with its supervisor."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(note.encode(), self._address)
        except OSError as error:
            log.warning("the supervisor cannot be told", note=note, reason=error.strerror)


def _address(name: str) -> str:
    """Return the address of a socket: ``@`` at the beginning stands for the NUL of an abstract name."""
    return f"\0{name[1:]}" if name.startswith("@") else name


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return the period of the watchdog of this process in seconds, or 0 if there is none."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(os.getpid()))
    is_ours = pid == str(os.getpid()) and microseconds.isascii() and microseconds.isdecimal()
    return int(microseconds) / 1_000_000 if is_ours else 0.0
