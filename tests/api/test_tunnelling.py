"""keystead.api.tunnelling: headers that confine a call to one SVM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from keystead.api.tunnelling import NAME_HEADER, _header
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Account, Role
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.core.model import Svm
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

CERTIFICATES = "/api/security/certificates"


@dataclass
class Tunnels:
    """Two SVMs with a certificate each, one of the cluster's, and the admin of the first."""

    vs1: Svm
    vs2: Svm
    vsadmin: AsgiClient


@pytest.fixture
async def tunnels(api: Api, pki: Pki) -> Tunnels:
    """Make them."""
    for name in ("vs1", "vs2"):
        assert (await api.admin.post("/api/svm/svms", {"name": name})).status == 201
        await api.certificate("server_ca", pki.server_ca.pem, svm={"name": name})
    await api.certificate("server_ca", pki.server_ca.pem)

    def add(tx: Transaction) -> tuple[Svm, Svm]:
        vs1, vs2, admin = tx.svm_named("vs1"), tx.svm_named("vs2"), tx.account("admin")
        assert vs1 and vs2 and admin  # noqa: PT018 - one line for the type checker
        tx.put_account(Account("vsadmin1", Role.VSADMIN, admin.password_hash, svm=vs1))
        return vs1, vs2

    vs1, vs2 = await api.store.write(add)
    return Tunnels(vs1, vs2, AsgiClient(api.admin.app, "vsadmin1", PASSWORD))


async def names(client: AsgiClient, query: str = "", **headers: str) -> list[str | None]:
    """Return the SVMs of the certificates that a call lists; None is the cluster."""
    answer = await client.get(
        f"{CERTIFICATES}?fields=svm{query}", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    assert answer.status == 200, answer.content
    assert answer.body["num_records"] == len(answer.body["records"])
    return [record.get("svm", {}).get("name") for record in answer.body["records"]]


async def test_a_tunnelled_call_sees_one_svm(api: Api, tunnels: Tunnels) -> None:
    """By name, by uuid in any case, by both: that SVM's objects only; without headers all."""
    assert set(await names(api.admin)) == {None, "vs1", "vs2"}
    assert await names(api.admin, x_dot_svm_name="vs1") == ["vs1"]
    assert await names(api.admin, x_dot_svm_uuid=tunnels.vs2.uuid.upper()) == ["vs2"]
    assert await names(api.admin, x_dot_svm_name="vs2", x_dot_svm_uuid=tunnels.vs2.uuid) == ["vs2"]
    assert await names(api.admin, "&svm.name=vs2", x_dot_svm_name="vs2") == ["vs2"]
    assert await names(api.admin, f"&svm.uuid={tunnels.vs2.uuid.upper()}", x_dot_svm_name="vs2") == ["vs2"]
    assert await names(api.admin, "&scope=cluster", x_dot_svm_name="vs2") == []


async def test_an_object_outside_of_the_tunnel_is_missing(api: Api, tunnels: Tunnels) -> None:
    """The body of a 404 for an object of another SVM is that of an absent one."""
    every = (await api.admin.get(f"{CERTIFICATES}?svm.uuid={tunnels.vs2.uuid}")).body["records"]
    tunnelled = {"x-dot-svm-name": "vs1"}
    foreign = await api.admin.get(f"{CERTIFICATES}/{every[0]['uuid']}", headers=tunnelled)
    absent = await api.admin.get(f"{CERTIFICATES}/{ABSENT}", headers=tunnelled)
    assert_error(foreign, errors.ENTRY_NOT_FOUND, "uuid")
    assert (foreign.status, foreign.content, foreign.headers) == (absent.status, absent.content, absent.headers)


async def test_what_is_created_belongs_to_the_tunnels_svm(api: Api, tunnels: Tunnels, pki: Pki) -> None:
    """The body need not name the SVM; when it names another, nothing is created."""
    body = {"type": "server_ca", "public_certificate": pki.server_ca.pem, "name": "made"}
    tunnelled = {"x-dot-svm-name": "vs1"}
    other = body | {"svm": {"name": "vs2"}}
    assert_error(await api.admin.post(CERTIFICATES, other, headers=tunnelled), errors.SVM_NOT_FOUND, "svm.name")
    other = body | {"svm": {"uuid": tunnels.vs2.uuid}}
    assert_error(await api.admin.post(CERTIFICATES, other, headers=tunnelled), errors.SVM_NOT_FOUND, "svm.uuid")
    assert (await api.admin.post(CERTIFICATES, body, headers=tunnelled)).status == 201
    assert await names(api.admin, "&name=made") == ["vs1"]


async def test_contradictions_are_refused(api: Api, tunnels: Tunnels) -> None:
    """Two headers of two SVMs, a header twice with two values, a query of another SVM: 400."""
    vs1, vs2 = tunnels.vs1, tunnels.vs2
    both = {"x-dot-svm-name": "vs1", "x-dot-svm-uuid": vs2.uuid}
    assert_error(await api.admin.get(CERTIFICATES, headers=both), errors.SVM_NOT_FOUND, "svm.uuid")
    one = {"x-dot-svm-uuid": vs1.uuid}
    for query, target in (("svm.name=vs2", "svm.name"), (f"svm.uuid={vs2.uuid}", "svm.uuid")):
        answer = await api.admin.get(f"{CERTIFICATES}?{query}", headers=one)
        assert_error(answer, errors.FIELDS_EXCLUDE_EACH_OTHER, target)


def test_a_header_is_given_once() -> None:
    """Two values that differ are 262188; the same value twice is one."""
    twice = {"headers": [(b"x-dot-svm-name", b"vs1"), (b"x-dot-svm-name", b"vs2")]}
    with pytest.raises(OntapError) as caught:
        _header(twice, NAME_HEADER)
    assert (caught.value.kind, caught.value.target) == (errors.FIELD_TWICE, NAME_HEADER)
    assert _header({"headers": twice["headers"][:1] * 2}, NAME_HEADER) == "vs1"


async def test_a_uuid_header_is_one(api: Api) -> None:
    """Refuse by name what is no uuid."""
    answer = await api.admin.get(CERTIFICATES, headers={"x-dot-svm-uuid": "vs1"})
    assert_error(answer, errors.INVALID_FIELD_VALUE, "X-Dot-SVM-UUID")


async def test_an_empty_header_is_no_svm(api: Api, tunnels: Tunnels) -> None:
    """A call that was meant to be confined never acts on the whole cluster: 400, for accounts of SVMs too."""
    for client in (api.admin, tunnels.vsadmin):
        answer = await client.delete(f"{CERTIFICATES}?name=*", headers={"x-dot-svm-name": ""})
        assert_error(answer, errors.SVM_NOT_FOUND, "svm.name")
        answer = await client.get(CERTIFICATES, headers={"x-dot-svm-uuid": ""})
        assert_error(answer, errors.INVALID_FIELD_VALUE, "X-Dot-SVM-UUID")
    assert set(await names(api.admin)) == {None, "vs1", "vs2"}


async def test_an_svm_account_names_its_own_svm_only(api: Api, tunnels: Tunnels) -> None:
    """Its own is fine; a foreign one answers exactly as an unknown one, but for the name that the caller wrote."""
    vsadmin = tunnels.vsadmin
    assert await names(vsadmin) == ["vs1"]
    assert await names(vsadmin, x_dot_svm_name="vs1", x_dot_svm_uuid=tunnels.vs1.uuid) == ["vs1"]
    foreign = await vsadmin.get(CERTIFICATES, headers={"x-dot-svm-name": "vs2"})
    unknown = await vsadmin.get(CERTIFICATES, headers={"x-dot-svm-name": "vs3"})
    assert_error(foreign, errors.SVM_NOT_FOUND, "svm.name")
    assert foreign.content == unknown.content.replace(b"vs3", b"vs2")
    assert foreign.headers == unknown.headers
    foreign = await vsadmin.get(CERTIFICATES, headers={"x-dot-svm-uuid": tunnels.vs2.uuid})
    unknown = await vsadmin.get(CERTIFICATES, headers={"x-dot-svm-uuid": ABSENT})
    assert foreign.content == unknown.content.replace(ABSENT.encode(), tunnels.vs2.uuid.encode())
    assert (await api.admin.get(CERTIFICATES, headers={"x-dot-svm-name": "vs3"})).content == unknown.content.replace(
        ABSENT.encode(), b"vs3"
    ).replace(b"svm.uuid", b"svm.name")


async def test_the_tunnel_is_looked_at_after_the_role(api: Api, tunnels: Tunnels) -> None:
    """An account that may not call at all learns nothing of SVMs; other X-Dot headers are ignored."""
    for svm in ("vs2", "vs3"):
        answer = await api.readonly.post(CERTIFICATES, {}, headers={"x-dot-svm-name": svm})
        assert_error(answer, errors.NOT_AUTHORIZED)
    answer = await tunnels.vsadmin.get("/api/cluster/nodes", headers={"x-dot-svm-name": "vs2"})
    assert_error(answer, errors.NOT_AUTHORIZED)
    assert await names(api.admin, x_dot_error_arguments="true", x_dot_client_app="test") != []
