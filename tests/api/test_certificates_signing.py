"""``/security/certificates/{uuid}/sign`` and ``/security/certificate-signing-request``, with openssl and PyKMIP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers import openssl, pykmip
from tests.peers.asgi import assert_error
from tests.peers.certificates import Credentials, Trusted

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.core.errors import ErrorKind
    from tests.api.conftest import Api
    from tests.peers.certificates import Key
    from tests.peers.fixtures import Pki

CERTIFICATES = "/api/security/certificates"
REQUESTS = "/api/security/certificate-signing-request"
OF_THE_PAGE = {
    "algorithm": "rsa",
    "extended_key_usage": ["serverauth"],
    "hash_function": "sha256",
    "key_usage": ["digitalsignature"],
    "security_strength": "112",
    "subject_alternatives": {
        "dns": ["*.example.com", "*.example1.com"],
        "email": ["abc@example.com", "abc@example1.com"],
        "ip": ["10.225.34.223", "10.225.34.224"],
        "uri": ["http://example.com", "http://example1.com"],
    },
    "subject_name": "C=US,O=NTAP,CN=test.domain.com",
}


async def root_ca(api: Api, name: str = "root", **more: Any) -> tuple[str, str]:
    """Make an authority; return its uuid and certificate."""
    created = await api.admin.post(CERTIFICATES, {"type": "root_ca", "common_name": name, "name": name, **more})
    assert created.status == 201, created.content
    location = created.headers["location"]
    return location.rpartition("/")[2], (await api.admin.get(location)).body["public_certificate"]


async def certified(api: Api, ca: str, **asked: Any) -> tuple[str, str]:
    """Make a request and have it signed; return certificate and key."""
    made = (await api.admin.post(REQUESTS, asked)).body
    signed = await api.admin.post(f"{CERTIFICATES}/{ca}/sign", {"signing_request": made["csr"]})
    assert signed.status == 200, signed.content
    return signed.body["public_certificate"], made["generated_private_key"]


async def test_the_request_of_the_page(api: Api, tmp_path: Path) -> None:
    """The example of ONTAP's page, as it is printed there: openssl reads in it what was asked for."""
    answer = await api.admin.post(REQUESTS, OF_THE_PAGE)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache,no-store,must-revalidate")
    echoed = {name: value for name, value in OF_THE_PAGE.items() if "usage" not in name} | {"security_strength": 112}
    assert answer.body.items() >= echoed.items()
    assert (answer.body["key_usages"], answer.body["extended_key_usages"]) == (["digitalsignature"], ["serverauth"])
    text = openssl.request_text(tmp_path, answer.body["csr"])
    for shown in (
        *("Subject: C=US, O=NTAP, CN=test.domain.com", "Public-Key: (2048 bit)", "Digital Signature"),
        *("TLS Web Server Authentication", "DNS:*.example1.com", "IP Address:10.225.34.224", "URI:http://example.com"),
    ):
        assert shown in text
    key = serialization.load_pem_private_key(answer.body["generated_private_key"].encode(), None)
    assert key.public_key() == x509.load_pem_x509_csr(answer.body["csr"].encode()).public_key()


async def test_the_key_of_a_request_is_in_its_answer_only(api: Api) -> None:
    """Neither the audit log nor the store keeps anything of it."""
    answer = await api.admin.post(REQUESTS, {"subject_name": "CN=a", "algorithm": "ec", "security_strength": 128})
    secret = answer.body["generated_private_key"].splitlines()[1]
    (record,) = await api.audit()
    assert secret not in repr(record)
    assert (record.state, record.message) == ("success", "made a certificate signing request")
    assert (await api.admin.get(CERTIFICATES)).body["num_records"] == 0


@pytest.mark.parametrize(
    ("asked", "bits"),
    [
        ({}, "2048"),
        ({"security_strength": 128}, "3072"),
        ({"algorithm": "ec"}, "224"),
        ({"algorithm": "ec", "security_strength": 128}, "256"),
        ({"algorithm": "ec", "security_strength": 192, "hash_function": "sha384"}, "384"),
    ],
)
async def test_keys_of_requests(api: Api, tmp_path: Path, asked: dict[str, Any], bits: str) -> None:
    """Algorithm and security strength decide the key; openssl verifies each request."""
    answer = await api.admin.post(REQUESTS, asked | {"subject_name": "CN=a"})
    assert f"({bits} bit)" in openssl.request_text(tmp_path, answer.body["csr"])


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({}, errors.NO_NAME_TO_CERTIFY, "subject_name"),
        ({"subject_name": "nonsense"}, errors.SUBJECT_MALFORMED, "subject_name"),
        ({"subject_name": "CN=a\u0007"}, errors.SUBJECT_MALFORMED, "subject_name"),
        ({"subject_name": "CN=" + "a" * 2000}, errors.INVALID_FIELD_VALUE, "subject_name"),
        ({"subject_name": "CN=a", "security_strength": 80}, errors.SECURITY_STRENGTH, "security_strength"),
        ({"subject_name": "CN=a", "security_strength": 192}, errors.KEY_SIZE, "security_strength"),
        ({"subject_name": "CN=a", "hash_function": "sha1"}, errors.HASH_FUNCTION, "hash_function"),
        ({"subject_name": "CN=a", "key_usages": ["critical"]}, errors.ONLY_CRITICAL, "key_usages"),
        ({"subject_name": "CN=a", "key_usages": ["anything"]}, errors.INVALID_FIELD_VALUE, "key_usages[0]"),
        ({"subject_name": "CN=a", "extended_key_usages": "x"}, errors.ARRAY_EXPECTED, "extended_key_usages"),
        ({"subject_name": "CN=a", "algorithm": "dsa"}, errors.INVALID_FIELD_VALUE, "algorithm"),
        ({"subject_name": "CN=a", "csr": "x"}, errors.FIELD_NOT_SETTABLE, "csr"),
        ({"subject_name": "CN=a", "generated_private_key": "x"}, errors.FIELD_NOT_SETTABLE, "generated_private_key"),
        (
            {"subject_alternatives": {"uri": ["http://a", "no"]}},
            errors.INVALID_FIELD_VALUE,
            "subject_alternatives.uri[1]",
        ),
    ],
)
async def test_a_bad_request_has_its_code(api: Api, body: dict[str, Any], kind: ErrorKind, target: str) -> None:
    """Each fault has its code and target."""
    assert_error(await api.admin.post(REQUESTS, body), kind, target)


async def test_a_signature(api: Api, tmp_path: Path) -> None:
    """A request of openssl's is signed; openssl verifies the certificate for client and server."""
    ca, ca_pem = await root_ca(api)
    csr, _ = openssl.request(tmp_path, "/C=US/O=NTAP/CN=ks.example", "-addext", "subjectAltName=DNS:ks.example")
    body = {"signing_request": csr, "expiry_time": "P30D", "hash_function": "sha512"}
    answer = await api.admin.post(f"{CERTIFICATES}/{ca}/sign?return_records=true", body)
    assert answer.status == 200
    assert list(answer.body) == ["public_certificate"]
    for purpose in ("sslclient", "sslserver"):
        openssl.verify(tmp_path, answer.body["public_certificate"], ca_pem, purpose)
    certificate = x509.load_pem_x509_certificate(answer.body["public_certificate"].encode())
    assert certificate.subject.rfc4514_string() == "CN=ks.example,O=NTAP,C=US"
    *_, record = await api.audit()
    assert record.message == f"certificate {ca} signed serial number {certificate.serial_number:X}"
    assert (await api.admin.get(CERTIFICATES)).body["num_records"] == 1


async def test_serial_numbers_are_random(api: Api) -> None:
    """The same request twice gives two certificates (RFC 5280 section 4.1.2.2)."""
    ca, _ = await root_ca(api)
    csr = (await api.admin.post(REQUESTS, {"subject_name": "CN=a", "algorithm": "ec"})).body["csr"]
    signed = [
        (await api.admin.post(f"{CERTIFICATES}/{ca}/sign", {"signing_request": csr})).body["public_certificate"]
        for _ in range(2)
    ]
    numbers = {x509.load_pem_x509_certificate(pem.encode()).serial_number for pem in signed}
    assert len(numbers) == 2
    assert all(number.bit_length() > 64 for number in numbers)


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({}, errors.MISSING_VALUE, "signing_request"),
        ({"signing_request": "x"}, errors.NOT_SIGNED, "signing_request"),
        ({"signing_request": 5}, errors.INVALID_FIELD_VALUE, "signing_request"),
        ({"expiry_time": "P3653D"}, errors.VALIDITY_PERIOD, "expiry_time"),
        ({"expiry_time": "P300D"}, errors.OUTLIVES_CA, "expiry_time"),
        ({"hash_function": "md5"}, errors.HASH_FUNCTION, "hash_function"),
        ({"public_certificate": "x"}, errors.FIELD_NOT_SETTABLE, "public_certificate"),
        ({"serial_number": "x"}, errors.UNEXPECTED_ARGUMENT, "serial_number"),
        ({"subject_name": "C=US"}, errors.COMMON_NAME_ABSENT, "signing_request"),
        ({"subject_name": "CN=root"}, errors.COMMON_NAME_OF_CA, "signing_request"),
        ({"subject_name": "CN=a", "extended_key_usages": ["codesigning"]}, errors.NOT_SIGNED, "signing_request"),
    ],
)
async def test_what_is_not_signed(api: Api, tmp_path: Path, body: dict[str, Any], kind: ErrorKind, target: str) -> None:
    """Each fault has its code and target; no certificate is in the answer."""
    ca, _ = await root_ca(api, expiry_time="P200D")
    if body and "signing_request" not in body:
        if body.get("subject_name") == "C=US":
            csr, _ = openssl.request(tmp_path, "/C=US")
        else:
            names = {name: body[name] for name in ("subject_name", "extended_key_usages") if name in body}
            asked = {"subject_name": "CN=a", "algorithm": "ec"} | names
            csr = (await api.admin.post(REQUESTS, asked)).body["csr"]
        of_order = {name: value for name, value in body.items() if name not in {"subject_name", "extended_key_usages"}}
        body = {"signing_request": csr} | of_order
    assert_error(await api.admin.post(f"{CERTIFICATES}/{ca}/sign", body), kind, target)


async def test_who_signs(api: Api, pki: Pki) -> None:
    """A root_ca that is there, and no other type; nobody with the role readonly."""
    csr = (await api.admin.post(REQUESTS, {"subject_name": "CN=a", "algorithm": "ec"})).body["csr"]
    body = {"signing_request": csr}
    other = await api.certificate("server_ca", pki.server_ca.pem)
    assert_error(await api.admin.post(f"{CERTIFICATES}/{other}/sign", body), errors.CA_UNUSABLE, "uuid")
    assert_error(await api.admin.post(f"{CERTIFICATES}/{ABSENT}/sign", body), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.post(f"{CERTIFICATES}/nonsense/sign", body), errors.INVALID_PATH_VALUE, "uuid")
    assert_error(await api.admin.get(f"{CERTIFICATES}/{other}/sign"), errors.METHOD_NOT_SUPPORTED)
    assert_error(await api.readonly.post(f"{CERTIFICATES}/{other}/sign", body), errors.NOT_AUTHORIZED)
    assert_error(await api.readonly.post(REQUESTS, {"subject_name": "CN=a"}), errors.NOT_AUTHORIZED)
    ca, _ = await root_ca(api)
    assert (await api.admin.delete(f"{CERTIFICATES}/{ca}")).status == 200
    assert_error(await api.admin.post(f"{CERTIFICATES}/{ca}/sign", body), errors.ENTRY_NOT_FOUND, "uuid")


@pytest.mark.parametrize("purposes", [[], ["clientauth"]], ids=["unstated", "client"])
async def test_an_authority_of_our_own_from_end_to_end(
    api: Api, tmp_path_factory: pytest.TempPathFactory, purposes: list[str]
) -> None:
    """Made, and signing, here: PyKMIP and Keystead trust each other by it, over mutual TLS."""
    ca, ca_pem = await root_ca(api)
    names = {"ip": ["127.0.0.1"], "dns": ["localhost"]}
    server, server_key = await certified(api, ca, subject_name="CN=key server", subject_alternatives=names)
    client, client_key = await certified(api, ca, subject_name="CN=keystead", extended_key_usages=purposes)
    credentials = Credentials(
        x509.load_pem_x509_certificate(server.encode()),
        cast("Key", serialization.load_pem_private_key(server_key.encode(), None)),
    )
    client_uuid = await api.certificate("client", client, client_key)
    trusted = await api.certificate("server_ca", ca_pem)
    with pykmip.running(1, tmp_path_factory.mktemp("kmip"), credentials, Trusted(ca_pem)) as (program,):
        external = {
            "client_certificate": {"uuid": client_uuid},
            "server_ca_certificates": [{"uuid": trusted}],
            "servers": [{"server": f"127.0.0.1:{program.port}"}],
        }
        answer = await api.admin.post("/api/security/key-managers", {"external": external})
    assert answer.status == 201, answer.content
    in_use = await api.admin.delete(f"{CERTIFICATES}/{client_uuid}")
    assert_error(in_use, errors.CERTIFICATE_IN_USE)
    assert (await api.admin.delete(f"{CERTIFICATES}/{ca}")).status == 200


async def test_an_expiry_that_is_a_date(api: Api) -> None:
    """``sign`` and the making of a certificate take a date alone: midnight UTC, when it begins."""
    ends = (datetime.now(UTC) + timedelta(30)).date()
    uuid, certificate = await root_ca(api, expiry_time=f"{ends + timedelta(1)}")
    assert x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.date() == ends + timedelta(1)
    made = (await api.admin.post(REQUESTS, {"subject_name": "CN=a", "algorithm": "ec"})).body
    order = {"signing_request": made["csr"], "expiry_time": f"{ends}"}
    signed = await api.admin.post(f"{CERTIFICATES}/{uuid}/sign", order)
    read = x509.load_pem_x509_certificate(signed.body["public_certificate"].encode())
    assert read.not_valid_after_utc == datetime(ends.year, ends.month, ends.day, tzinfo=UTC)
