"""keystead.api.query: URL parameters against declarations."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.api.query import PAGE_LIMIT, next_page, read_get, read_parameters, read_write
from keystead.api.resources import RESOURCES
from keystead.api.resources.certificates import CERTIFICATES
from keystead.api.resources.cluster import CLUSTER
from keystead.api.resources.key_managers import KEY_MANAGERS
from keystead.api.resources.key_servers import KEY_SERVERS
from keystead.api.values import BOOLEAN
from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.query import Equals
from keystead.core.server_address import ServerAddress

UUID = "43e0c191-dc5c-11e8-9b2c-005056bb017d"


def test_parameters_are_decoded() -> None:
    """Percent and plus are decoded, empty pieces skipped, a name without ``=`` is empty."""
    assert read_parameters(b"fields=%2A&server=%5B%3A%3A1%5D%3A5696&&a+b=c+d&x&y=1=2") == {
        "fields": "*",
        "server": "[::1]:5696",
        "a b": "c d",
        "x": "",
        "y": "1=2",
    }


@pytest.mark.parametrize(
    ("query", "kind", "target"),
    [
        (b"a=1&a=2", errors.FIELD_TWICE, "a"),
        (b"a=1&%61=2", errors.FIELD_TWICE, "a"),
        (b"a=%ff", errors.INVALID_VALUE, "a"),
        (b"a=%00", errors.INVALID_VALUE, "a"),
        (b"%ff=1", errors.INVALID_VALUE, "query"),
        (b"\xff=1", errors.INVALID_VALUE, "query"),
        (b"%00", errors.INVALID_VALUE, "query"),
        (b"fields=" + b"uuid," * 4000, errors.INVALID_VALUE, "query"),
    ],
)
def test_broken_parameters_are_refused(query: bytes, kind: ErrorKind, target: str) -> None:
    """A name given twice, and what is no text, is refused."""
    with pytest.raises(OntapError) as caught:
        read_parameters(query)
    assert (caught.value.kind, caught.value.target) == (kind, target)


def test_defaults_of_a_collection() -> None:
    """Key fields, all records, ONTAP's cap."""
    query = read_get(KEY_SERVERS, {}, single=False)
    assert query.selected == {"server"}
    assert (query.limit, query.after, query.return_records, query.filters) == (PAGE_LIMIT, None, True, ())


def test_filters_are_parsed_compiled_and_shown() -> None:
    """A filter's field is shown; columns go to the store, compared by meaning, not by spelling."""
    query = read_get(KEY_SERVERS, {"server": "A.example", "timeout": "25"}, single=False)
    address = ServerAddress.parse("a.EXAMPLE:5696")
    assert query.filters == (Equals("server", address), Equals("timeout", 25))
    assert query.columns == {"address": address.key, "timeout": 25}
    assert not query.rest
    assert query.selected == {"server", "timeout"}


@pytest.mark.parametrize(
    ("parameters", "columns", "rest"),
    [
        ({"scope": "cluster"}, {"svm_uuid": None}, False),
        ({"scope": "svm"}, {}, True),
        ({"scope": "svm", "svm.name": "vs0"}, {"svm_name": "vs0"}, True),
        ({"scope": "cluster", "svm.uuid": UUID}, {"svm_uuid": UUID}, True),
        ({"external.servers.server": "a:1"}, {}, True),
    ],
)
def test_what_columns_cannot_answer_is_compared_in_memory(
    parameters: dict[str, str], columns: dict[str, Any], rest: bool
) -> None:
    """A filter without a column, and two that contend for one, are left to be compared in memory."""
    query = read_get(KEY_MANAGERS, parameters, single=False)
    assert query.columns == columns
    assert query.rest is rest


@pytest.mark.parametrize("value", ["True", "true", "TRUE", "False", "false"])
def test_booleans_have_any_case(value: str) -> None:
    """Python's clients write True and False."""
    assert read_get(KEY_SERVERS, {"return_records": value}, single=False).return_records is (value.lower() == "true")


@pytest.mark.parametrize(
    ("parameters", "kind", "target"),
    [
        ({"foo": "1"}, errors.UNEXPECTED_ARGUMENT, "foo"),
        ({"order_by": "server"}, errors.UNEXPECTED_ARGUMENT, "order_by"),
        ({"Fields": "*"}, errors.UNEXPECTED_ARGUMENT, "Fields"),
        ({"dry_run": "true"}, errors.UNEXPECTED_ARGUMENT, "dry_run"),
        ({"start.uuid": UUID}, errors.UNEXPECTED_ARGUMENT, "start.uuid"),
        ({"start.position": "x"}, errors.INVALID_FIELD_VALUE, "start.position"),
        ({"start.position": "-1"}, errors.INVALID_FIELD_VALUE, "start.position"),
        ({"fields": "nosuch"}, errors.INVALID_FIELDS_VALUE, "fields"),
        ({"fields": "password"}, errors.FIELD_NOT_READABLE, "fields"),
        ({"password": "x"}, errors.FIELD_NOT_QUERYABLE, "password"),
        (
            {"connectivity.cluster_availability": "true"},
            errors.FIELD_NOT_QUERYABLE,
            "connectivity.cluster_availability",
        ),
        ({"server": "10.*"}, errors.INVALID_VALUE, "server"),
        ({"server": "@"}, errors.INVALID_FIELD_VALUE, "server"),
        ({"timeout": "x"}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"max_records": "0"}, errors.INVALID_FIELD_VALUE, "max_records"),
        ({"max_records": ""}, errors.INVALID_FIELD_VALUE, "max_records"),
        ({"return_timeout": "121"}, errors.INVALID_FIELD_VALUE, "return_timeout"),
        ({"return_records": "yes"}, errors.INVALID_FIELD_VALUE, "return_records"),
    ],
)
def test_bad_parameters_of_a_get(parameters: dict[str, str], kind: ErrorKind, target: str) -> None:
    """Unknown names, wrong values, secrets and operators are refused with the parameter as the target."""
    with pytest.raises(OntapError) as caught:
        read_get(KEY_SERVERS, parameters, single=False)
    assert (caught.value.kind, caught.value.target) == (kind, target)


def test_a_large_page_is_cut_to_the_cap() -> None:
    """Asking for more than an answer may hold is no error: the rest follows by the next link."""
    assert read_get(KEY_SERVERS, {"max_records": "100000"}, single=False).limit == PAGE_LIMIT


def test_one_object_takes_fields_and_common_parameters_only() -> None:
    """Clients send max_records to single objects too; a filter makes no sense there."""
    assert read_get(CLUSTER, {"max_records": "1024", "fields": "version"}, single=True).selected == {
        "version.full",
        "version.generation",
        "version.major",
        "version.minor",
    }
    with pytest.raises(OntapError) as caught:
        read_get(CLUSTER, {"name": "x"}, single=True)
    assert caught.value.kind is errors.FIELD_NOT_QUERYABLE


@pytest.mark.parametrize(
    ("method", "parameters", "kind"),
    [
        ("POST", {"server": "x"}, errors.POST_FILTER),
        ("POST", {"connectivity": "x"}, errors.POST_FILTER),
        ("POST", {"password": "x"}, errors.SECRET_IN_URL),
        ("DELETE", {"password": "x"}, errors.SECRET_IN_URL),
        ("DELETE", {"server": "x"}, errors.UNEXPECTED_ARGUMENT),
        ("POST", {"fields": "*"}, errors.UNEXPECTED_ARGUMENT),
        ("POST", {"dry_runs": "true"}, errors.UNEXPECTED_ARGUMENT),
        ("POST", {"Dry_run": "true"}, errors.UNEXPECTED_ARGUMENT),
        ("POST", {"dry_run": "tru"}, errors.INVALID_FIELD_VALUE),
        ("POST", {"dry_run": ""}, errors.INVALID_FIELD_VALUE),
    ],
)
def test_bad_parameters_of_a_write(method: str, parameters: dict[str, str], kind: ErrorKind) -> None:
    """Fields do not belong into a POST's URL, secrets into none; a near miss of dry_run is refused."""
    with pytest.raises(OntapError) as caught:
        read_write(KEY_SERVERS, parameters, method, {"dry_run": BOOLEAN})
    assert caught.value.kind is kind
    assert caught.value.target == next(iter(parameters))


def test_parameters_of_a_write() -> None:
    """return_timeout is accepted and means nothing; the operation's own parameters come back."""
    query = read_write(KEY_SERVERS, {"return_timeout": "60", "return_records": "True"}, "POST", {"dry_run": BOOLEAN})
    assert (query.return_records, query.own) == (True, {})
    assert read_write(KEY_SERVERS, {"dry_run": "true"}, "POST", {"dry_run": BOOLEAN}).own == {"dry_run": True}


def test_the_next_page_carries_every_parameter() -> None:
    """The link holds all parameters, encoded, and one position."""
    parameters = {"fields": "*", "max_records": "1", "server": "[::1]:1", "start.position": "1"}
    link = next_page("/api/x", parameters, KEY_SERVERS, 2)
    assert link == "/api/x?fields=%2A&max_records=1&server=%5B%3A%3A1%5D%3A1&start.position=2"
    assert read_parameters(link.partition("?")[2].encode()) == parameters | {"start.position": "2"}


@given(st.data())
def test_any_query_is_read_or_refused(data: st.DataObject) -> None:
    """Arbitrary query strings, with names that the resource knows among them, give a query or a 4xx with a target."""
    resource = data.draw(st.sampled_from(RESOURCES))
    names = st.sampled_from([*resource.fields, "fields", "max_records", "return_records", "start.uuid"])
    pieces = st.tuples(names | st.text(max_size=8), st.text(max_size=20)).map(
        lambda pair: f"{quote(pair[0])}={quote(pair[1])}".encode()
    ) | st.binary(max_size=20)
    query = b"&".join(data.draw(st.lists(pieces, max_size=4)))
    single = data.draw(st.booleans())
    error = None
    try:
        read_get(resource, read_parameters(query), single=single)
    except OntapError as refused:
        error = refused
    assert error is None or (400 <= error.kind.status < 500 and error.target is not None)


def test_a_secret_is_in_no_selection() -> None:
    """Not even ``**`` selects what is never shown."""
    assert "private_key" not in read_get(CERTIFICATES, {"fields": "**"}, single=True).selected
