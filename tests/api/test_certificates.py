"""``/security/certificates``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.api import collecting
from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers import openssl
from tests.peers.asgi import assert_error
from tests.peers.certificates import DAY

if TYPE_CHECKING:
    from pathlib import Path

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
        ({"type": "root_ca"}, errors.CERTIFICATE_TYPE, "type"),
        ({"type": "nosuch"}, errors.CERTIFICATE_TYPE, "type"),
        ({"type": None}, errors.INVALID_FIELD_VALUE, "type"),
        ({"public_certificate": "garbage"}, errors.CERTIFICATE_MALFORMED, "public_certificate"),
        ({"public_certificate": 5}, errors.INVALID_FIELD_VALUE, "public_certificate"),
        ({"private_key": ""}, errors.PRIVATE_KEY_EMPTY, "private_key"),
        ({"private_key": "garbage"}, errors.KEY_MALFORMED, "private_key"),
        ({"private_key": ["x"]}, errors.ARRAY_NOT_EXPECTED, "private_key"),
        ({"serial_number": "1"}, errors.SERIAL_GIVEN, "serial_number"),
        ({"expiry_time": "P1D"}, errors.FIELDS_EXCLUDE_EACH_OTHER, "expiry_time"),
        ({"key_size": 2048}, errors.FIELDS_EXCLUDE_EACH_OTHER, "key_size"),
        ({"hash_function": "sha256"}, errors.FIELDS_EXCLUDE_EACH_OTHER, "hash_function"),
        ({"subject_alternatives": {"dns": ["a"]}}, errors.FIELDS_EXCLUDE_EACH_OTHER, "subject_alternatives"),
        ({"ca": "x"}, errors.FIELD_NOT_SETTABLE, "ca"),
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


CREATED = {"type": "server", "common_name": "ks.example", "name": "made"}


async def test_a_self_signed_certificate(api: Api, tmp_path: Path) -> None:
    """Without public_certificate one is made, as asked for; openssl verifies it, and its key is nowhere to be read."""
    names = {"dns": ["ks.example", "*.b.example"], "ip": ["10.0.0.1", "::1"], "email": ["a@b.c"], "uri": ["urn:x:y"]}
    asked = CREATED | {"subject_alternatives": names, "key_size": "3072", "hash_function": "sha384"}
    created = await api.admin.post(f"{CERTIFICATES}?return_records=true", asked | {"expiry_time": "P30DT"})
    assert created.status == 201
    location = created.headers["location"]
    shown = (await api.admin.get(f"{location}?fields=*")).body
    assert (shown["name"], shown["common_name"], shown["ca"]) == ("made", "ks.example", "ks.example")
    assert (shown["key_size"], shown["hash_function"], shown["type"]) == (3072, "sha384", "server")
    assert shown["subject_alternatives"] == names
    assert shown["subject_key_identifier"] == shown["authority_key_identifier"]
    left = datetime.fromisoformat(shown["expiry_time"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    openssl.verify(tmp_path, shown["public_certificate"], shown["public_certificate"], "sslserver")
    for query in ("?fields=**", ""):
        content = (await api.admin.get(location + query)).content
        assert b"PRIVATE" not in content
    found = await api.admin.get(f"{CERTIFICATES}?subject_alternatives.dns=ks.example&fields=name")
    assert [record["name"] for record in found.body["records"]] == ["made"]
    assert all("PRIVATE KEY" not in f"{record.input}{record.message}" for record in await api.audit())


@pytest.mark.parametrize("expiry", ["2027-01-25T11:20:13Z", "2027-01-25 06:20:13 -0500"])
async def test_an_expiry_as_a_time(api: Api, expiry: str) -> None:
    """An expiry can be a time, in the two forms of ONTAP's pages."""
    created = await api.admin.post(CERTIFICATES, {"type": "client", "common_name": "a", "expiry_time": expiry})
    assert created.status == 201
    shown = (await api.admin.get(created.headers["location"])).body
    assert shown["expiry_time"] == "2027-01-25T11:20:13+00:00"
    assert "subject_alternatives" not in shown
    assert shown["name"] == f"a_{shown['serial_number']}_client"
    assert (await api.admin.get(f"{CERTIFICATES}?expiry_time=<2028-01-01T00:00:00Z")).body["num_records"] == 1
    assert (await api.admin.get(f"{CERTIFICATES}?expiry_time=<2026-12-01T00:00:00Z")).body["num_records"] == 0


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({"type": "server"}, errors.MISSING_VALUE, "common_name"),
        ({"common_name": "a"}, errors.MISSING_VALUE, "type"),
        ({"type": "nosuch", "common_name": "a"}, errors.CERTIFICATE_TYPE, "type"),
        ({"type": "server_ca", "common_name": "a"}, errors.MISSING_VALUE, "public_certificate"),
        (CREATED | {"private_key": "x"}, errors.MISSING_VALUE, "public_certificate"),
        (CREATED | {"intermediate_certificates": []}, errors.MISSING_VALUE, "public_certificate"),
        (CREATED | {"common_name": "a\nb"}, errors.COMMON_NAME_INVALID, "common_name"),
        (CREATED | {"expiry_time": "P1H"}, errors.INVALID_FIELD_VALUE, "expiry_time"),
        (CREATED | {"expiry_time": "PT1H"}, errors.VALIDITY_PERIOD, "expiry_time"),
        (CREATED | {"expiry_time": 5}, errors.INVALID_FIELD_VALUE, "expiry_time"),
        (CREATED | {"key_size": 1024}, errors.KEY_SIZE, "key_size"),
        (CREATED | {"key_size": "big"}, errors.INVALID_FIELD_VALUE, "key_size"),
        (CREATED | {"hash_function": "md5"}, errors.HASH_FUNCTION, "hash_function"),
        (CREATED | {"serial_number": "1"}, errors.SERIAL_GIVEN, "serial_number"),
        (
            CREATED | {"subject_alternatives": {"dns": ["a", "b c"]}},
            errors.INVALID_FIELD_VALUE,
            "subject_alternatives.dns[1]",
        ),
        (CREATED | {"subject_alternatives": {"ip": "::1"}}, errors.ARRAY_EXPECTED, "subject_alternatives.ip"),
        (CREATED | {"svm": {"name": "nosuch"}}, errors.SVM_NOT_FOUND, "svm.name"),
        (CREATED | {"name": " a"}, errors.INVALID_FIELD_VALUE, "name"),
    ],
)
async def test_a_bad_self_signed_certificate_has_its_code(
    api: Api, body: dict[str, Any], kind: ErrorKind, target: str
) -> None:
    """Each fault has its code and target, and nothing is made."""
    assert_error(await api.admin.post(CERTIFICATES, body), kind, target)
    assert (await api.admin.get(CERTIFICATES)).body["num_records"] == 0


async def test_checklist_104(api: Api, pki: Pki) -> None:
    """Client with key: created; another's key 52559976, expired 52559973, an authority with a key 3735618."""
    client = {"type": "client", "public_certificate": pki.client.certificate_pem, "private_key": pki.client.key_pem}
    assert (await api.admin.post(CERTIFICATES, client)).status == 201
    expired = pki.client_ca.issue((), starts=-2 * DAY, ends=-DAY)
    of_expired = {"public_certificate": expired.certificate_pem, "private_key": expired.key_pem}
    early = pki.client_ca.issue((), starts=DAY, ends=2 * DAY)
    of_early = {"public_certificate": early.certificate_pem, "private_key": early.key_pem}
    authority = {"type": "server_ca", "public_certificate": pki.server_ca.pem}
    for body, kind, target in (
        (client | {"private_key": pki.stranger.key_pem}, errors.KEY_MISMATCH, "private_key"),
        (client | of_expired, errors.CERTIFICATE_EXPIRED, "public_certificate"),
        (client | of_early, errors.CERTIFICATE_NOT_YET_VALID, "public_certificate"),
        (client | authority, errors.KEY_FOR_CA, "private_key"),
    ):
        assert_error(await api.admin.post(CERTIFICATES, body), kind, target)


async def test_a_name_that_is_taken(api: Api, pki: Pki) -> None:
    """``duplicate entry``, whose arguments name the certificate that has it: in POST and in PATCH."""
    first = await api.certificate("server_ca", pki.server_ca.pem, name="a")
    second = await api.certificate("client_ca", pki.client_ca.pem, name="b")
    again = await api.admin.post(CERTIFICATES, CREATED | {"name": "a"})
    assert_error(again, errors.DUPLICATE_ENTRY, "name")
    assert again.body["error"]["message"] == "duplicate entry"
    assert again.body["error"]["arguments"] == [{"code": "uuid", "message": first}]
    assert_error(await api.admin.patch(f"{CERTIFICATES}/{second}", {"name": "a"}), errors.DUPLICATE_ENTRY, "name")
    for name in ("b", "c"):
        assert (await api.admin.patch(f"{CERTIFICATES}/{second}", {"name": name})).status == 200
    assert (await api.admin.get(f"{CERTIFICATES}/{second}")).body["name"] == "c"
    assert_error(
        await api.admin.patch(f"{CERTIFICATES}/{second}", {"type": "client"}), errors.FIELD_NOT_SETTABLE, "type"
    )
    assert_error(await api.admin.patch(f"{CERTIFICATES}/{ABSENT}", {"name": "x"}), errors.ENTRY_NOT_FOUND, "uuid")


async def test_one_certificate_in_two_roles(api: Api, pki: Pki) -> None:
    """Without names, the same certificate is installed once per type."""
    for type_ in ("server_ca", "client_ca"):
        await api.certificate(type_, pki.server_ca.pem)
    again = await api.admin.post(CERTIFICATES, {"type": "client_ca", "public_certificate": pki.server_ca.pem})
    assert_error(again, errors.DUPLICATE_ENTRY, "name")
