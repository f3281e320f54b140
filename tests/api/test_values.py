"""keystead.api.values: what JSON and URLs can hold, as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from keystead.api.values import BOOLEAN, SECRET, SERVER, TEXT, TIME, UUID, integer, one_of, text
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from keystead.api.values import Type

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type_", "given", "expected"),
    [
        (TEXT, "", ""),
        (text(3), "abc", "abc"),
        (integer(-1, 60), -1, -1),
        (integer(-1, 60), "060", 60),
        (integer(0, 2**63), "9223372036854775807", 2**63 - 1),
        (one_of("a", "b"), "b", "b"),
        (BOOLEAN, False, False),
        (BOOLEAN, "TRUE", True),
        (UUID, "43E0C191-dc5c-11e8-9b2c-005056bb017d", "43e0c191-dc5c-11e8-9b2c-005056bb017d"),
        (TIME, "2026-01-02T12:00:00Z", NOON),
        (TIME, "1767355200", NOON),
        (TIME, "2026-01-02T08:00:00-04:00", NOON.astimezone(timezone(timedelta(hours=-4)))),
        (SERVER, "h", ServerAddress("h", 5696)),
        (SECRET, "x", Secret("x")),
    ],
)
def test_values_are_read(type_: Type, given: Any, expected: Any) -> None:
    """A value of the type, in every spelling that clients use."""
    assert type_.parse(given) == expected


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        (TEXT, 1),
        (TEXT, None),
        (text(3), "abcd"),
        (integer(0, 9), True),
        (integer(0, 9), 1.0),
        (integer(0, 9), "1e0"),
        (integer(0, 9), "+1"),
        (integer(0, 9), "1\n"),
        (integer(0, 9), "0" * 20),
        (integer(0, 9), 10),
        (one_of("a", "b"), "c"),
        (one_of("a", "b"), ["a"]),
        (BOOLEAN, 1),
        (BOOLEAN, "yes"),
        (BOOLEAN, None),
        (UUID, "43e0c191dc5c11e89b2c005056bb017d"),
        (UUID, "43e0c191-dc5c-11e8-9b2c-005056bb017d\n"),
        (UUID, 5),
        (TIME, "2026-01-02T12:00:00"),
        (TIME, "P1D"),
        (TIME, "20260102"),
        (TIME, "12345678901"),
        (TIME, "-1767355200"),
        (TIME, 5),
        (SERVER, 5),
        (SERVER, ""),
        (SECRET, 5),
    ],
)
def test_anything_else_is_refused(type_: Type, given: Any) -> None:
    """One exception means "not of this type"."""
    with pytest.raises(ValueError, match=r"."):
        type_.parse(given)
