"""keystead.core.query.order: names and directions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.query.order import parse_order
from keystead.core.query.where import Order
from tests.core.outcomes import outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("name", (Order("name"),)),
        ("name asc", (Order("name"),)),
        ("name desc", (Order("name", descending=True),)),
        (" svm.name  DESC , name,", (Order("svm.name", descending=True), Order("name"))),
    ],
)
def test_an_order_is_read(text: str, expected: tuple[Order, ...]) -> None:
    """The order is ascending by default; blanks and empty items are ignored."""
    assert parse_order(text) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("name down", errors.FIELD_NOT_ORDERED),
        ("a b desc", errors.FIELD_NOT_ORDERED),
        ("a,b,a desc", errors.VALUE_TWICE),
    ],
)
def test_what_is_no_order_is_refused(text: str, kind: ErrorKind) -> None:
    """A malformed order is refused with 262268 or 262222, and the target ``order_by``."""
    with pytest.raises(OntapError) as caught:
        parse_order(text)
    assert (caught.value.kind, caught.value.target) == (kind, "order_by")


@given(st.text(alphabet="ab, descA", max_size=20) | st.text(max_size=20))
def test_any_text_is_an_order_or_refused(text: str) -> None:
    """Any text is read or raises OntapError."""
    found = outcome(parse_order, text)
    if isinstance(found, OntapError):
        assert found.target == "order_by"
    else:
        assert all(key.name for key in found)
