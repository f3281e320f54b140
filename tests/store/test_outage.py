"""How long transactions go on while the database is away, by a table of times."""

from __future__ import annotations

import pytest

from keystead.service.ports.store import StorageError
from keystead.store.outage import Outage


def test_a_transaction_goes_on_for_three_seconds() -> None:
    """It counts from its submission, or from the last transaction that reached the database if that is later."""
    outage = Outage()
    assert [outage.seen(now, 10.0) for now in (10.1, 12.9, 13.0)] == [True, True, False]
    assert not outage.seen(13.1, 13.1), "the outage is older than the transaction"
    outage.over(20.0)
    assert outage.seen(22.9, 19.0) is False, "a transaction that waited for a lock has used up its time"
    assert outage.seen(22.9, 22.0)
    assert not outage.seen(23.0, 22.0)


def test_an_outage_that_was_just_seen_is_not_tried_again() -> None:
    """So that a call of many transactions ends in time. A second later one of them tries."""
    outage = Outage()
    outage.check(10.0)
    outage.seen(12.0, 10.0)
    outage.check(12.9)
    for now in (13.0, 13.9):
        outage.seen(13.0, 10.0)
        with pytest.raises(StorageError, match="just found out"):
            outage.check(now)
    outage.check(14.0)
    outage.over(14.0)
    outage.check(14.0)
