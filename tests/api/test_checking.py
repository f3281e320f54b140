"""keystead.api.checking: bodies against declarations, with ONTAP's codes and targets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.api.checking import check_body, check_records, masked, nested
from keystead.api.resources import RESOURCES
from keystead.api.resources.certificates import CERTIFICATES
from keystead.api.resources.key_managers import KEY_MANAGERS
from keystead.api.resources.key_servers import KEY_SERVERS
from keystead.api.resources.svms import SVMS
from keystead.api.resources.volume_keys import VOLUME_KEYS
from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from keystead.api.resource import Resource

CANARY = "c4nary-s3cret"
UUID = "43e0c191-dc5c-11e8-9b2c-005056bb017d"
ADDRESS = ServerAddress.parse("a:1")


def refusal(resource: Resource, body: Any) -> OntapError:
    """Check a body that must be refused; whatever the fault, no secret is repeated."""
    with pytest.raises(OntapError) as caught:
        check_body(resource, body)
    assert CANARY not in f"{caught.value.message}{caught.value.target}{caught.value.arguments}"
    return caught.value


def test_a_single_server_with_everything() -> None:
    """Every settable field comes back parsed, the password wrapped; digit strings are integers."""
    body = {
        "server": "a:1",
        "timeout": "-1",
        "create_remove_timeout": 60,
        "username": "u",
        "password": CANARY,
        "secondary_key_servers": ["b", "c"],
        "_links": {"self": {"href": "/x"}},
    }
    values = check_body(KEY_SERVERS, body)
    assert values["server"] == ADDRESS
    assert isinstance(values["password"], Secret)
    assert values["password"].reveal() == CANARY.encode()
    assert CANARY not in repr(values)
    del values["server"], values["password"]
    assert values == {
        "timeout": -1,
        "create_remove_timeout": 60,
        "username": "u",
        "secondary_key_servers": ("b", "c"),
    }


def test_bulk_records_are_checked_one_by_one() -> None:
    """``records`` holds the same objects; ``_links`` is ignored inside them and beside them."""
    body = {"records": [{"server": "a:1", "timeout": 5, "_links": {}}, {"server": "[::1]"}], "_links": {}}
    assert check_body(KEY_SERVERS, body) == {
        "records": ({"server": ADDRESS, "timeout": 5}, {"server": ServerAddress("::1", 5696)})
    }


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({}, errors.MISSING_VALUE, "server"),
        ({"records": []}, errors.MISSING_VALUE, "records"),
        ({"records": [{}]}, errors.MISSING_VALUE, "records[0].server"),
        ({"records": [{"server": "a"}, {"timeout": 1}]}, errors.MISSING_VALUE, "records[1].server"),
        ({"server": "a", "records": [{"server": "b"}]}, errors.FIELDS_EXCLUDE_EACH_OTHER, "server"),
        (
            {
                "_links": {"self": {"href": "/api/resourcelink"}},
                "password": "password",
                "records": [
                    {"password": "password", "server": "bulkkeyserver.com:5698", "timeout": 60, "username": "username"}
                ],
                "server": "keyserver1.com:5698",
                "timeout": 60,
                "username": "username",
            },
            errors.FIELDS_EXCLUDE_EACH_OTHER,
            "server",
        ),
        ({"timeout": 5, "records": [{"server": "b"}]}, errors.FIELDS_EXCLUDE_EACH_OTHER, "timeout"),
        ({"records": {"server": "b"}}, errors.ARRAY_EXPECTED, "records"),
        ({"records": None}, errors.ARRAY_EXPECTED, "records"),
        ({"records": ["b"]}, errors.INVALID_SECRET_VALUE, "records[0]"),
        ({"records": [["b"]]}, errors.ARRAY_NOT_EXPECTED, "records[0]"),
        ({"records": [{"server": "a", "records": []}]}, errors.UNEXPECTED_ARGUMENT, "records[0].records"),
        ({"foo": CANARY, "records": [{"server": "b"}]}, errors.UNEXPECTED_ARGUMENT, "foo"),
        ({"connectivity": {}, "records": [{"server": "b"}]}, errors.FIELDS_EXCLUDE_EACH_OTHER, "connectivity"),
        (
            {"server": "a", "connectivity": {"cluster_availability": True}},
            errors.FIELD_NOT_SETTABLE,
            "connectivity.cluster_availability",
        ),
        ({"server": "a", "foo": CANARY}, errors.UNEXPECTED_ARGUMENT, "foo"),
        ({"server": "a", "Password": CANARY}, errors.UNEXPECTED_ARGUMENT, "Password"),
        ({"server": "a", "uuid": UUID}, errors.FIELD_NOT_SETTABLE, "uuid"),
        ({"server": "a", "connectivity": {}}, errors.FIELD_NOT_SETTABLE, "connectivity"),
        ({"server": 5}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": None}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": True}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": ""}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": "a:0"}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": "a:70000"}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": "a:abc"}, errors.INVALID_FIELD_VALUE, "server"),
        ({"server": ["a"]}, errors.ARRAY_NOT_EXPECTED, "server"),
        ({"server": {"password": CANARY}}, errors.INVALID_SECRET_VALUE, "server"),
        ({"server": "a", "timeout": 61}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": -2}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": True}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": 25.0}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": "25.0"}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": " 25"}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": "٢٥"}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "timeout": ""}, errors.INVALID_FIELD_VALUE, "timeout"),
        ({"server": "a", "create_remove_timeout": 99}, errors.INVALID_FIELD_VALUE, "create_remove_timeout"),
        ({"server": "a", "password": 12345}, errors.INVALID_SECRET_VALUE, "password"),
        ({"server": "a", "password": [CANARY]}, errors.ARRAY_NOT_EXPECTED, "password"),
        ({"server": "a", "password": {"x": CANARY}}, errors.INVALID_SECRET_VALUE, "password"),
        ({"server": "a", "username": "u" * 257}, errors.INVALID_FIELD_VALUE, "username"),
        ({"server": "a", "secondary_key_servers": "b, c"}, errors.ARRAY_EXPECTED, "secondary_key_servers"),
        ({"server": "a", "secondary_key_servers": ["b", 1]}, errors.INVALID_FIELD_VALUE, "secondary_key_servers[1]"),
        ({"server": "a", "secondary_key_servers": [["b"]]}, errors.ARRAY_NOT_EXPECTED, "secondary_key_servers[0]"),
    ],
)
def test_key_server_faults(body: Any, kind: ErrorKind, target: str) -> None:
    """Each fault of a key server's body has its code, and its target names the place."""
    error = refusal(KEY_SERVERS, body)
    assert (error.kind, error.target) == (kind, target)


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({"external": "x"}, errors.INVALID_SECRET_VALUE, "external"),
        ({"external": []}, errors.ARRAY_NOT_EXPECTED, "external"),
        ({"external": {"servers": {}}}, errors.ARRAY_EXPECTED, "external.servers"),
        ({"external": {"servers": [{}]}}, errors.MISSING_VALUE, "external.servers[0].server"),
        ({"external": {"servers": [{"server": "a"}, {"server": "@"}]}}, errors.INVALID_FIELD_VALUE,
         "external.servers[1].server"),
        ({"external": {"servers": [{"server": "a", "timeout": 5}]}}, errors.FIELD_NOT_SETTABLE,
         "external.servers[0].timeout"),
        ({"external": {"servers": [{"server": "a", "connectivity": {}}]}}, errors.FIELD_NOT_SETTABLE,
         "external.servers[0].connectivity"),
        ({"external": {"client_certificate": {"uuid": "x"}}}, errors.INVALID_FIELD_VALUE,
         "external.client_certificate.uuid"),
        ({"external": {"server_ca_certificates": [{"uuid": UUID}, {"nme": "n"}]}}, errors.UNEXPECTED_ARGUMENT,
         "external.server_ca_certificates[1].nme"),
        ({"svm": {"nme": "x"}}, errors.UNEXPECTED_ARGUMENT, "svm.nme"),
        ({"onboard": {"enabled": True}}, errors.ONBOARD, "onboard.enabled"),
        ({"onboard": {"passphrase": 5}}, errors.INVALID_SECRET_VALUE, "onboard.passphrase"),
        ({"policy": 5}, errors.INVALID_FIELD_VALUE, "policy"),
        ({"scope": "both"}, errors.INVALID_FIELD_VALUE, "scope"),
    ],
)  # fmt: skip
def test_key_manager_faults(body: Any, kind: ErrorKind, target: str) -> None:
    """Nested objects and arrays are checked as deep as they go."""
    error = refusal(KEY_MANAGERS, body)
    assert (error.kind, error.target) == (kind, target)


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({"public_certificate": "x"}, errors.MISSING_VALUE, "type"),
        ({"type": "client", "public_certificate": "x", "serial_number": "1"}, errors.SERIAL_GIVEN, "serial_number"),
        ({"type": "client", "public_certificate": f"-----BEGIN PRIVATE KEY-----{CANARY}", "name": "n" * 256},
         errors.INVALID_FIELD_VALUE, "name"),
        ({"type": "client", "public_certificate": "x", "name": f"-----BEGIN PRIVATE KEY-----{CANARY}" + "n" * 256},
         errors.INVALID_SECRET_VALUE, "name"),
        ({"type": "client", "public_certificate": "x", "private_key": 1}, errors.INVALID_SECRET_VALUE, "private_key"),
        ({"type": "client", "public_certificate": "x", "intermediate_certificates": [5]},
         errors.INVALID_FIELD_VALUE, "intermediate_certificates[0]"),
    ],
)  # fmt: skip
def test_certificate_faults(body: Any, kind: ErrorKind, target: str) -> None:
    """Certificates have a code of their own for a serial number; a misplaced private key is never repeated."""
    error = refusal(CERTIFICATES, body)
    assert (error.kind, error.target) == (kind, target)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("value", [[], [{}], [{"server": "a"}]])
def test_an_array_that_cannot_be_set(method: str, value: list[Any]) -> None:
    """Is refused however little is in it."""
    with pytest.raises(OntapError) as caught:
        check_body(VOLUME_KEYS, {"copies": value}, method)
    assert caught.value.kind is errors.FIELD_NOT_SETTABLE
    assert str(caught.value.target).startswith("copies")


def test_an_empty_array_is_a_value() -> None:
    """Ansible's ``na_ontap_svm`` sends an empty ``aggr_list``."""
    assert check_body(SVMS, {"name": "vs1", "aggregates": []}) == {"name": "vs1", "aggregates": ()}
    assert check_body(SVMS, {"aggregates": []}, "PATCH") == {"aggregates": ()}


def test_the_most_basic_fault_is_named() -> None:
    """Unknown field before one that cannot be set, before a wrong value, before an absent one, in any order."""
    body: dict[str, Any] = {"timeout": 99, "uuid": UUID, "foo": 1}
    for kind in (errors.UNEXPECTED_ARGUMENT, errors.FIELD_NOT_SETTABLE, errors.INVALID_FIELD_VALUE):
        assert refusal(KEY_SERVERS, body).kind is kind
        body.popitem()
    assert refusal(KEY_SERVERS, body).kind is errors.MISSING_VALUE


def test_an_invalid_value_is_quoted_with_its_type() -> None:
    """The text is ONTAP's, and says what would have been accepted; JSON words are quoted as JSON."""
    assert refusal(KEY_SERVERS, {"server": "a", "timeout": 61}).message == (
        '"61" is an invalid value for field "timeout" (<-1..60>)'
    )
    assert '"true"' in refusal(KEY_SERVERS, {"server": "a", "timeout": True}).message
    assert '"null"' in refusal(KEY_SERVERS, {"server": None}).message
    assert '"1"' in refusal(KEY_SERVERS, {"server": 1}).message


def test_masked_bodies_hold_no_secret() -> None:
    """Secrets, unknown fields, misplaced values and private keys in other fields are masked; the rest is kept."""
    body = {
        "server": "a:1",
        "timeout": 5,
        "password": CANARY,
        "Password": CANARY,
        "username": {"nested": CANARY},
        "secondary_key_servers": ["b", f"-----BEGIN EC PRIVATE KEY-----{CANARY}"],
    }
    assert masked(KEY_SERVERS, body) == {
        "server": "a:1",
        "timeout": 5,
        "password": "***",
        "Password": "***",
        "username": {"nested": "***"},
        "secondary_key_servers": ["b", "***"],
    }
    assert masked(KEY_SERVERS, {"records": [{"server": "a", "password": [CANARY]}, CANARY]}) == {
        "records": [{"server": "a", "password": ["***"]}, "***"]
    }
    assert masked(KEY_MANAGERS, {"external": CANARY, "svm": [CANARY]}) == {"external": "***", "svm": ["***"]}
    assert masked(CERTIFICATES, {"type": "client", "private_key": CANARY}) == {"type": "client", "private_key": "***"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def bodies(resource: Resource) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose names are mostly the resource's, with any values."""
    name = st.sampled_from([*resource.tree.members, "records", "_links"]) | st.text(max_size=5)
    nested = st.sampled_from([part for known in resource.fields for part in known.split(".")] or ["none"])
    objects = st.dictionaries(nested, JSON | st.dictionaries(nested, JSON))
    return st.dictionaries(name, JSON | objects | st.lists(objects), max_size=5)


@given(st.data())
def test_any_object_is_accepted_or_refused_with_a_target(data: st.DataObject) -> None:
    """Parse any values, or answer a 4xx that names a place; the masked copy is always JSON."""
    resource = data.draw(st.sampled_from(RESOURCES))
    body = data.draw(bodies(resource))
    json.dumps(masked(resource, body))
    error = None
    try:
        check_body(resource, body)
    except OntapError as refused:
        error = refused
    assert error is None or (400 <= error.kind.status < 500 and error.target is not None)


def test_svm_needs_its_name() -> None:
    """A required field is named when it is absent."""
    assert check_body(SVMS, {"name": "vs0"}) == {"name": "vs0"}
    assert refusal(SVMS, {}).target == "name"


def test_dotted_names_are_fields() -> None:
    """``{"svm.name": "x"}`` is ``{"svm": {"name": "x"}}``, also in records and beside other members of the object."""
    body = nested(KEY_MANAGERS, {"svm.name": "vs0", "external.client_certificate.uuid": UUID, "svm": {"uuid": UUID}})
    assert body == {"svm": {"name": "vs0", "uuid": UUID}, "external": {"client_certificate": {"uuid": UUID}}}
    assert check_body(KEY_MANAGERS, body) == body
    records = nested(CERTIFICATES, {"records": [{"svm.name": "vs0"}, 5]})
    assert records == {"records": [{"svm": {"name": "vs0"}}, 5]}
    whole = {"external": {"servers": [{"server": "a", "x.y": 1}]}, "svm": "text", "enabled": {"x.y": 1}}
    assert nested(KEY_MANAGERS, whole) == whole


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"svm.name": "a", "svm": {"name": "a"}}, "svm.name"),
        ({"svm": {"name": "a"}, "svm.name": "b"}, "svm.name"),
        ({"svm": "a", "svm.name": "b"}, "svm"),
        ({"svm.name": "b", "svm": "a"}, "svm"),
        ({"external": {"client_certificate": {"uuid": UUID}, "client_certificate.uuid": UUID}},
         "external.client_certificate.uuid"),
        ({"records": [{}, {"svm.name": "a", "svm": {"name": "a"}}]}, "records[1].svm.name"),
    ],
)  # fmt: skip
def test_a_field_given_both_ways_is_given_twice(body: Any, target: str) -> None:
    """262188, whichever comes first."""
    with pytest.raises(OntapError) as caught:
        nested(KEY_MANAGERS, body)
    assert (caught.value.kind, caught.value.target) == (errors.FIELD_TWICE, target)


def test_dotted_names_of_nothing_are_unknown() -> None:
    """Keep one unknown name for what leads to no declared place, or through an array; mask its value."""
    for name in ("svm.nosuch", "nosuch.name", "external.servers.server", "svm..name", ".", "svm."):
        body = nested(KEY_MANAGERS, {name: CANARY})
        assert body == {name: CANARY}
        fault = refusal(KEY_MANAGERS, body)
        assert (fault.kind, fault.target) == (errors.UNEXPECTED_ARGUMENT, name)
        assert CANARY not in json.dumps(masked(KEY_MANAGERS, body))


def test_records_of_a_change_hold_their_key() -> None:
    """PATCH: the key and what to set. DELETE: the key, and whatever else the client knows."""
    body = {"records": [{"server": "a", "timeout": 5}, {"server": "b:1", "password": CANARY, "_links": {}}]}
    first, second = check_records(KEY_SERVERS, body, "PATCH")
    assert first == (ServerAddress("a", 5696), {"timeout": 5})
    assert second.key == ServerAddress("b", 1)
    assert list(second.values) == ["password"]
    others = {"records": [{"server": "a", "security_key_manager": {"uuid": UUID}, "timeout": "x"}]}
    assert check_records(KEY_SERVERS, others, "DELETE") == ((ServerAddress("a", 5696), {}),)


@pytest.mark.parametrize(
    ("method", "record", "kind", "target"),
    [
        ("PATCH", {"timeout": 5}, errors.MISSING_VALUE, "records[0].server"),
        ("PATCH", {"server": "a"}, errors.NOTHING_TO_MODIFY, "records[0]"),
        ("PATCH", {"server": "a", "_links": {}}, errors.NOTHING_TO_MODIFY, "records[0]"),
        ("PATCH", {"server": "@", "timeout": 5}, errors.INVALID_FIELD_VALUE, "records[0].server"),
        ("PATCH", {"server": ["a"], "timeout": 5}, errors.ARRAY_NOT_EXPECTED, "records[0].server"),
        ("PATCH", {"server": "a", "timeout": 61}, errors.INVALID_FIELD_VALUE, "records[0].timeout"),
        ("PATCH", {"server": "a", "uuid": UUID}, errors.FIELD_NOT_SETTABLE, "records[0].uuid"),
        ("PATCH", {"server": "a", "foo": CANARY}, errors.UNEXPECTED_ARGUMENT, "records[0].foo"),
        ("DELETE", {"timeout": 5}, errors.MISSING_VALUE, "records[0].server"),
        ("DELETE", CANARY, errors.INVALID_SECRET_VALUE, "records[0]"),
    ],
)
def test_faults_of_records(method: str, record: Any, kind: ErrorKind, target: str) -> None:
    """Each fault names its record."""
    with pytest.raises(OntapError) as caught:
        check_records(KEY_SERVERS, {"records": [record]}, method)
    assert (caught.value.kind, caught.value.target) == (kind, target)
    assert CANARY not in caught.value.message


def test_a_patch_must_set_something() -> None:
    """262190, or the resource's own code; an empty object inside sets nothing either."""
    for resource, body, kind in (
        (SVMS, {}, errors.NO_VALUES),
        (SVMS, {"_links": {}}, errors.NO_VALUES),
        (KEY_MANAGERS, {"external": {"client_certificate": {}}}, errors.NO_VALUES),
        (KEY_SERVERS, {}, errors.NOTHING_TO_MODIFY),
    ):
        with pytest.raises(OntapError) as caught:
            check_body(resource, body, "PATCH")
        assert (caught.value.kind, caught.value.target) == (kind, None)


def test_unknown_fields_can_be_ignored() -> None:
    """With ``ignore_unknown`` what is not declared counts as absent; what cannot be set is refused all the same."""
    assert check_body(SVMS, {"name": "a", "x": {"y": 1}}, ignore_unknown=True) == {"name": "a"}
    assert check_records(SVMS, {"records": [{"name": "a", "x": 1}]}, "POST", ignore_unknown=True)[0].values == {
        "name": "a"
    }
    with pytest.raises(OntapError) as caught:
        check_body(SVMS, {"name": "a", "uuid": UUID}, ignore_unknown=True)
    assert caught.value.kind is errors.FIELD_NOT_SETTABLE
    with pytest.raises(OntapError) as caught:
        check_body(SVMS, {"x": 1}, "PATCH", ignore_unknown=True)
    assert caught.value.kind is errors.NO_VALUES


@given(st.dictionaries(st.text(alphabet="svm.nameuid"), st.text(), max_size=4))
def test_any_dotted_names_are_read_or_refused(body: dict[str, Any]) -> None:
    """Names that look like fields never cause anything but ONTAP's errors."""
    try:
        check_body(KEY_MANAGERS, nested(KEY_MANAGERS, body))
    except OntapError as error:
        assert error.kind in {  # noqa: PT017 - both outcomes are right
            errors.UNEXPECTED_ARGUMENT,
            errors.FIELD_NOT_SETTABLE,
            errors.FIELD_TWICE,
            errors.INVALID_FIELD_VALUE,
            errors.INVALID_SECRET_VALUE,
            errors.MISSING_VALUE,
        }
