"""Pauses of servers that take no copy: how long they are, and which keys are tried after them."""

from __future__ import annotations

from keystead.service.keys.keeping.backoff import FIRST_S, LONGEST_S, Pauses


def test_a_pause_ends() -> None:
    """It concerns one server, and ends with the keys after the one that was not taken; then with all."""
    pauses = Pauses()
    pauses.failed("full", "k5", 0.0)
    assert pauses.may_try("well", "k1", 0.0)
    assert not pauses.may_try("full", "k9", FIRST_S - 1)
    pauses.walked(FIRST_S - 1)
    assert [pauses.may_try("full", key, FIRST_S) for key in ("k1", "k5", "k6")] == [False, False, True]
    pauses.walked(FIRST_S)
    assert pauses.may_try("full", "k1", FIRST_S)


def test_pauses_become_longer() -> None:
    """Twice as long with each failure after one, up to the longest; not by what fails at the same time."""
    pauses, now, lengths = Pauses(), 0.0, []
    for _ in range(8):
        for key in ("k2", "k3", "k1"):
            pauses.failed("full", key, now)
        began = now
        while not pauses.may_try("full", "k4", now):
            now += 1.0
        lengths.append(now - began)
        assert not pauses.may_try("full", "k3", now)
    assert lengths == [60, 120, 240, 480, 960, LONGEST_S, LONGEST_S, LONGEST_S]


def test_pauses_are_forgotten() -> None:
    """A server that took copies for long, or was removed, begins anew; all do when somebody asks for it."""
    pauses = Pauses()
    pauses.failed("full", "k1", 0.0)
    pauses.failed("full", "k1", FIRST_S)
    late = 3 * FIRST_S + LONGEST_S + 1
    pauses.failed("full", "k1", late)
    assert pauses.may_try("full", "k2", late + FIRST_S)
    pauses.walked(late + FIRST_S + LONGEST_S + 1)
    assert pauses._by_server == {}
    pauses.failed("full", "k1", 0.0)
    pauses.clear()
    assert pauses.may_try("full", "k1", 0.0)
