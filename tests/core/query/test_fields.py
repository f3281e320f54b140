"""keystead.core.query.fields: lists of names with braces and exclusions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.fields import parse_fields
from tests.core.outcomes import outcome
from tests.costs import cpu_seconds


@pytest.mark.parametrize(
    ("text", "included", "excluded"),
    [
        ("", (), ()),
        (" , ,", (), ()),
        ("a,b", ("a", "b"), ()),
        ("a, b ,a", ("a", "b"), ()),
        ("b,!b.c", ("b",), ("b.c",)),
        ("*,**", ("*", "**"), ()),
        ("b.{c,d}", ("b.c", "b.d"), ()),
        ("a.{b,c.{d,e},f},g", ("a.b", "a.c.d", "a.c.e", "a.f", "g"), ()),
        ("!b.{c,d}", (), ("b.c", "b.d")),
        ("b.{ c , d } , e", ("b.c", "b.d", "e"), ()),
        ("b.{}", (), ()),
    ],
)
def test_names_are_read(text: str, included: tuple[str, ...], excluded: tuple[str, ...]) -> None:
    """Braces name members without repeating their object, nested too; ``!`` leaves out."""
    assert parse_fields(text) == (included, excluded)


@pytest.mark.parametrize(
    ("text", "position"),
    [("b.{c", 5), ("b.{c,d.{e}", 11), ("b.c}", 4), ("}", 1), ("{a}", 1), ("b{c}", 2), ("b.{c}d", 6), ("b.{c}.{d}", 6),
     ("b.{c}{d}", 6), ("a." + "{a." * 9, 27), ("b.{c}}", 6)],
)  # fmt: skip
def test_braces_must_match(text: str, position: int) -> None:
    """Unbalanced braces are refused with 262286 and their position."""
    with pytest.raises(OntapError) as caught:
        parse_fields(text)
    assert caught.value.kind is errors.FIELDS_BRACES
    assert caught.value.message.endswith(f"at position {position}.")


@given(st.text(alphabet="ab.,!*{} ", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    """Any text is read or raises OntapError with a position within the text; no name is empty."""
    found = outcome(parse_fields, text)
    if isinstance(found, OntapError):
        position = re.search(r"position (\d+)", found.message)
        assert position is not None
        assert 1 <= int(position[1]) <= len(text) + 1
    else:
        assert all(found.included)


@pytest.mark.parametrize("part", ["{", "a.{", "}", ",", "!", "a.{b},"])
def test_a_long_list_is_read_in_time(part: str) -> None:
    """The longest query string that is accepted is read quickly."""
    text = part * (16384 // len(part))
    assert cpu_seconds(lambda: outcome(parse_fields, text)) < 1
