"""The types of a resource's fields: how to parse a JSON or URL value, and how errors name the type.

A parser takes any JSON or URL value. It raises ValueError for a value of another type; the text of that error is never
shown. Digit strings are integers and "true" is a boolean, because ONTAP's clients send them so. A boolean is never an
integer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_UNIX_SECONDS = re.compile(r"\d{9,10}", re.ASCII)
"""Times as NetApp Harvest sends them in filters, from 1973 to 2286. Shorter ones may be dates."""
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Type:
    """A type. ``text`` is its form in errors and on the reference page.

    ``stored`` converts a value to the form of the store's column. ``textual`` means that the column holds the text that
    is shown, so that patterns can search it. ``caseless`` means that patterns ignore case. ``schema`` is the JSON
    Schema of the shown value, which every client may also send.
    """

    text: str
    parse: Callable[[Any], Any]
    stored: Callable[[Any], Any] = lambda value: value
    textual: bool = False
    caseless: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"}, compare=False)

    def folded(self, shown: Any) -> str:
        """Return a shown value, or a piece of a pattern, as text for comparing patterns."""
        return str(shown).lower() if self.caseless else str(shown)

    def comparable(self, shown: Any) -> Any:
        """Return the value of a shown text. Return it unparsed if it was stored before the type became stricter."""
        try:
            return self.parse(shown)
        except ValueError:
            return shown


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")  # noqa: TRY004 - one exception means "not of this type"
    return value


def text(limit: int) -> Type:
    """Return the type of a text of at most ``limit`` characters."""

    def parse(value: Any) -> str:
        if len(_text(value)) > limit:
            raise ValueError("too long")
        return str(value)

    return Type(
        f"<string of up to {limit} characters>", parse, textual=True, schema={"type": "string", "maxLength": limit}
    )


def name(limit: int) -> Type:
    """Return the type of a name: 1 to ``limit`` printable characters without blanks at the ends."""

    def parse(value: Any) -> str:
        if not 0 < len(_text(value)) <= limit or not value.isprintable() or value != value.strip():
            raise ValueError("not a name")
        return str(value)

    schema = {"type": "string", "minLength": 1, "maxLength": limit}
    return Type(f"<name of up to {limit} printable characters>", parse, textual=True, schema=schema)


def integer(low: int, high: int) -> Type:
    """Return the type of a whole number from ``low`` to ``high``."""

    def parse(value: Any) -> int:
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError("not a whole number in range")
        return value

    return Type(f"<{low}..{high}>", parse, schema={"type": "integer", "minimum": low, "maximum": high})


def one_of(*words: str) -> Type:
    """Return the type of a value that is one of a few words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError("not one of the words")
        return _text(value)

    return Type(f"<{'|'.join(words)}>", parse, textual=True, schema={"type": "string", "enum": [*map(str, words)]})


def place_in_list(pattern: str) -> Type:
    """Return the type of a record's place in a list, as the link to the next page writes it."""
    form = re.compile(pattern, re.ASCII | re.DOTALL)

    def parse(value: Any) -> str:
        if not form.fullmatch(_text(value)):
            raise ValueError("not a place")
        return str(value)

    return Type("<place in the list>", parse)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(_text(value).lower())
    if known is None:
        raise ValueError("not a boolean")
    return known


def _uuid(value: Any) -> str:
    if not _UUID.fullmatch(_text(value)):
        raise ValueError("not a uuid")
    return str(value).lower()


def _time(value: Any) -> datetime:
    if _UNIX_SECONDS.fullmatch(_text(value)):
        return datetime.fromtimestamp(int(value), UTC)
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError("a time without zone")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time before year 1 or after year 9999") from None


BOOLEAN = Type("<true|false>", _boolean, caseless=True, schema={"type": "boolean"})
UUID = Type("<UUID>", _uuid, textual=True, caseless=True, schema={"type": "string", "format": "uuid"})
TIME = Type("<ISO 8601 date and time with zone>", _time, schema={"type": "string", "format": "date-time"})
TEXT = Type("<string>", _text, textual=True)
SECRET = Type("<secret string>", lambda value: Secret(_text(value)), schema={"type": "string", "format": "password"})
SERVER = Type("<host[:port]>", lambda value: ServerAddress.parse(_text(value)), stored=attrgetter("key"), caseless=True)
NUMBER = Type("<number>", float, schema={"type": "number"})
OBJECT = Type("<object>", lambda value: value, schema={"type": "object"})


class Parameter(NamedTuple):
    """A parameter of the URL."""

    type: Type
    help: str
