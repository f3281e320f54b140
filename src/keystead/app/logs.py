"""The form of the operator's log: one event per line, on standard error.

Events name what happened, and the object. No event holds a password, a key or a request's body.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from typing import TYPE_CHECKING, Final, cast

import structlog
from cachetools import LRUCache

from keystead.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from structlog.typing import EventDict

    from keystead.core.model import Event
    from keystead.settings import Settings

log = structlog.get_logger(__name__)

_OF_SEVERITY: Final = {"emergency": logging.ERROR, "alert": logging.ERROR, "error": logging.ERROR}
"""Log levels of events, by severity; others are information."""

REPEATED_S: Final = 600.0
"""Seconds for which a line about the same failure of the same address is left out."""

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "console")


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's loggers to standard error in one form. Raises SettingsError."""
    for name, value, known in (("log_level", settings.log_level, LEVELS), ("log_format", settings.log_format, FORMATS)):
        if value not in known:
            raise SettingsError(f"setting '{name}': one of {', '.join(known)} is expected, not {value!r}")
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    first: list[structlog.typing.Processor] = [FirstOfEach()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.typing.Processor] = (
        [renderer] if console else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    stream = cast("TextIO", _Log(sys.stderr))
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*first, *shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("keystead").setLevel(level)  # ours at the wanted level, libraries from warnings on


def log_events(events: Sequence[Event]) -> None:
    """Write a line for each event, with its parameters. Called with the events of each commit."""
    for event in events:
        log.log(_OF_SEVERITY.get(event.severity, logging.INFO), event.name, **dict(event.parameters))


class FirstOfEach:
    """A processor that drops a line if the same failure of the same address was logged in the last ten minutes.

    A failure is a line with ``address`` and ``why``. The next line that is written says how many were left out. Events
    are never dropped, because each of them is a change.
    """

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._seen: LRUCache[tuple[str, str, str], tuple[float, int]] = LRUCache(maxsize=10_000)

    def __call__(self, _: object, __: str, line: EventDict) -> EventDict:
        """Return the line, or raise DropEvent."""
        if "address" not in line or "why" not in line:
            return line
        key = (str(line["event"]), str(line["address"]), str(line["why"]))
        now = self._timer()
        written, left_out = self._seen.get(key, (-math.inf, 0))
        if now - written < REPEATED_S:
            self._seen[key] = written, left_out + 1
            raise structlog.DropEvent
        self._seen[key] = now, 0
        if left_out:
            line["repeated"] = left_out
        return line


class _Log:
    """A stream that ignores write errors (a full disk), so that the service goes on without its log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()
