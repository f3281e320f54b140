"""The process itself: its clock, its metrics and its listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Telemetry(Protocol):
    """The counters and measurements of this process."""

    def answered(self, method: str, status: int) -> None: ...
    def refused(self, reason: str) -> None: ...
    async def exposition(self) -> tuple[bytes, str]:
        """Return all metrics as text, and its media type."""
        ...


class Clock(Protocol):
    """The time, an argument of everything that depends on it."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...


class ListenerTls(NamedTuple):
    """The TLS that the listener offers: names of versions, the newest first, and IANA's names of suites."""

    protocol_versions: tuple[str, ...]
    cipher_suites: tuple[str, ...]
