"""keystead.core.query: which fields, which records, where the next page begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query import Catalogue, Equals, Read, check_literal, cut, quoted

CATALOGUE = Catalogue(
    {
        "uuid": Read.KEY,
        "name": Read.NORMAL,
        "svm.uuid": Read.NORMAL,
        "svm.name": Read.NORMAL,
        "svmx": Read.NORMAL,
        "status.code": Read.EXPENSIVE,
        "password": Read.NEVER,
        "login.name": Read.NORMAL,
        "login.password": Read.NEVER,
    },
    frozenset({"connectivity", "login.audit"}),
)
NORMAL = {"name", "svm.uuid", "svm.name", "svmx", "login.name"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        (" , ,", set()),
        ("name", {"name"}),
        ("svm", {"svm.uuid", "svm.name"}),
        ("svm.name, name", {"svm.name", "name"}),
        ("login", {"login.name"}),
        ("status", {"status.code"}),
        ("*", NORMAL),
        ("**", NORMAL | {"status.code"}),
        ("*,status.code", NORMAL | {"status.code"}),
        ("connectivity", set()),
        ("connectivity.node_states.state,name", {"name"}),
        ("uuid,uuid", set()),
    ],
)
def test_fields_choose_names(text: str, expected: set[str]) -> None:
    """Names, parents, ``*``, ``**``, nothing and absent names choose; the key is always there."""
    assert CATALOGUE.select(text, single=False) == expected | {"uuid"}


def test_one_object_shows_its_normal_fields_by_default() -> None:
    """Without ``fields`` one object has all normal fields; with it, what it names."""
    assert CATALOGUE.select("", single=True) == NORMAL | {"uuid"}
    assert CATALOGUE.select("name", single=True) == {"uuid", "name"}


@pytest.mark.parametrize(
    "text", ["nosuch", "svm.nosuch", "name.x", "name,nosuch", "!name", "Name", "connectivityx", "sv"]
)
def test_an_unknown_name_is_262197(text: str) -> None:
    """A name that the resource does not have is refused with target ``fields``."""
    with pytest.raises(OntapError) as caught:
        CATALOGUE.select(text, single=False)
    assert caught.value.kind is errors.INVALID_FIELDS_VALUE
    assert caught.value.target == "fields"


@pytest.mark.parametrize("text", ["password", "name,login.password"])
def test_a_secret_cannot_be_read(text: str) -> None:
    """A name that is never shown is 262249."""
    with pytest.raises(OntapError) as caught:
        CATALOGUE.select(text, single=True)
    assert caught.value.kind is errors.FIELD_NOT_READABLE


def test_a_filter_matches_any_of_a_records_values() -> None:
    """A record matches when one of its values is the wanted one; an absent field matches nothing."""
    wanted = Equals("timeout", 25)
    assert wanted.matches([1, 25])
    assert not wanted.matches([24])
    assert not wanted.matches([])


@pytest.mark.parametrize("text", ["10.*", "!a", "a|b", "<5", ">=5", "1..5", "null", '"a"', "{a}"])
def test_operators_are_refused_not_ignored(text: str) -> None:
    """An operator read as plain text would match nothing and hide it, so it is an error."""
    with pytest.raises(OntapError) as caught:
        check_literal("server", text)
    assert caught.value.kind is errors.INVALID_VALUE
    assert caught.value.target == "server"


@pytest.mark.parametrize("text", ["10.0.0.1:5696", "[::1]:5696", "a.b-c_d", "nullable", "wow!", "", "1.5"])
def test_plain_values_are_no_operators(text: str) -> None:
    """What names and addresses are made of passes."""
    check_literal("server", text)


@given(st.lists(st.integers(), unique=True), st.integers(1, 10))
def test_pages_put_together_are_the_list(rows: list[int], limit: int) -> None:
    """Following the positions yields every row once, in order, and ends."""
    rows.sort()
    seen: list[int] = []
    after: str | int | None = None
    while True:
        left = [row for row in rows if after is None or row > int(after)]
        page, after = cut(left[: limit + 1], limit, lambda row: row)
        assert len(page) <= limit
        seen += page
        if after is None:
            break
    assert seen == rows


def test_what_an_error_repeats_is_short_and_printable() -> None:
    """Control characters are replaced and long texts cut."""
    assert quoted("a\0b\nc") == "a\ufffdb\ufffdc"
    assert quoted("x" * 100) == "x" * 100
    assert quoted("x" * 101) == "x" * 100 + "..."
    assert quoted(61) == "61"
