"""Templates and the answers made of them: Jinja2 with escaping on, strict about names that do not exist."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from keystead.web.links import item_path
from keystead.web.refusing import plain
from keystead.web.security import HEADERS, NO_STORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.errors import OntapError

STATIC: Final[Mapping[str, str]] = {"console.css": "text/css", "console.js": "text/javascript"}
"""The files that pages load, with their media types."""

_VOLATILE = re.compile(r"<!--~-->.*?<!--/~-->", re.DOTALL)
_BEGIN, _END = Markup("<!--~-->"), Markup("<!--/~-->")
_UNITS: Final = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: ``1 key``, ``1,284 keys``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(passed: timedelta) -> str:
    """Return a span of time in its largest unit: ``47 minutes``."""
    for unit, length in _UNITS:
        if passed >= length:
            return counted(passed // length, unit)
    return counted(max(passed // timedelta(seconds=1), 0), "second")


def volatile(text: object) -> Markup:
    """Mark text that changes without a change of what it is about: an age, a time of a request.

    It is left out of a page's tag, so that a poll finds nothing new.
    """
    return _BEGIN + escape(text) + _END


def machine_time(time: datetime) -> str:
    """Return a time for the attribute ``datetime``, which takes no microseconds (HTML)."""
    return time.isoformat(timespec="seconds")


def ago(time: datetime) -> Markup:
    """Return how long ago a time is, as a ``<time>`` element."""
    return _time(time, f"{span(datetime.now(UTC) - time)} ago")


def moment(time: datetime) -> Markup:
    """Return a time in UTC to the minute, as a ``<time>`` element."""
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M} UTC</time>').format(machine_time(time), time.astimezone(UTC))


def clock(time: datetime) -> Markup:
    """Return the time of day at which a page was made, as a ``<time>`` element."""
    return volatile(
        Markup('<time datetime="{}">{:%H:%M:%S} UTC</time>').format(machine_time(time), time.astimezone(UTC))
    )


def _time(time: datetime, text: str) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(machine_time(time), volatile(text))


@cache
def environment() -> Environment:
    """Return the templates. They are compiled when they are used first."""
    made = Environment(
        loader=PackageLoader("keystead.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(ago=ago, clock=clock, moment=moment, counted=counted, span=span, volatile=volatile)
    made.filters.update(item_path=item_path, plain=plain)
    made.globals["asset"] = asset
    return made


def page(template: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """Return a page. Its tag is the same while it says the same."""
    text = environment().get_template(template).render(context)
    tag = hashlib.sha256(_VOLATILE.sub("", text).encode()).hexdigest()[:32]
    return HTMLResponse(text, status, {**HEADERS, **NO_STORE, "etag": f'"{tag}"'})


def error_answer(template: str, context: Mapping[str, Any], error: OntapError) -> Response:
    """Return the page that shows an error, with when to try again if that is known."""
    answer = page(template, {**context, "error": error}, error.kind.status)
    if error.retry_after is not None:
        answer.headers["retry-after"] = str(error.retry_after)
    return answer


def redirect(path: str) -> Response:
    """Return an answer that leads to another page, also after a form."""
    return Response(status_code=303, headers={**HEADERS, **NO_STORE, "location": path})


@cache
def static(name: str) -> tuple[bytes, str]:
    """Return the content of a file that pages load, and its tag."""
    content = (files("keystead.web") / "static" / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]


def asset(name: str) -> str:
    """Return the path of a file that pages load. It changes with the content, so that browsers may keep the file."""
    return f"/static/{static(name)[1]}/{name}"
