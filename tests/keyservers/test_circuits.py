"""Circuit breakers with a clock of the test: what opens them, who is let in, and what closes them."""

from __future__ import annotations

import pytest

from keystead.keyservers.circuits import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    QUICK_FAILURES,
    SAMPLES,
    Circuit,
    Latencies,
    Permission,
)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return the circuit's clock."""
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    """Return a circuit that is closed."""
    return Circuit(clock)


def is_open(circuit: Circuit) -> bool:
    """Return True if it is open now."""
    return circuit.open


def entered(circuit: Circuit) -> Permission:
    """Return the permission to enter, which must be given."""
    leave = circuit.enter()
    assert leave is not None
    return leave


def opened(circuit: Circuit) -> None:
    """Open the circuit by one time-out."""
    entered(circuit).failed("no_answer", slow=True)
    assert is_open(circuit)


def test_one_time_out_opens_it(circuit: Circuit) -> None:
    """One time-out opens the circuit; later sessions are refused with its reason."""
    leaves = entered(circuit), entered(circuit)
    leaves[0].failed("connect_timed_out", slow=True)
    assert circuit.enter() is None
    assert circuit.reason == "connect_timed_out"
    assert not leaves[1].valid


def test_an_open_one_may_be_tried_anew(circuit: Circuit, clock: Clock) -> None:
    """An explicit new try is let in during the pause; success closes the circuit, failure leaves the pause as it is."""
    opened(circuit)
    for slow in (False, True) * QUICK_FAILURES:
        leave = circuit.enter(anew=True)
        assert leave is not None
        assert leave.valid
        leave.failed("connection_refused", slow=slow)
        leave.end()
        assert is_open(circuit)
    clock.now += FIRST_PAUSE_S
    trial = entered(circuit)
    leave = circuit.enter(anew=True)
    assert leave is not None
    leave.end()
    assert circuit.enter() is None  # because the trial still runs
    trial.failed("connection_refused", slow=False)
    clock.now += FIRST_PAUSE_S
    assert is_open(circuit)
    leave = circuit.enter(anew=True)
    assert leave is not None
    leave.succeeded()
    assert not is_open(circuit)


def test_quick_failures_open_it_together(circuit: Circuit) -> None:
    """A quick failure counts less than a time-out; a success in between resets the count."""
    for _ in range(QUICK_FAILURES - 1):
        entered(circuit).failed("connection_refused", slow=False)
    entered(circuit).succeeded()
    for _ in range(QUICK_FAILURES):
        assert not is_open(circuit)
        entered(circuit).failed("connection_refused", slow=False)
    assert is_open(circuit)


def test_one_trial_at_a_time(circuit: Circuit, clock: Clock) -> None:
    """After the pause one session is let in; the others are refused until it has a result."""
    opened(circuit)
    clock.now += FIRST_PAUSE_S
    trial = entered(circuit)
    assert trial.valid
    assert is_open(circuit)
    assert circuit.enter() is None
    trial.succeeded()
    assert not is_open(circuit)
    assert entered(circuit).valid


def test_a_trial_that_fails_doubles_the_pause(circuit: Circuit, clock: Clock) -> None:
    """A failed trial doubles the pause, up to half a minute."""
    opened(circuit)
    pause_s = FIRST_PAUSE_S
    for slow in (True, False) * 5:
        clock.now += pause_s - 0.01
        assert circuit.enter() is None
        clock.now += 0.01
        entered(circuit).failed("no_answer", slow=slow)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    assert pause_s == LONGEST_PAUSE_S


def test_a_trial_that_finds_out_nothing(circuit: Circuit, clock: Clock) -> None:
    """A trial without a result lets the next one try at once; ending it twice means nothing."""
    opened(circuit)
    clock.now += FIRST_PAUSE_S
    trial = entered(circuit)
    trial.end()
    following = entered(circuit)
    trial.end()
    assert circuit.enter() is None
    following.succeeded()
    following.end()
    assert not is_open(circuit)


def test_those_who_were_let_in_before(circuit: Circuit, clock: Clock) -> None:
    """A late failure of an earlier session changes nothing, a late success closes the circuit."""
    late = entered(circuit)
    opened(circuit)
    late.failed("connection_closed", slow=True)
    clock.now += FIRST_PAUSE_S
    assert not is_open(circuit)
    opened_again = entered(circuit)
    opened_again.failed("no_answer", slow=True)
    assert is_open(circuit)
    late.succeeded()
    assert not is_open(circuit)


def test_times_of_gets() -> None:
    """Median and 95th percentile are of the latest 100 Gets; without any they are None."""
    times = Latencies()
    assert (times.median_s(), times.p95_s()) == (None, None)
    times.add(3.0)
    assert (times.median_s(), times.p95_s()) == (3.0, 3.0)
    for number in range(SAMPLES):
        times.add(float(number))
    assert times.median_s() == (SAMPLES - 1) / 2
    assert times.p95_s() == 60.0
    ordered = sorted(range(SAMPLES))
    assert sum(number <= 60.0 for number in ordered) / SAMPLES >= 0.95
