"""``/private/cli/security/certificate``: certificates under the names of ONTAP's command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

PLAIN = {"accept": "application/json"}
PATH = "/api/private/cli/security/certificate"
REST = "/api/security/certificates"


async def test_the_names_are_those_of_the_command_line(api: Api, pki: Pki) -> None:
    """Every value is the one that ``/security/certificates`` shows; ``subtype`` has no value here."""
    client, _ = await api.certificates(pki)
    fields = "cert-name,subtype,size,start,expiration,public_cert,hash_function,self_signed"
    answer = await api.readonly.get(f"{PATH}?type=client&fields={fields}", headers=PLAIN)
    rest = (await api.admin.get(f"{REST}/{client}")).body
    cluster = (await api.admin.get("/api/cluster")).body["name"]
    (record,) = answer.body["records"]
    assert record.pop("start") < record["expiration"]
    assert record == {
        "vserver": cluster,
        "common_name": rest["common_name"],
        "serial": rest["serial_number"],
        "ca": rest["ca"],
        "type": "client",
        "cert_name": rest["name"],
        "size": rest["key_size"],
        "expiration": rest["expiry_time"],
        "public_cert": rest["public_certificate"],
        "hash_function": rest["hash_function"],
        "self_signed": False,
    }


async def test_it_shows_the_keys_of_the_command_by_default(api: Api, pki: Pki) -> None:
    """The values that name a certificate on the command line."""
    await api.certificates(pki)
    body = (await api.admin.get(PATH, headers=PLAIN)).body
    assert body["num_records"] == 2
    assert {frozenset(record) for record in body["records"]} == {
        frozenset({"vserver", "common_name", "serial", "ca", "type"})
    }


async def test_it_is_filtered_ordered_and_cut_into_pages(api: Api, pki: Pki) -> None:
    """By names with dashes and with underscores; the owner is an SVM or the cluster."""
    await api.certificates(pki)
    await api.admin.post("/api/svm/svms", {"name": "vs1"})
    await api.certificate("server_ca", pki.server_ca.pem, svm={"name": "vs1"})
    of_svm = (await api.admin.get(f"{PATH}?vserver=vs1&fields=cert_name")).body["records"]
    assert [record["vserver"] for record in of_svm] == ["vs1"]
    found, url = [], f"{PATH}?self-signed=true&type=server_ca&order_by=cert-name%20desc&fields=cert-name&max_records=1"
    while url:
        body = (await api.admin.get(url)).body
        found += [record["cert_name"] for record in body["records"]]
        url = body["_links"].get("next", {}).get("href", "")
    assert len(found) == 2
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(
    ("query", "kind", "target"),
    [
        ("fields=*", errors.ALL_FIELDS_OF_CLI, "fields"),
        ("fields=ca,**", errors.ALL_FIELDS_OF_CLI, "fields"),
        ("fields=uuid", errors.INVALID_FIELDS_VALUE, "fields"),
        ("common-name=a&common_name=a", errors.FIELD_TWICE, "common_name"),
        ("nothing=1", errors.UNEXPECTED_ARGUMENT, "nothing"),
        ("expiration=soon", errors.INVALID_FIELD_VALUE, "expiration"),
    ],
)
async def test_what_is_refused(api: Api, query: str, kind: ErrorKind, target: str) -> None:
    """``fields=*`` as at ONTAP, the rest as elsewhere."""
    assert_error(await api.admin.get(f"{PATH}?{query}"), kind, target=target)


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_it_only_reads(api: Api, method: str) -> None:
    """Certificates are written at ``/security/certificates``."""
    assert_error(await api.admin(method, PATH, {}), errors.METHOD_NOT_SUPPORTED)
