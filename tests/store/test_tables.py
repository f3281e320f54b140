"""Column types: what is stored is what comes back, on either engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from keystead.store.tables import UtcTimestamp

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

EAST = timezone(timedelta(hours=9))
SQLITE, POSTGRES = (make_url(url).get_dialect()() for url in ("sqlite://", "postgresql+psycopg://"))
MOMENT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES], ids=lambda dialect: dialect.name)
def test_times_are_utc_whatever_their_zone(dialect: Dialect) -> None:
    """SQLite keeps them naive, PostgreSQL answers in the session's zone; null stays null."""
    column = UtcTimestamp()
    stored = column.process_bind_param(MOMENT.astimezone(EAST), dialect)
    assert stored == (MOMENT.replace(tzinfo=None) if dialect.name == "sqlite" else MOMENT)
    answered = stored if dialect.name == "sqlite" else MOMENT.astimezone(EAST)
    loaded = column.process_result_value(answered, dialect)
    assert loaded == MOMENT
    assert loaded.tzinfo is UTC
    assert column.process_bind_param(None, dialect) is None
    assert column.process_result_value(None, dialect) is None


def test_a_naive_time_is_refused() -> None:
    """A naive time is refused, because it would mean the machine's local time."""
    with pytest.raises(ValueError, match="aware"):
        UtcTimestamp().process_bind_param(MOMENT.replace(tzinfo=None), SQLITE)
