"""``/security/certificates``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from keystead.api import collecting
from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

CERTIFICATES = "/api/security/certificates"
FIELDS = (
    "uuid,common_name,svm.name,scope,type,serial_number,ca,hash_function,key_size,expiry_time,public_certificate,name"
)


async def test_a_client_certificate_is_installed_and_read(api: Api, pki: Pki) -> None:
    """Everything that clients read is there with its JSON type; the private key is nowhere."""
    body = {
        "type": "client",
        "name": "kmip",
        "public_certificate": pki.client.certificate_pem,
        "private_key": pki.client.key_pem,
    }
    created = await api.admin.post(f"{CERTIFICATES}?return_records=true", body)
    location = created.headers["location"]
    uuid = location.removeprefix(f"{CERTIFICATES}/")
    assert created.status == 201
    assert created.body == {
        "num_records": 1,
        "records": [{"uuid": uuid, "_links": {"self": {"href": location}}}],
    }
    shown = (await api.admin.get(f"{location}?fields={FIELDS}")).body
    assert set(shown) == set(FIELDS.split(",")) - {"svm.name"} | {"_links"}
    assert (shown["name"], shown["type"], shown["scope"], shown["common_name"]) == (
        *("kmip", "client", "cluster"),
        "keystead",
    )
    assert isinstance(shown["key_size"], int)
    assert datetime.fromisoformat(shown["expiry_time"]).tzinfo is not None
    for query in ("", "?fields=*", "?fields=**"):
        content = (await api.admin.get(location + query)).content
        assert b"PRIVATE" not in content
        assert b"private_key" not in content


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=kmip&scope=cluster&fields=uuid%2Cname%2Ccommon_name%2Ctype", 1),
        ("name=kmip&scope=svm", 0),
        ("name=kmip&svm.name=vs0", 0),
        ("common_name=keystead&type=client", 1),
        ("common_name=keystead&type=server_ca", 0),
        ("type=server_ca", 2),
        ("type=server_ca&svm.name=vs0", 1),
        ("type=server_ca&scope=svm&svm.name=vs0", 1),
        ("type=server_ca&scope=cluster", 1),
        ("scope=svm", 1),
        ("key_size=256", 3),
        ("key_size=2048", 0),
    ],
)
async def test_certificates_are_found_as_clients_look_for_them(api: Api, pki: Pki, query: str, found: int) -> None:
    """By name and scope, by common name and type, by SVM."""
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    await api.certificate("client", pki.client.certificate_pem, pki.client.key_pem, name="kmip")
    await api.certificate("server_ca", pki.server_ca.pem)
    await api.certificate("server_ca", pki.server_ca.pem, svm={"name": "vs0"})
    answer = (await api.admin.get(f"{CERTIFICATES}?{query}")).body
    assert answer["num_records"] == len(answer["records"]) == found


async def test_filters_in_memory_page_on(api: Api, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that no column answers still fills its pages and ends, however few rows are read at a time."""
    monkeypatch.setattr(collecting, "_STEP", 2)
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    for number in range(5):
        owner: dict[str, Any] = {"svm": {"name": "vs0"}} if number % 2 else {}
        await api.certificate("server_ca", pki.server_ca.pem, name=f"ca{number}", **owner)
    url = f"{CERTIFICATES}?scope=svm&key_size=*&max_records=1"
    names = []
    while url:
        page = (await api.admin.get(url)).body
        names += [record["svm"]["name"] for record in page["records"]]
        url = page["_links"].get("next", {}).get("href", "")
    assert names == ["vs0", "vs0"]


async def test_a_search_that_takes_too_long_goes_on_in_the_next_page(
    api: Api, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``return_timeout=0`` answers what was found so far, with a link that goes on."""
    monkeypatch.setattr(collecting, "_STEP", 1)
    for number in range(3):
        await api.certificate("server_ca", pki.server_ca.pem, name=f"ca{number}")
    url, pages, found = f"{CERTIFICATES}?key_size=9*&return_timeout=0", 0, 0
    while url:
        page = (await api.admin.get(url)).body
        pages, found = pages + 1, found + page["num_records"]
        url = page["_links"].get("next", {}).get("href", "")
    assert (pages, found) == (4, 0)


async def test_an_svms_certificate_names_its_svm(api: Api, pki: Pki) -> None:
    """The SVM stands in the default record too."""
    svm = (await api.admin.post("/api/svm/svms", {"name": "vs0"})).headers["location"].rpartition("/")[2]
    uuid = await api.certificate("server_ca", pki.server_ca.pem, svm={"uuid": svm, "name": "vs0"})
    (record,) = (await api.admin.get(CERTIFICATES)).body["records"]
    assert record == {
        "uuid": uuid,
        "svm": {"name": "vs0", "_links": {"self": {"href": f"/api/svm/svms/{svm}"}}},
        "_links": {"self": {"href": f"{CERTIFICATES}/{uuid}"}},
    }


@pytest.mark.parametrize(
    ("change", "kind", "target"),
    [
        ({"type": "server"}, errors.CERTIFICATE_TYPE, "type"),
        ({"type": "nosuch"}, errors.CERTIFICATE_TYPE, "type"),
        ({"type": None}, errors.INVALID_FIELD_VALUE, "type"),
        ({"public_certificate": "garbage"}, errors.CERTIFICATE_MALFORMED, "public_certificate"),
        ({"public_certificate": 5}, errors.INVALID_FIELD_VALUE, "public_certificate"),
        ({"private_key": ""}, errors.PRIVATE_KEY_EMPTY, "private_key"),
        ({"private_key": "garbage"}, errors.KEY_MALFORMED, "private_key"),
        ({"private_key": ["x"]}, errors.ARRAY_NOT_EXPECTED, "private_key"),
        ({"serial_number": "1"}, errors.SERIAL_GIVEN, "serial_number"),
        ({"expiry_time": "P1D"}, errors.FIELD_NOT_SETTABLE, "expiry_time"),
        ({"azure": {}}, errors.FIELD_NOT_SETTABLE, "azure"),
        ({"svm": {"name": "nosuch"}}, errors.SVM_NOT_FOUND, "svm.name"),
        ({"svm": "vs0"}, errors.INVALID_SECRET_VALUE, "svm"),
        ({"intermediate_certificates": "x"}, errors.ARRAY_EXPECTED, "intermediate_certificates"),
        ({"intermediate_certificates": ["x"]}, errors.CERTIFICATE_MALFORMED, "intermediate_certificates[0]"),
    ],
)
async def test_a_bad_certificate_has_its_code(
    api: Api, pki: Pki, change: dict[str, Any], kind: ErrorKind, target: str
) -> None:
    """Each fault has its code and target, nothing is stored, and the key is in no record."""
    body = {"type": "client", "public_certificate": pki.client.certificate_pem, "private_key": pki.client.key_pem}
    assert_error(await api.admin.post(CERTIFICATES, body | change), kind, target)
    assert (await api.admin.get(CERTIFICATES)).body["num_records"] == 0
    (record,) = await api.audit()
    assert record.code == str(kind.code)
    assert "BEGIN PRIVATE" not in record.input
    assert pki.client.key_pem.splitlines()[1] not in record.input


async def test_a_key_in_a_wrong_place_is_not_kept(api: Api, pki: Pki) -> None:
    """A private key pasted where it does not belong is neither repeated nor recorded."""
    secret = pki.client.key_pem.splitlines()[1]
    for field in ("public_certificate", "name", "privat_key"):
        answer = await api.admin.post(CERTIFICATES, {"type": "client", field: pki.client.key_pem})
        assert secret.encode() not in answer.content
    assert all(secret not in f"{record.input}{record.message}" for record in await api.audit())


async def test_a_certificate_is_deleted(api: Api, pki: Pki) -> None:
    """200 and an empty object, also with the body ``{}`` that the official client sends; then it is gone."""
    first = await api.certificate("server_ca", pki.server_ca.pem, name="a")
    second = await api.certificate("server_ca", pki.server_ca.pem, name="b")
    answer = await api.admin.delete(f"{CERTIFICATES}/{first}", {})
    assert (answer.status, answer.body) == (200, {})
    assert (await api.admin.delete(f"{CERTIFICATES}/{second}?return_timeout=30")).status == 200
    assert_error(await api.admin.delete(f"{CERTIFICATES}/{first}"), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.get(f"{CERTIFICATES}/{first}"), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.delete(f"{CERTIFICATES}/{ABSENT}", {"x": 1}), errors.BODY_NOT_ALLOWED)
    assert_error(await api.admin.delete(f"{CERTIFICATES}/{ABSENT}?x=1"), errors.UNEXPECTED_ARGUMENT, "x")
    assert_error(await api.admin.delete(CERTIFICATES), errors.METHOD_NOT_SUPPORTED)
