"""Exponential back-off: how long the pauses are, and when they end."""

from __future__ import annotations

from keystead.core.backoff import Backoff


def test_each_pause_is_twice_as_long_up_to_the_longest() -> None:
    """The first lasts ``first_s``. A success begins anew."""
    backoff, now, lengths = Backoff(first_s=3, longest_s=20), 100.0, []
    for _ in range(5):
        backoff.failed(now)
        lengths.append(backoff.until - now)
        now = backoff.until
    assert lengths == [3, 6, 12, 20, 20]
    backoff.succeeded()
    backoff.failed(now)
    assert backoff.until == now + 3


def test_a_pause_is_over_at_its_end() -> None:
    """Not a moment earlier; after a success at once; and there is none at first."""
    backoff = Backoff(first_s=3, longest_s=20)
    assert backoff.is_over(0.0)
    backoff.failed(100.0)
    assert [backoff.is_over(now) for now in (100.0, 102.9, 103.0)] == [False, False, True]
    backoff.succeeded()
    assert backoff.is_over(100.0)


def test_pauses_of_one_length() -> None:
    """Equal limits give equal pauses."""
    backoff = Backoff(first_s=5, longest_s=5)
    for now in (0.0, 5.0, 10.0):
        backoff.failed(now)
        assert backoff.until == now + 5
