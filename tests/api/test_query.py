"""keystead.api.query: URL parameters against declarations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.api.parameters import PAGE_LIMIT
from keystead.api.query import next_page, read_get, read_parameters, read_write
from keystead.api.resources import RESOURCES
from keystead.api.resources.certificates import CERTIFICATES
from keystead.api.resources.cluster import CLUSTER
from keystead.api.resources.key_managers import KEY_MANAGERS
from keystead.api.resources.key_servers import KEY_SERVERS
from keystead.api.resources.svms import SVMS
from keystead.api.values import BOOLEAN, Parameter
from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.model import CertificateType, KeyServer, Svm
from keystead.core.query.where import Order
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from tests.core import factories

if TYPE_CHECKING:
    from keystead.api.resource import Resource
    from keystead.core.query.where import Where

UUID = "43e0c191-dc5c-11e8-9b2c-005056bb017d"
DRY_RUN = {"dry_run": Parameter(BOOLEAN, "")}
PARAMETERS = ["fields", "max_records", "return_records", "start.uuid", "order_by", "query", "query_fields", "offset"]


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


def conditions(where: Where) -> list[list[tuple[str, str, object]]]:
    """Return a tree as a table can hold it; a negation is marked by ``!``."""
    return [[(item.name, "!" * item.negated + item.op.value, item.operand) for item in clause] for clause in where]


def test_defaults_of_a_collection() -> None:
    """Key fields, all records, ONTAP's cap."""
    query = read_get(KEY_SERVERS, {}, single=False)
    assert query.selected == {"server"}
    assert query.page == Page(limit=PAGE_LIMIT, wanted=query.selected)
    assert (query.rest, query.pruned, query.return_records, query.return_timeout) == ((), (), True, 15)


def test_filters_are_parsed_compiled_and_shown() -> None:
    """A filter's field is shown; columns go to the store, compared by meaning, not by spelling."""
    query = read_get(KEY_SERVERS, {"server": "A.example", "timeout": ">25"}, single=False)
    address = ServerAddress.parse("a.EXAMPLE:5696")
    assert conditions(query.page.where) == [[("address", "=", address.key)], [("timeout", ">", 25)]]
    assert query.rest == ()
    assert query.selected == {"server", "timeout"}


@pytest.mark.parametrize(
    ("resource", "parameters", "stored", "rest"),
    [
        (KEY_MANAGERS, {"scope": "cluster"}, [[("scope", "=", "cluster")]], []),
        (
            KEY_MANAGERS,
            {"scope": "svm", "svm.name": "vs*|!x"},
            [[("scope", "=", "svm")], [("svm_name", "*", ("vs", "")), ("svm_name", "!=", "x")]],
            [],
        ),
        (KEY_MANAGERS, {"svm.uuid": UUID.upper()}, [[("svm_uuid", "=", UUID)]], []),
        (KEY_MANAGERS, {"svm.uuid": "43E0*"}, [[("svm_uuid", "*", ("43e0", ""))]], []),
        (KEY_MANAGERS, {"svm.name": "null"}, [[("svm_name", "null", None)]], []),
        (KEY_MANAGERS, {"enabled": "True"}, [[("enabled", "=", True)]], []),
        (KEY_MANAGERS, {"enabled": "T*"}, [], [[("enabled", "*", ("t", ""))]]),
        (
            KEY_MANAGERS,
            {"external.servers.server": "a:1|!null|b*"},
            [],
            [
                [
                    ("external.servers.server", "=", ServerAddress.parse("a:1")),
                    ("external.servers.server", "!null", None),
                    ("external.servers.server", "*", ("b", "")),
                ]
            ],
        ),
        (
            KEY_MANAGERS,
            {"external.servers.server": "A:1", "external.server_ca_certificates.uuid": f"!{UUID}"},
            [[("server_address", "=", "a:1")], [("server_ca_certificate", "!=", UUID)]],
            [],
        ),
        (KEY_SERVERS, {"server": "10.*"}, [], [[("server", "*", ("10.", ""))]]),
        (KEY_SERVERS, {"timeout": "1..9"}, [[("timeout", "..", (1, 9))]], []),
        (KEY_SERVERS, {"timeout": "2*"}, [], [[("timeout", "*", ("2", ""))]]),
        (
            KEY_SERVERS,
            {"server": "a..b:9"},
            [[("address", "..", ("a:5696", "b:9"))]],
            [],
        ),
        (
            CERTIFICATES,
            {"expiry_time": "<2026-01-01T02:00:00+02:00"},
            [[("expiry_time", "<", datetime(2026, 1, 1, tzinfo=UTC))]],
            [],
        ),
    ],
)
def test_what_columns_cannot_answer_is_compared_in_memory(
    resource: Resource, parameters: dict[str, str], stored: list[Any], rest: list[Any]
) -> None:
    """Typed by the field; patterns go to the store where the column holds what is shown."""
    query = read_get(resource, parameters, single=False)
    assert conditions(query.page.where) == stored
    assert conditions(query.rest) == rest


def test_an_order_is_of_columns_and_ends_with_the_lists_own_key() -> None:
    """Begin the next page with the values of the order, and what makes the place unique."""
    query = read_get(KEY_MANAGERS, {"order_by": "svm.name desc,enabled"}, single=False)
    assert query.page.order == (Order("svm_name", descending=True), Order("enabled"))
    assert [start.parameter for start in query.starts] == ["start.svm.name", "start.enabled", "start.uuid"]
    by_uuid = read_get(KEY_MANAGERS, {"$orderBy": "uuid desc,enabled"}, single=False)
    assert [start.parameter for start in by_uuid.starts] == ["start.uuid", "start.enabled"]


def test_what_stands_in_an_array_orders_nothing() -> None:
    """The store can filter by it, but a record has several."""
    with pytest.raises(OntapError) as caught:
        read_get(KEY_MANAGERS, {"order_by": "external.servers.server"}, single=False)
    assert caught.value.kind is errors.FIELD_NOT_ORDERED


def test_a_place_is_read_back() -> None:
    """An unset or empty value is left out of the URL."""
    parameters = {"order_by": "svm.name,enabled", "start.enabled": "True", "start.uuid": UUID.upper()}
    assert read_get(KEY_MANAGERS, parameters, single=False).page.after == (None, True, UUID)


def test_a_cross_field_query_looks_at_every_field() -> None:
    """Each word in any of the fields; what is filtered so is wanted but not shown."""
    query = read_get(KEY_SERVERS, {"query": "a b*|c", "query_fields": "server,username"}, single=False)
    assert query.page.where == ()
    assert conditions(query.rest) == [
        [("server", "*", ("", "a", "")), ("username", "*", ("", "a", ""))],
        [
            *(("server", "*", ("b", "")), ("username", "*", ("b", ""))),
            *(("server", "*", ("", "c", "")), ("username", "*", ("", "c", ""))),
        ],
    ]
    assert query.selected == {"server"}
    assert query.page.wanted == {"server", "username"}
    stored = read_get(CERTIFICATES, {"query": "a", "query_fields": "name"}, single=False)
    assert conditions(stored.page.where) == [[("name", "*", ("", "a", ""))]]


def test_a_cross_field_query_of_all_fields() -> None:
    """``*`` are all that are shown without asking by name, but for those left out."""
    query = read_get(SVMS, {"query": "a", "query_fields": "*,!name,!ipspace"}, single=False)
    (clause,) = query.rest
    names = {condition.name for condition in clause}
    assert "uuid" in names
    assert not names & {"name", "ipspace.name"}


def test_unknown_names_can_be_ignored() -> None:
    """In ``fields`` and among the filters: clients of other releases know other fields."""
    parameters = {"ignore_unknown_fields": "true", "fields": "timeout,nosuch,!other", "foo": "!!*x|"}
    query = read_get(KEY_SERVERS, parameters, single=False)
    assert query.selected == {"server", "timeout"}
    assert query.rest == query.page.where == ()


@pytest.mark.parametrize("value", ["True", "true", "TRUE", "False", "false"])
def test_booleans_have_any_case(value: str) -> None:
    """Python's clients write True and False."""
    assert read_get(KEY_SERVERS, {"return_records": value}, single=False).return_records is (value.lower() == "true")


@pytest.mark.parametrize(
    ("parameters", "kind", "target"),
    [
        ({"foo": "1"}, errors.UNEXPECTED_ARGUMENT, "foo"),
        ({"order_by": "password"}, errors.FIELD_NOT_ORDERED, "order_by"),
        ({"order_by": "secondary_key_servers"}, errors.FIELD_NOT_ORDERED, "order_by"),
        ({"order_by": "nosuch"}, errors.FIELD_NOT_ORDERED, "order_by"),
        ({"order_by": "timeout down"}, errors.FIELD_NOT_ORDERED, "order_by"),
        ({"order_by": "timeout,timeout desc"}, errors.VALUE_TWICE, "order_by"),
        ({"order_by": "timeout", "$orderBy": "server"}, errors.FIELD_TWICE, "order_by"),
        ({"order_by": "username", "start.username": "x"}, errors.MISSING_VALUE, "start.position"),
        ({"start.server": "a"}, errors.UNEXPECTED_ARGUMENT, "start.server"),
        ({"offset": "-1"}, errors.INVALID_FIELD_VALUE, "offset"),
        ({"pretty": "1"}, errors.INVALID_FIELD_VALUE, "pretty"),
        ({"ignore_unknown_fields": "x"}, errors.INVALID_FIELD_VALUE, "ignore_unknown_fields"),
        ({"query": "a"}, errors.QUERY_INCOMPLETE, "query_fields"),
        ({"query_fields": "server"}, errors.QUERY_INCOMPLETE, "query"),
        ({"query": "*", "query_fields": "server"}, errors.QUERY_EMPTY, "query"),
        ({"query": '"', "query_fields": "server"}, errors.QUERY_QUOTE, "query"),
        ({"query": "a", "query_fields": ""}, errors.QUERY_WITHOUT_FIELDS, "query_fields"),
        ({"query": "a", "query_fields": "server,!server"}, errors.QUERY_FIELD_TWICE, "query_fields"),
        ({"query": "a", "query_fields": "!server"}, errors.QUERY_WITHOUT_FIELDS, "query_fields"),
        ({"query": "a", "query_fields": "nosuch"}, errors.INVALID_FIELDS_VALUE, "query_fields"),
        ({"query": "a", "query_fields": "password"}, errors.FIELD_NOT_READABLE, "query_fields"),
        ({"fields": "a.{b"}, errors.FIELDS_BRACES, "fields"),
        ({"query": "a", "query_fields": "a.{b"}, errors.FIELDS_BRACES, "query_fields"),
        ({"Fields": "*"}, errors.UNEXPECTED_ARGUMENT, "Fields"),
        ({"dry_run": "true"}, errors.UNEXPECTED_ARGUMENT, "dry_run"),
        ({"start.uuid": UUID}, errors.UNEXPECTED_ARGUMENT, "start.uuid"),
        ({"start.position": "x"}, errors.INVALID_FIELD_VALUE, "start.position"),
        ({"start.position": "-1"}, errors.INVALID_FIELD_VALUE, "start.position"),
        ({"fields": "nosuch"}, errors.INVALID_FIELDS_VALUE, "fields"),
        ({"fields": "password"}, errors.FIELD_NOT_READABLE, "fields"),
        ({"password": "x"}, errors.FIELD_NOT_QUERYABLE, "password"),
        ({"server": '"10'}, errors.INVALID_VALUE, "server"),
        ({"server": "a|"}, errors.EXPRESSION_WITHOUT_VALUE, "server"),
        ({"timeout": ">x"}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"timeout": "1..x"}, errors.INVALID_FIELD_VALUE, "timeout"),
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


def test_a_name_that_is_left_out_everywhere_is_known() -> None:
    """ONTAP has it: it can be asked for and compared with, but one object has no filters, nor has a POST."""
    assert read_get(SVMS, {"fields": "nis.domain"}, single=False).selected == {"uuid", "name"}
    assert read_get(SVMS, {"nis.enabled": "true"}, single=False).page.where == ((),)
    with pytest.raises(OntapError) as caught:
        read_get(SVMS, {"nis.enabled": "true"}, single=True)
    assert (caught.value.kind, caught.value.target) == (errors.FIELD_NOT_QUERYABLE, "nis.enabled")
    with pytest.raises(OntapError) as caught:
        read_write(SVMS, {"nis": "x"}, "POST")
    assert caught.value.kind is errors.POST_FILTER


def test_a_large_page_is_cut_to_the_cap() -> None:
    """Asking for more than an answer may hold is no error: the rest follows by the next link."""
    assert read_get(KEY_SERVERS, {"max_records": "100000"}, single=False).page.limit == PAGE_LIMIT


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
    with pytest.raises(OntapError) as caught:
        read_get(CLUSTER, {"order_by": "name"}, single=True)
    assert caught.value.kind is errors.UNEXPECTED_ARGUMENT


def test_one_object_takes_filters_of_what_stands_in_its_arrays() -> None:
    """They choose elements, when unmatched ones are not wanted."""
    parameters = {"external.servers.server": "a:1", "fields": "uuid"}
    query = read_get(KEY_MANAGERS, parameters, single=True)
    assert query.selected - {"configuration.name", "configuration.uuid", "enabled"} == {
        "uuid",
        "external.servers.server",
    }
    assert query.pruned == ()
    pruning = read_get(KEY_MANAGERS, parameters | {"return_unmatched_nested_array_objects": "false"}, single=True)
    assert conditions(pruning.pruned) == [[("external.servers.server", "=", ServerAddress.parse("a:1"))]]


@pytest.mark.parametrize(
    ("method", "parameters", "kind"),
    [
        ("POST", {"server": "x"}, errors.POST_FILTER),
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
        read_write(KEY_SERVERS, parameters, method, DRY_RUN)
    assert caught.value.kind is kind
    assert caught.value.target == next(iter(parameters))


def test_parameters_of_a_write() -> None:
    """return_timeout is accepted and means nothing; the operation's own parameters come back."""
    query = read_write(KEY_SERVERS, {"return_timeout": "60", "return_records": "True"}, "POST", DRY_RUN)
    assert (query.return_records, query.own) == (True, {})
    assert read_write(KEY_SERVERS, {"dry_run": "true"}, "POST", DRY_RUN).own == {"dry_run": True}


def test_the_next_page_carries_every_parameter() -> None:
    """The link holds all parameters, encoded, and one place; an offset only while it is not used up."""
    parameters = {"fields": "*", "max_records": "1", "username": "[::1]", "offset": "3", "start.position": "1"}
    query = read_get(KEY_SERVERS, parameters, single=False)
    server = KeyServer("u", "k", 2, ServerAddress.parse("a"), 25, 10, "x", ())
    link = next_page("/api/x", parameters, query, server)
    assert link == "/api/x?fields=%2A&max_records=1&username=%5B%3A%3A1%5D&start.position=2"
    assert "offset=2" in next_page("/api/x", parameters, query, server, 2)


def test_the_next_page_of_an_order_has_the_place_of_every_key() -> None:
    """Read back where the record stands; what is unset is left out."""
    parameters = {"order_by": "svm.name,scope desc"}
    query = read_get(CERTIFICATES, parameters, single=False)
    for svm in (Svm(UUID, "vs & 0"), None):
        view = factories.certificate(UUID, CertificateType.CLIENT, svm)
        link = next_page("/api/x", parameters, query, view)
        again = read_get(CERTIFICATES, read_parameters(link.partition("?")[2].encode()), single=False)
        assert again.page.after == query.place(view) == ((svm and svm.name), "svm" if svm else "cluster", UUID)


@given(st.data())
def test_any_query_is_read_or_refused(data: st.DataObject) -> None:
    """Arbitrary query strings, with names that the resource knows among them, give a query or a 4xx with a target."""
    resource = data.draw(st.sampled_from(RESOURCES))
    names = st.sampled_from([*resource.fields, *PARAMETERS])
    values = (
        st.text(max_size=20) | st.text('a1,.*!|<>={}" ', max_size=12) | st.sampled_from(["true", "1", *resource.fields])
    )
    pieces = st.tuples(names | st.text(max_size=8), values).map(
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
