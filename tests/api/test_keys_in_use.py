"""What keys forbid through the REST face: removing servers, deleting key managers and SVMs, a second key manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import errors
from tests.api.keys import serve_keys
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group


async def test_what_keys_forbid(api: Api, pki: Pki, pykmip_group: Group) -> None:
    """With ``force`` or without; nothing is changed by what is refused."""
    served = await serve_keys(api, pki, pykmip_group)
    svm = await served.svm("vs1")
    key_id = await served.create("vol1", svm={"name": "vs1"})
    first, second = (f"{served.path}/key-servers/{each.address}" for each in pykmip_group.primaries[:2])
    admin = api.admin

    assert (await admin.delete(f"{first}?force=true")).status == 200
    for query in ("", "?force=true", "?force=false"):
        error = assert_error(await admin.delete(f"{second}{query}"), errors.SOLE_COPY, "server")
        assert {"code": "key_id", "message": key_id} in error["arguments"]
    assert_error(await admin.delete(served.path), errors.KEYS_IN_USE)
    assert_error(await admin.delete(f"/api/svm/svms/{svm.uuid}"), errors.IN_USE, "uuid")
    manager = (await admin.get(f"{served.path}?fields=external")).body
    own = {
        "svm": {"name": "vs1"},
        "external": {
            "client_certificate": {"uuid": manager["external"]["client_certificate"]["uuid"]},
            "server_ca_certificates": [
                {"uuid": each["uuid"]} for each in manager["external"]["server_ca_certificates"]
            ],
            "servers": [{"server": pykmip_group.primaries[2].address}],
        },
    }
    assert_error(await admin.post("/api/security/key-managers", own), errors.KEYS_AT_CLUSTER)
    assert [each["server"] for each in manager["external"]["servers"]] == [pykmip_group.primaries[1].address]
    assert (await served.shown(key_id))["state"] == "committed"
    removed = (await admin.get(f"{served.path}/detached-key-servers?fields=*")).body["records"]
    assert [each["server"] for each in removed] == [pykmip_group.primaries[0].address]
    assert removed[0]["uuid"] == served.manager
    assert "secondary_key_servers" not in removed[0]


async def test_removed_servers_are_listed_in_pieces(api: Api, pki: Pki, pykmip_group: Group) -> None:
    """In the order in which they were removed; another SVM's key manager is none."""
    served = await serve_keys(api, pki, pykmip_group, primaries=3)
    await served.create("vol1")
    addresses = [each.address for each in pykmip_group.primaries[:2]]
    for address in reversed(addresses):
        assert (await api.admin.delete(f"{served.path}/key-servers/{address}")).status == 200
    found, url = [], f"{served.path}/detached-key-servers?max_records=1"
    while url:
        body = (await api.admin.get(url)).body
        found += [each["server"] for each in body["records"]]
        url = body["_links"].get("next", {}).get("href", "")
    assert found == addresses[::-1]
    client = await served.vsadmin("vs2")
    assert_error(await client.get(f"{served.path}/detached-key-servers"), errors.ENTRY_NOT_FOUND, "uuid")


async def test_a_removed_server_is_given_up(api: Api, pki: Pki, pykmip_group: Group) -> None:
    """Not while a key in use would be lost; then it is forgotten. One that is no removed server is not found."""
    served = await serve_keys(api, pki, pykmip_group, primaries=2)
    await served.create("vol1")
    first, second = (each.address for each in pykmip_group.primaries[:2])
    url = f"{served.path}/detached-key-servers"
    assert_error(await api.admin.delete(f"{url}/{first}"), errors.ENTRY_NOT_FOUND, "server")
    assert_error(await api.admin.get(f"{url}/{first}"), errors.ENTRY_NOT_FOUND, "server")
    assert (await api.admin.delete(f"{served.path}/key-servers/{first}")).status == 200
    assert (await api.admin.get(f"{url}/{first}?fields=*")).body["server"] == first
    client = await served.vsadmin("vs2")
    assert_error(await client.delete(f"{url}/{first}"), errors.ENTRY_NOT_FOUND, "uuid")
    (left,) = await api.store.read(lambda tx: tx.key_servers(served.manager))
    await api.store.write(lambda tx: tx.delete_key_server(left.uuid))
    assert_error(await api.admin.delete(f"{url}/{first}"), errors.SOLE_COPY, "server")
    await api.store.write(lambda tx: tx.add_key_servers([left]))
    assert (await api.admin.delete(f"{url}/{first}")).status == 200
    assert (await api.admin.get(url)).body["num_records"] == 0
    assert_error(await api.admin.delete(f"{url}/{second}"), errors.ENTRY_NOT_FOUND, "server")
