"""netapp-ontap's certificates: an authority made, signing, and used, as the client's documentation shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from cryptography import x509
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import SecurityCertificate, SecurityConfig

from keystead.core import errors
from tests.peers import openssl

if TYPE_CHECKING:
    from pathlib import Path

    from netapp_ontap import HostConnection

    from tests.conformance.conftest import Installed


def made(type_: str, **fields: object) -> SecurityCertificate:
    """A self-signed certificate, made by the client."""
    name = f"{type_}-{uuid4().hex[:8]}"
    certificate = SecurityCertificate(type=type_, common_name=name, name=name, **fields)
    certificate.post(hydrate=True)
    return certificate


@pytest.mark.parametrize("type_", ["client", "server", "root_ca"])
def test_a_certificate_is_made(connection: HostConnection, type_: str) -> None:
    """Made with what the client's documentation sends, read back with its types, and deleted."""
    del connection
    certificate = made(type_, subject_alternatives={"dns": ["a.example"]}, expiry_time="P365DT")
    assert (certificate.type, certificate.key_size, certificate.hash_function) == (type_, 2048, "sha256")
    assert certificate.subject_alternatives.dns == ["a.example"]
    assert [found.uuid for found in SecurityCertificate.get_collection(name=certificate.name)] == [certificate.uuid]
    assert certificate.delete().http_response.status_code == 200
    assert SecurityCertificate.find(name=certificate.name) is None


def test_an_authority_signs_a_request(connection: HostConnection, tmp_path: Path) -> None:
    """Request and signature by the client's own actions; openssl verifies what comes of them."""
    del connection
    authority = made("root_ca")
    request = SecurityConfig().certificate_signing_request(
        body={"subject_name": "C=US,O=NTAP,CN=test.domain.com", "algorithm": "ec", "security_strength": "128"}
    )
    body = {"signing_request": request.http_response.json()["csr"], "hash_function": "sha256"}
    signed = authority.sign(body=body).http_response.json()["public_certificate"]
    openssl.verify(tmp_path, signed, authority.public_certificate, "sslserver")
    assert x509.load_pem_x509_certificate(signed.encode()).subject.rfc4514_string() == "CN=test.domain.com,O=NTAP,C=US"
    authority.delete()
    with pytest.raises(NetAppRestError) as raised:
        authority.sign(body=body)
    assert raised.value.http_err_response.http_response.json()["error"]["code"] == str(errors.ENTRY_NOT_FOUND.code)


def test_of_an_svm(installed: Installed) -> None:
    """An SVM's authority is found by the SVM, and not among the cluster's."""
    authority = made("root_ca", svm={"name": installed.svm.name})
    found = list(SecurityCertificate.get_collection(type="root_ca", **{"svm.name": installed.svm.name}))
    assert [certificate.uuid for certificate in found] == [authority.uuid]
    assert SecurityCertificate.find(name=authority.name, scope="cluster") is None
