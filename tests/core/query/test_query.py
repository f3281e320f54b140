"""keystead.core.query.query: the fields that a GET shows, and the text that an error repeats."""

from __future__ import annotations

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import Catalogue, Read, quoted

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
        "login.cost.reads": Read.BY_NAME,
        "login.age": Read.EXPENSIVE,
        "login.password": Read.NEVER,
    },
    lambda name: name in {"connectivity", "connectivity.node_states.state", "login.audit"},
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
        ("login", {"login.name", "login.age"}),
        ("login.cost", {"login.cost.reads"}),
        ("status", {"status.code"}),
        ("*", NORMAL),
        ("**", NORMAL | {"status.code", "login.cost.reads", "login.age"}),
        ("**,!login", NORMAL - {"login.name"} | {"status.code"}),
        ("login,login.cost", {"login.name", "login.age", "login.cost.reads"}),
        ("*,status.code", NORMAL | {"status.code"}),
        ("connectivity", set()),
        ("connectivity.node_states.state,name", {"name"}),
        ("uuid,uuid", set()),
        ("svm,!svm.name", {"svm.uuid"}),
        ("svm.{name,uuid},status.{code}", {"svm.uuid", "svm.name", "status.code"}),
        ("*,!svm,!uuid", NORMAL - {"svm.uuid", "svm.name"}),
        ("!svm", NORMAL - {"svm.uuid", "svm.name"}),
        ("!svm,svm", set()),
    ],
)
def test_fields_choose_names(text: str, expected: set[str]) -> None:
    """Fields are chosen by names, parents, ``*`` and ``**``; the key is always shown."""
    assert CATALOGUE.select(text, single=False) == expected | {"uuid"}


def test_one_object_shows_its_normal_fields_by_default() -> None:
    """Without ``fields`` one object has all normal fields; with it, what it names."""
    assert CATALOGUE.select("", single=True) == NORMAL | {"uuid"}
    assert CATALOGUE.select("name", single=True) == {"uuid", "name"}
    assert CATALOGUE.select("!name", single=True) == NORMAL - {"name"} | {"uuid"}


@pytest.mark.parametrize(
    "text", ["nosuch", "svm.nosuch", "name.x", "name,nosuch", "!nosuch", "Name", "connectivityx", "sv"]
)
def test_an_unknown_name_is_262197(text: str) -> None:
    """A name that the resource does not have is refused with target ``fields``, unless that is to be ignored."""
    with pytest.raises(OntapError) as caught:
        CATALOGUE.select(text, single=False)
    assert caught.value.kind is errors.INVALID_FIELDS_VALUE
    assert caught.value.target == "fields"
    assert "uuid" in CATALOGUE.select(text, single=False, ignore_unknown=True)


@pytest.mark.parametrize("text", ["password", "name,login.password"])
def test_a_secret_cannot_be_read(text: str) -> None:
    """A request for a secret field is refused with 262249."""
    with pytest.raises(OntapError) as caught:
        CATALOGUE.select(text, single=True)
    assert caught.value.kind is errors.FIELD_NOT_READABLE


def test_what_an_error_repeats_is_short_and_printable() -> None:
    """Control characters are replaced and long texts cut."""
    assert quoted("a\0b\nc") == "a\ufffdb\ufffdc"
    assert quoted("x" * 100) == "x" * 100
    assert quoted("x" * 101) == "x" * 100 + "..."
    assert quoted(61) == "61"
    assert quoted("-----BEGIN PRIVATE KEY-----") == "***"
