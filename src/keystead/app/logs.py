"""The form of the operator's log: one event per line, on standard error.

Events name what happened, and the object. No event holds a password, a key or a request's body.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, cast

import structlog

from keystead.settings import SettingsError

if TYPE_CHECKING:
    from typing import TextIO

    from keystead.settings import Settings

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("auto", "json", "console")


def configure(settings: Settings) -> None:
    """Send structlog and the standard library's loggers to standard error in one form. Raises SettingsError."""
    for name, value, known in (("log_level", settings.log_level, LEVELS), ("log_format", settings.log_format, FORMATS)):
        if value not in known:
            raise SettingsError(f"setting '{name}': one of {', '.join(known)} is expected, not {value!r}")
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
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
        processors=[*shared, *last],
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
