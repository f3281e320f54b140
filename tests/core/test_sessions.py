"""How long a session of the console lasts, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keystead.core.model import Account, Role
from keystead.core.sessions import (
    CONFIRMED_FOR,
    IDLE,
    LIFETIME,
    NOTED_EVERY,
    Session,
    digest_of,
    ends_at,
    is_confirmed,
    is_to_be_noted,
    is_valid,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT = Account("admin", Role.ADMIN, "hash", version=3)
SESSION = Session("d", "admin", 3, "", "192.0.2.1", NOON, NOON, NOON)
SECOND = timedelta(seconds=1)


def test_the_digest_tells_nothing_of_the_token() -> None:
    """It is a SHA-256, also of a token that no browser got from us."""
    assert digest_of("token") == "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0"
    assert len(digest_of("\udcff")) == 64


@pytest.mark.parametrize(
    ("now", "change", "valid"),
    [
        (NOON, {}, True),
        (NOON + IDLE - SECOND, {}, True),
        (NOON + IDLE, {}, False),
        (NOON + LIFETIME - SECOND, {"used": NOON + LIFETIME - 2 * SECOND}, True),
        (NOON + LIFETIME, {"used": NOON + LIFETIME - 2 * SECOND}, False),
        (NOON, {"account_version": 2}, False),
    ],
)
def test_how_long_it_lasts(now: datetime, change: dict[str, Any], valid: bool) -> None:
    """Half an hour without use, twelve hours in all, and only while the account is as it was."""
    assert is_valid(replace(SESSION, **change), ACCOUNT, now) is valid


def test_it_ends_with_the_account() -> None:
    """A deleted or a locked account opens no page."""
    assert not is_valid(SESSION, None, NOON)
    assert not is_valid(SESSION, replace(ACCOUNT, locked=True), NOON)
    assert ends_at(SESSION) == NOON + IDLE


def test_what_is_noted_and_asked_again() -> None:
    """The use is stored once a minute; the password holds for five minutes, and no certificate stands for it."""
    assert not is_to_be_noted(SESSION, NOON + NOTED_EVERY - SECOND)
    assert is_to_be_noted(SESSION, NOON + NOTED_EVERY)
    assert is_confirmed(SESSION, NOON + CONFIRMED_FOR - SECOND)
    assert not is_confirmed(SESSION, NOON + CONFIRMED_FOR)
    assert not is_confirmed(replace(SESSION, confirmed=None), NOON)
