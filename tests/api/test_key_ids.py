"""``.../keys/{node}/key-ids``, ``.../restore`` and ``.../replicate``, on real key servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.model import Role
from tests.api.conftest import ABSENT
from tests.api.keys import PLAIN, serve_keys
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.api.keys import Served
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group


@pytest.fixture
async def served(api: Api, pki: Pki, pykmip_group: Group) -> Served:
    """Two primaries."""
    return await serve_keys(api, pki, pykmip_group)


@pytest.fixture
async def node(served: Served) -> str:
    """Return the uuid of the one node."""
    (record,) = (await served.api.admin.get("/api/cluster/nodes")).body["records"]
    return str(record["uuid"])


async def test_key_ids_of_a_node(served: Served, node: str, pykmip_group: Group) -> None:
    """All types, with ONTAP's fields, each of which filters; ``restored`` is what the node can read."""
    await served.svm("vs1")
    vol = await served.create("vol1", key_tag="gold", svm={"name": "vs1"})
    auth = (await served.api.admin.post(f"{served.path}/auth-keys", {})).headers["location"].rpartition("/")[2]
    retired = await served.create("vol2")
    await served.api.admin.delete(f"{served.url}/{retired}")
    url = f"{served.path}/keys/{node}/key-ids"
    shown: dict[str, Any] = (await served.api.admin.get(f"{url}/{vol}", headers=PLAIN)).body
    node_name, svm_uuid = shown["node"].pop("name"), shown["svm"].pop("uuid")
    assert node_name
    assert svm_uuid
    assert shown == {
        "key_id": vol,
        "key_server": pykmip_group.primaries[0].address,
        "key_manager": "default",
        "key_store": "external",
        "key_store_type": "kmip",
        "key_tag": "gold",
        "key_type": "vek",
        "key_user": "vs1",
        "encryption_algorithm": "XTS-AES-256",
        "restored": True,
        "node": {"uuid": node},
        "security_key_manager": {"uuid": served.manager},
        "scope": "svm",
        "svm": {"name": "vs1"},
    }
    for query, found in (
        ("", [vol, auth]),
        ("key_type=nse_ak", [auth]),
        ("key_type=vek", [vol]),
        ("key_tag=g*", [vol]),
        ("key_user=vs1", [vol]),
        ("svm.name=vs1", [vol]),
        ("scope=cluster", [auth]),
        (f"key_server={pykmip_group.primaries[0].address}", [vol, auth]),
        (f"key_server={pykmip_group.primaries[1].address}", []),
        ("restored=false", []),
        ("key_store=onboard", []),
        (f"node.uuid={node}&order_by=key_type desc", [vol, auth]),
        ("encryption_algorithm=null", [auth]),
    ):
        listed = (await served.api.admin.get(f"{url}?{query}", headers=PLAIN)).body["records"]
        assert sorted(record["key_id"] for record in listed) == sorted(found), query
    filtered = (await served.api.admin.get(f"{url}?key_type=nse_ak", headers=PLAIN)).body["records"]
    assert filtered == [
        {
            "key_id": auth,
            "key_server": pykmip_group.primaries[0].address,
            "key_type": "nse_ak",
            "security_key_manager": {"uuid": served.manager},
        }
    ]


async def test_key_ids_that_are_not_there(served: Served, node: str) -> None:
    """65537125 for what is no key manager, 4 for another node or key; malformed uuids are 2."""
    key_id = await served.create("vol1")
    admin, missing = served.api.admin, served.path.replace(served.manager, ABSENT)
    assert_error(await admin.get(f"{missing}/keys/{node}/key-ids"), errors.NOT_A_KEY_MANAGER, "uuid")
    assert_error(await admin.get(f"{missing}/keys/{node}/key-ids/{key_id}"), errors.NOT_A_KEY_MANAGER, "uuid")
    assert_error(await admin.get(f"{served.path}/keys/{ABSENT}/key-ids"), errors.ENTRY_NOT_FOUND, "node_uuid")
    assert_error(await admin.get(f"{served.path}/keys/x/key-ids"), errors.INVALID_PATH_VALUE, "node_uuid")
    absent = await admin.get(f"{served.path}/keys/{node}/key-ids/{'0' * 80}")
    assert_error(absent, errors.ENTRY_NOT_FOUND, "key_id")


async def test_an_svm_sees_its_key_ids_and_no_server(served: Served, node: str) -> None:
    """In the cluster's key manager; one that is not its is as none."""
    vs1 = await served.vsadmin("vs1")
    own = (await vs1.post(served.url, {"name": "vol1"})).headers["location"].rpartition("/")[2]
    foreign = await served.create("vol2")
    url = f"{served.path}/keys/{node}/key-ids"
    listed = await vs1.get(f"{url}?fields=**")
    assert [record["key_id"] for record in listed.body["records"]] == [own]
    assert b"127.0.0.1" not in listed.content
    assert_error(await vs1.get(f"{url}/{foreign}"), errors.ENTRY_NOT_FOUND, "key_id")
    restored = await vs1.post(f"{served.path}/restore?return_timeout=30&return_records=true")
    assert [record["key_id"] for record in restored.body["records"]] == [own]
    assert b"key_server" not in restored.content


async def test_keys_are_restored_into_memory(served: Served, node: str, pykmip_group: Group) -> None:
    """A job; with ``return_records`` it says which. Then they are read although every server is dead."""
    reader = await served.account("reader", Role.KEY_READER)
    gold, plain = await served.create("vol1", key_tag="gold"), await served.create("vol2")
    url = f"{served.path}/restore"
    started = await served.api.admin.post(url, {"key_tag": "silver"})
    assert started.status == 202
    assert started.body["job"]["_links"]["self"]["href"].startswith("/api/cluster/jobs/")
    body = {"key_tag": "gold", "node": {"uuid": node}}
    done = await served.api.admin.post(f"{url}?return_timeout=30&return_records=true", body, headers=PLAIN)
    assert done.status == 201, done.content
    (record,) = done.body["records"]
    assert (record["key_id"], record["key_tag"], record["node"]["uuid"]) == (gold, "gold", node)
    for server in pykmip_group.primaries[:2]:
        server.kill()
    assert (await reader.post(f"{served.url}/{gold}/retrieve")).status == 200
    assert_error(await reader.post(f"{served.url}/{plain}/retrieve"), errors.KEY_NOT_READ)
    failed = await served.api.admin.post(f"{url}?return_timeout=60")
    assert_error(failed, errors.VOLUME_KEY_NOT_RESTORED)


async def test_what_a_restore_refuses(served: Served, pykmip_group: Group) -> None:
    """A secondary or unknown key server, another node, what is no filter: before there is a job."""
    first = pykmip_group.primaries[0].address
    secondary = {"secondary_key_servers": ["localhost"]}
    for body, kind, target in (
        ({"key_server": "ks9.example.com"}, errors.KEY_SERVER_NOT_CONFIGURED, "key_server"),
        ({"node": {"uuid": ABSENT}}, errors.INVALID_VALUE, "node.uuid"),
        ({"node": {"name": "nosuch"}}, errors.INVALID_VALUE, "node.name"),
        ({"key_id": "x"}, errors.INVALID_FIELD_VALUE, "key_id"),
        ({"name": "vol1"}, errors.UNEXPECTED_ARGUMENT, "name"),
    ):
        assert_error(await served.api.admin.post(f"{served.path}/restore", body), kind, target)
    moved = await served.api.admin.patch(f"{served.path}/key-servers/{first.replace(':', '%3A')}", secondary)
    if moved.status == 200:
        port = first.partition(":")[2]
        answer = await served.api.admin.post(f"{served.path}/restore", {"key_server": f"localhost:{port}"})
        assert_error(answer, errors.ONLY_PRIMARIES, "key_server")
    assert_error(
        await served.api.admin.post(f"{served.path.replace(served.manager, ABSENT)}/restore"),
        errors.ENTRY_NOT_FOUND,
        "uuid",
    )


async def test_missing_copies_are_brought_to_a_server_that_is_added(served: Served, pykmip_group: Group) -> None:
    """A job whose message says how far it is; an SVM does not begin it in the cluster's key manager."""
    vs1 = await served.vsadmin("vs1")
    key_id = await served.create("vol1")
    third = pykmip_group.primaries[2]
    added = await served.api.admin.post(f"{served.path}/key-servers", {"server": third.address})
    assert added.status == 201, added.content
    assert_error(await vs1.post(f"{served.path}/replicate"), errors.ENTRY_NOT_FOUND, "uuid")
    done = await served.api.admin.post(f"{served.path}/replicate?return_timeout=30")
    assert done.status == 201, done.content
    shown = await served.shown(key_id, "copies")
    assert {copy["server"] for copy in shown["copies"] if copy["presence"] == "present"} == {
        server.address for server in pykmip_group.primaries[:3]
    }
