"""Names in filters: any text means itself."""

from __future__ import annotations

from itertools import product

import pytest

from keystead.cli.client import exactly
from keystead.cli.rest import matching
from keystead.core.query.filter import Alternative, parse_filter
from keystead.core.query.where import Op

TEXTS = ["", "vol1", "null", "a..b", 'nope"|"target', *map("".join, product('"{}|*!<a', repeat=4))]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("vol*", Alternative(Op.LIKE, ("vol", ""))),
        ('*a|"b*', Alternative(Op.LIKE, ("", 'a|"b', ""))),
        ("!a", Alternative(Op.EQUAL, "!a")),
    ],
)
def test_a_star_is_any_text(text: str, meant: Alternative) -> None:
    """And nothing else is."""
    assert parse_filter("name", matching(text)) == (meant,)


@pytest.mark.parametrize("field", ["name", "svm.name"])
def test_a_text_means_itself(field: str) -> None:
    """As the service reads filters: one alternative, equal to the text."""
    for text in TEXTS:
        assert parse_filter(field, exactly(text)) == (Alternative(Op.EQUAL, text),), text
