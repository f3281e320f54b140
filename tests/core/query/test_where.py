"""keystead.core.query.where: conditions in memory."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core.query.where import Condition, Op, equal, holds, like
from tests.costs import cpu_seconds


@pytest.mark.parametrize(
    ("op", "operand", "values", "expected"),
    [
        (Op.EQUAL, 25, [1, 25], True),
        (Op.EQUAL, 25, [24], False),
        (Op.EQUAL, 25, [], False),
        (Op.LESS, 3, [2, 9], True),
        (Op.LESS, 3, [3], False),
        (Op.AT_MOST, 3, [3], True),
        (Op.MORE, "a", ["a"], False),
        (Op.MORE, "Z", ["a"], True),
        (Op.AT_LEAST, "a", ["a"], True),
        (Op.RANGE, (3, 5), [3], True),
        (Op.RANGE, (3, 5), [5], True),
        (Op.RANGE, (3, 5), [2, 6], False),
        (Op.LIKE, ("a", "c"), ["abc"], True),
        (Op.LIKE, ("a", "c"), ["Abc"], False),
        (Op.UNSET, None, [], True),
        (Op.UNSET, None, [1], False),
    ],
)
def test_a_value_is_compared(op: Op, operand: Any, values: list[Any], expected: bool) -> None:
    """One of several values is enough; an unset value matches no comparison."""
    assert Condition("x", op, operand).holds(values) is expected


@pytest.mark.parametrize(
    ("op", "operand", "values", "expected"),
    [
        (Op.EQUAL, 25, [25], False),
        (Op.EQUAL, 25, [24], True),
        (Op.EQUAL, 25, [24, 25], True),
        (Op.EQUAL, 25, [], False),
        (Op.LIKE, ("a", ""), [], False),
        (Op.UNSET, None, [], False),
        (Op.UNSET, None, [1], True),
    ],
)
def test_a_negation_holds_for_a_value_that_differs(op: Op, operand: Any, values: list[Any], expected: bool) -> None:
    """A negation matches a value that differs; an unset value matches neither."""
    assert Condition("x", op, operand, negated=True).holds(values) is expected


def test_all_clauses_hold_and_of_each_any_condition() -> None:
    """Clauses are joined by and, conditions within a clause by or; an empty query matches."""
    one, two, three = (Condition("x", Op.EQUAL, value) for value in (1, 2, 3))
    assert holds((), lambda _: [])
    assert holds(((one, two),), lambda _: [2])
    assert not holds(((one, two), (three,)), lambda _: [2])
    assert holds(((one,), (three,)), lambda _: [1, 3])


def test_equal_compares_with_a_value_or_asks_whether_it_is_unset() -> None:
    """Equal to None matches an unset value."""
    assert equal(a=1, b=None) == ((Condition("a", Op.EQUAL, 1),), (Condition("b", Op.UNSET),))


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=5), st.text("ab", max_size=12))
def test_a_pattern_matches_what_the_regular_expression_does(pieces: list[str], text: str) -> None:
    """The greedy search matches whatever the equivalent regular expression matches."""
    expected = re.fullmatch(".*".join(map(re.escape, pieces)), text) is not None
    assert like(text, tuple(pieces)) is expected


def test_a_pattern_of_many_wildcards_takes_no_time() -> None:
    """A pattern with many wildcards is matched in linear time, without backtracking."""
    pieces = ("a", *["a"] * 8000, "b", "")
    assert not like("a" * 10_000, pieces)
    assert cpu_seconds(lambda: like("a" * 10_000, pieces)) < 1
