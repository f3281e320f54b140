"""keystead.api.checking: bodies against declarations, with ONTAP's codes and targets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.api.checking import check_body, masked
from keystead.api.resources import RESOURCES
from keystead.api.resources.certificates import CERTIFICATES
from keystead.api.resources.key_managers import KEY_MANAGERS
from keystead.api.resources.key_servers import KEY_SERVERS
from keystead.api.resources.svms import SVMS
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
        ({"timeout": 5, "records": [{"server": "b"}]}, errors.FIELDS_EXCLUDE_EACH_OTHER, "timeout"),
        ({"records": {"server": "b"}}, errors.ARRAY_EXPECTED, "records"),
        ({"records": None}, errors.ARRAY_EXPECTED, "records"),
        ({"records": ["b"]}, errors.INVALID_SECRET_VALUE, "records[0]"),
        ({"records": [["b"]]}, errors.ARRAY_NOT_EXPECTED, "records[0]"),
        ({"records": [{"server": "a", "records": []}]}, errors.UNEXPECTED_ARGUMENT, "records[0].records"),
        ({"foo": CANARY, "records": [{"server": "b"}]}, errors.UNEXPECTED_ARGUMENT, "foo"),
        ({"connectivity": {}, "records": [{"server": "b"}]}, errors.FIELD_NOT_SETTABLE, "connectivity"),
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
        ({"external": {"server_ca_certificates": [{"uuid": UUID}, {"name": "n"}]}}, errors.UNEXPECTED_ARGUMENT,
         "external.server_ca_certificates[1].name"),
        ({"svm": {"nme": "x"}}, errors.UNEXPECTED_ARGUMENT, "svm.nme"),
        ({"onboard": {"enabled": True}}, errors.FIELD_NOT_SETTABLE, "onboard.enabled"),
        ({"onboard": {"passphrase": CANARY}}, errors.UNEXPECTED_ARGUMENT, "onboard.passphrase"),
        ({"policy": "p"}, errors.FIELD_NOT_SETTABLE, "policy"),
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
        ({"type": "client"}, errors.MISSING_VALUE, "public_certificate"),
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
    nested = st.sampled_from([part for known in resource.fields for part in known.split(".")])
    objects = st.dictionaries(nested, JSON | st.dictionaries(nested, JSON))
    return st.dictionaries(name, JSON | objects | st.lists(objects), max_size=5)


@given(st.data())
def test_any_object_is_accepted_or_refused_with_a_target(data: st.DataObject) -> None:
    """Whatever the values: parsed, or a 4xx that names a place; and the masked copy is always JSON."""
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
