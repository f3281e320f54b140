"""keystead.core.query.filter: the grammar of a filter's value, and of cross-field queries."""

from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.filter import COMPARISON_LIMIT, WORD_LIMIT, Alternative, parse_filter, parse_words
from keystead.core.query.where import Op
from tests.core.outcomes import outcome
from tests.costs import cpu_seconds

EQUAL, LIKE, RANGE, UNSET = Op.EQUAL, Op.LIKE, Op.RANGE, Op.UNSET


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(EQUAL, "", False)]),
        ("joe", [(EQUAL, "joe", False)]),
        (" a b ", [(EQUAL, " a b ", False)]),
        ("wow!", [(EQUAL, "wow!", False)]),
        ("a<b>c=d", [(EQUAL, "a<b>c=d", False)]),
        ("1.5", [(EQUAL, "1.5", False)]),
        ("[::1]:5696", [(EQUAL, "[::1]:5696", False)]),
        ("abc*", [(LIKE, ("abc", ""), False)]),
        ("abc*xyz", [(LIKE, ("abc", "xyz"), False)]),
        ("***xyz", [(LIKE, ("", "", "", "xyz"), False)]),
        ("*", [(LIKE, ("", ""), False)]),
        ("<10", [(Op.LESS, "10", False)]),
        ("<=10", [(Op.AT_MOST, "10", False)]),
        (">10", [(Op.MORE, "10", False)]),
        (">=joe", [(Op.AT_LEAST, "joe", False)]),
        ("3..10", [(RANGE, ("3", "10"), False)]),
        ("jim..joe", [(RANGE, ("jim", "joe"), False)]),
        ("1...5", [(RANGE, ("1", ".5"), False)]),
        ("!3", [(EQUAL, "3", True)]),
        ("!!3", [(EQUAL, "3", False)]),
        ("!abc*", [(LIKE, ("abc", ""), True)]),
        ("!jim..joe", [(RANGE, ("jim", "joe"), True)]),
        ("!<3", [(Op.LESS, "3", True)]),
        ("3|5", [(EQUAL, "3", False), (EQUAL, "5", False)]),
        ("3|5..9|>100", [(EQUAL, "3", False), (RANGE, ("5", "9"), False), (Op.MORE, "100", False)]),
        ("!a|b", [(EQUAL, "a", True), (EQUAL, "b", False)]),
        ("null", [(UNSET, None, False)]),
        ("!null", [(UNSET, None, True)]),
        ("<10|null", [(Op.LESS, "10", False), (UNSET, None, False)]),
        ("nullable", [(EQUAL, "nullable", False)]),
        ("NULL", [(EQUAL, "NULL", False)]),
        ('"null"', [(EQUAL, "null", False)]),
        ("{null}", [(EQUAL, "null", False)]),
        ('"joe*"', [(EQUAL, "joe*", False)]),
        ("{a|b}", [(EQUAL, "a|b", False)]),
        ("{{jim}}", [(EQUAL, "{jim}", False)]),
        ('{"abc"}', [(EQUAL, '"abc"', False)]),
        ('"{"', [(EQUAL, "{", False)]),
        ('""', [(EQUAL, "", False)]),
        ('a|""', [(EQUAL, "a", False), (EQUAL, "", False)]),
        ('a"*"b*', [(LIKE, ("a*b", ""), False)]),
        ('"!a"', [(EQUAL, "!a", False)]),
        ('!"!a"', [(EQUAL, "!a", True)]),
        ('"a..b"', [(EQUAL, "a..b", False)]),
        ('"a".."b"', [(RANGE, ("a", "b"), False)]),
        ("{}", [(EQUAL, "", False)]),
    ],
)
def test_a_filter_is_read(text: str, expected: list[tuple[Op, object, bool]]) -> None:
    """Each operator, their combinations, and both quotes, as in ONTAP's guide."""
    found = [(item.op, item.operand, item.negated) for item in parse_filter("name", text)]
    assert found == expected


@pytest.mark.parametrize(
    ("text", "position"),
    [("!", 2), ("<", 2), (">=", 3), ("|", 1), ("a|", 3), ("a||b", 3), ("a..", 4), ("..b", 1), ("!..b", 2), ("a|!", 4),
     ("<..b", 2)],
)  # fmt: skip
def test_a_value_is_missing(text: str, position: int) -> None:
    """A missing value is refused with 262194 and its position."""
    with pytest.raises(OntapError) as caught:
        parse_filter("svm.name", text)
    assert caught.value.kind is errors.EXPRESSION_WITHOUT_VALUE
    assert caught.value.target == "svm.name"
    assert caught.value.message.endswith(f"at position {position}.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('a"b', 'unmatched " at position 2'),
        ("{a", "unmatched { at position 1"),
        ("{{a}", "unmatched { at position 1"),
        ("a}", "unmatched } at position 2"),
        ("<a*", "a wildcard cannot be compared at position 3"),
        ("a..*", "a wildcard cannot be compared at position 4"),
        ("a..b..c", "a range has two ends and no other operator at position 5"),
        ("<a..b", "a range has two ends and no other operator at position 3"),
    ],
)
def test_what_is_wrong_is_said_with_its_position(text: str, reason: str) -> None:
    """A malformed filter is refused with 262185, its position, and the field as the target."""
    with pytest.raises(OntapError) as caught:
        parse_filter("name", text)
    assert caught.value.kind is errors.INVALID_VALUE
    assert caught.value.target == "name"
    assert caught.value.message.endswith(reason)


@given(st.text(alphabet='ab*|!<>=.."{}nul ', max_size=20) | st.text(max_size=20))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """Any text is read or raises OntapError with a position within the text."""
    found = outcome(partial(parse_filter, "name"), text)
    if isinstance(found, OntapError):
        position = re.search(r"position (\d+)", found.message)
        assert position is not None
        assert 1 <= int(position[1]) <= len(text) + 1
    else:
        assert found


@given(st.text(max_size=20))
def test_quoted_text_is_itself(text: str) -> None:
    """Text between quotes, or between balanced braces, has no special meaning."""
    if '"' not in text:
        assert parse_filter("name", f'"{text}"') == (Alternative(EQUAL, text),)
    if "{" not in text and "}" not in text:
        assert parse_filter("name", f"{{{text}}}") == (Alternative(EQUAL, text),)


@pytest.mark.parametrize("part", ["*", "!", "|", "{", '"', "a|", "*a", "<", "..", "{}", '""'])
def test_a_long_filter_is_read_in_time(part: str) -> None:
    """The longest query string that is accepted is read quickly, whatever it holds."""
    text = part * (16384 // len(part))
    assert cpu_seconds(lambda: outcome(partial(parse_filter, "name"), text)) < 1
    assert cpu_seconds(lambda: outcome(parse_words, text)) < 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red", [[("", "red", "")]]),
        ("foo bar", [[("", "foo", "")], [("", "bar", "")]]),
        ("  foo  bar ", [[("", "foo", "")], [("", "bar", "")]]),
        ("foo|bar", [[("", "foo", ""), ("", "bar", "")]]),
        ("foo||bar|", [[("", "foo", ""), ("", "bar", "")]]),
        ("*3|three", [[("", "3"), ("", "three", "")]]),
        ("1|2 th*", [[("", "1", ""), ("", "2", "")], [("th", "")]]),
        ("foo*bar", [[("foo", "bar")]]),
        ('"a b" c', [[("", "a b", "")], [("", "c", "")]]),
        ("{a|b}", [[("", "a|b", "")]]),
        ("!a<b..c", [[("", "!a<b..c", "")]]),
        ("foo * bar", [[("", "foo", "")], [("", "bar", "")]]),
        ("a foo|*", [[("", "a", "")]]),
    ],
)
def test_words_are_read(text: str, expected: list[list[tuple[str, ...]]]) -> None:
    """Blanks separate words that must all match, ``|`` separates choices, and a plain word matches anywhere."""
    assert parse_words(text) == tuple(tuple(word) for word in expected)


@pytest.mark.parametrize("text", ["", " ", "*", "** *", "|", "foo|*", '""', "{}"])
def test_a_query_for_everything_is_empty(text: str) -> None:
    """A query for ``*`` alone is refused with 262274."""
    with pytest.raises(OntapError) as caught:
        parse_words(text)
    assert caught.value.kind is errors.QUERY_EMPTY


@pytest.mark.parametrize("text", ['"', 'a "b', "{a", "{{}"])
def test_a_query_with_an_open_quote_is_refused(text: str) -> None:
    """A query with an open quote is refused with 262272."""
    with pytest.raises(OntapError) as caught:
        parse_words(text)
    assert caught.value.kind is errors.QUERY_QUOTE


@given(st.text(alphabet='ab*| "{}!', max_size=20) | st.text(max_size=20))
def test_any_text_is_a_query_or_refused(text: str) -> None:
    """Any text is read or raises OntapError, and each word has a pattern."""
    found = outcome(parse_words, text)
    if isinstance(found, OntapError):
        assert found.kind in {errors.QUERY_QUOTE, errors.QUERY_EMPTY}
    else:
        assert all(found)


def test_as_many_alternatives_and_words_as_can_be() -> None:
    """The highest number of alternatives and words is accepted; one more is refused with 262185."""
    assert len(parse_filter("x", "|".join(["a"] * COMPARISON_LIMIT))) == COMPARISON_LIMIT
    assert len(parse_filter("x", f'"{"|" * COMPARISON_LIMIT}"')) == 1
    assert len(parse_words(" ".join(["a"] * WORD_LIMIT))) == WORD_LIMIT
    assert len(parse_words("|".join(["a"] * COMPARISON_LIMIT))[0]) == COMPARISON_LIMIT
    too_much = (
        outcome(partial(parse_filter, "x"), "|".join(["a"] * (COMPARISON_LIMIT + 1))),
        outcome(parse_words, "|".join(["a"] * (COMPARISON_LIMIT + 1))),
        outcome(parse_words, " ".join(["a"] * (WORD_LIMIT + 1))),
    )
    assert all(isinstance(found, OntapError) and found.kind is errors.INVALID_VALUE for found in too_much)
