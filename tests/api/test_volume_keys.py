"""``/security/key-managers/{uuid}/volume-keys``: what is shown of keys, their copies and receipts, and to whom."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.keys.model import (
    Attempt,
    AttemptState,
    Copy,
    Detached,
    Key,
    KeyState,
    KeyType,
    Presence,
    Purpose,
    Receipt,
)
from keystead.core.keys.names import key_id
from keystead.core.model import Account, KeyManager, KeyServer, Role, Svm
from keystead.core.server_address import ServerAddress
from tests.api.conftest import ABSENT
from tests.api.keys import PLAIN, serve_keys
from tests.peers.asgi import assert_error
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.api.keys import Served
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

NOON = datetime(2027, 1, 2, 12, tzinfo=UTC)
SERVER = "22222222-2222-4222-8222-222222222222"
REMOVED = "44444444-4444-4444-8444-444444444444"
MANAGER = "33333333-3333-4333-8333-333333333333"


def key(name: str, svm: Svm | None, **changes: Any) -> Key:
    """Return a committed key of the cluster's key manager."""
    uuid = str(uuid4())
    made = Key(
        uuid=uuid,
        key_id=key_id(changes.get("key_type", KeyType.VEK), uuid),
        key_manager=MANAGER,
        svm=svm,
        name=name,
        key_tag="",
        key_type=KeyType.VEK,
        state=KeyState.COMMITTED,
        length=64,
        created=NOON,
        digest=b"digest",
        committed=NOON + timedelta(seconds=1),
    )
    return replace(made, **changes)


def attempt(of: Key, number: int, state: AttemptState) -> Attempt:
    """Return how a copy came to be."""
    return Attempt(of.uuid, number, Purpose.CREATE, "incarnation", "token", "node", state, NOON, NOON)


@dataclass
class World:
    """The cluster's key manager with a server, keys of two SVMs and of the cluster, and an account of the first SVM."""

    api: Api
    url: str
    of_vs1: Key
    of_vs2: Key
    of_cluster: Key
    vsadmin: DocumentedClient


@pytest.fixture
async def world(api: Api) -> World:
    """Keys as they are stored, without any key server: reading needs none."""
    vs1, vs2 = Svm(str(uuid4()), "vs1"), Svm(str(uuid4()), "vs2")
    keys = (key("vol1", vs1, key_tag="gold"), key("vol2", vs2), key("vol3", None))

    def fill(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        for svm in (vs1, vs2):
            tx.add_svm(svm)
        tx.put_account(Account("vsadmin1", Role.VSADMIN, admin.password_hash, svm=vs1))
        tx.add_key_manager(KeyManager(MANAGER, None, True, ABSENT, ()))
        server = KeyServer(SERVER, MANAGER, 1, ServerAddress.parse("ks1.example.com"), 25, 10, "", ())
        removed = replace(server, uuid=REMOVED, address=ServerAddress.parse("gone.example.com"))
        tx.add_key_servers([server])
        tx.add_detached_key_server(Detached(removed, NOON))
        for each in (
            *keys,
            key("failed", vs1, state=KeyState.ABORTED),
            key("drive", None, key_type=KeyType.NSE_AK),
        ):
            tx.add_key(each)
        of_vs1 = keys[0]
        tx.add_attempt(attempt(of_vs1, 1, AttemptState.COMMITTED))
        tx.add_attempt(attempt(of_vs1, 2, AttemptState.ABORTED))
        copies = [
            Copy(of_vs1.uuid, 1, SERVER, Presence.PRESENT, "", ("7",), "Active", written=NOON, proven=NOON),
            Copy(of_vs1.uuid, 1, SERVER, Presence.MISSING, "ks1b.example.com"),
            Copy(of_vs1.uuid, 1, REMOVED, Presence.PRESENT, "", ("6",)),
            Copy(of_vs1.uuid, 2, SERVER, Presence.PRESENT, "", ("8",)),
        ]
        tx.put_copies(copies, new=True)
        tx.add_receipts([Receipt(of_vs1.uuid, 2, ABSENT, "", "9", "destroyed", NOON, "incarnation", "node")])

    await api.store.write(fill)
    vsadmin = DocumentedClient(api.admin.app, "vsadmin1", PASSWORD)
    return World(api, f"/api/security/key-managers/{MANAGER}/volume-keys", *keys, vsadmin)


async def test_a_key_is_shown(world: World) -> None:
    """Its normal fields by default; nothing of material or digest; the costly ones when they are named."""
    shown = (await world.api.admin.get(f"{world.url}/{world.of_vs1.key_id}", headers=PLAIN)).body
    assert world.of_vs1.svm is not None
    assert shown == {
        "key_id": world.of_vs1.key_id,
        "name": "vol1",
        "key_tag": "gold",
        "scope": "svm",
        "svm": {"uuid": world.of_vs1.svm.uuid, "name": "vs1"},
        "security_key_manager": {"uuid": MANAGER},
        "encryption_algorithm": "XTS-AES-256",
        "state": "committed",
        "create_time": "2027-01-02T12:00:00+00:00",
        "commit_time": "2027-01-02T12:00:01+00:00",
    }
    assert len(world.of_vs1.key_id) == 80
    linked = (await world.api.admin.get(f"{world.url}/{world.of_vs1.key_id.upper()}")).body
    assert linked["_links"]["self"]["href"] == f"{world.url}/{world.of_vs1.key_id}"
    assert linked["security_key_manager"]["_links"]["self"]["href"] == world.url.rpartition("/")[0]


async def test_copies_and_receipts_are_shown_when_asked_for(world: World) -> None:
    """One per server and attempt, with what is known; what an attempt left that came to nothing is no copy."""
    url = f"{world.url}/{world.of_vs1.key_id}?fields=copies,receipts"
    shown = (await world.api.admin.get(url, headers=PLAIN)).body
    address, noon = "ks1.example.com:5696", "2027-01-02T12:00:00+00:00"
    assert shown["copies"] == [
        {
            "server": address,
            "attempt": 1,
            "presence": "present",
            "object_state": "Active",
            "unique_identifiers": ["7"],
            "written": noon,
            "proven": noon,
        },
        {"server": address, "host": "ks1b.example.com", "attempt": 1, "presence": "missing"},
        {
            "server": "gone.example.com:5696",
            "detached": True,
            "attempt": 1,
            "presence": "present",
            "unique_identifiers": ["6"],
        },
    ]
    assert shown["receipts"] == [{"attempt": 2, "unique_identifier": "9", "action": "destroyed", "time": noon}]
    found = await world.api.admin.get(f"{world.url}?copies.presence=missing", headers=PLAIN)
    assert [record["key_id"] for record in found.body["records"]] == [world.of_vs1.key_id]


async def test_keys_are_listed(world: World) -> None:
    """By key id, without those whose creation failed or that are no volume's; filtered, ordered, page by page."""
    everything = [world.of_vs1, world.of_vs2, world.of_cluster]
    listed = (await world.api.admin.get(world.url, headers=PLAIN)).body["records"]
    assert [record["key_id"] for record in listed] == sorted(each.key_id for each in everything)
    for query, names in (
        ("order_by=name desc", ["vol3", "vol2", "vol1"]),
        ("svm.name=vs2", ["vol2"]),
        ("scope=cluster", ["vol3"]),
        ("key_tag=g*", ["vol1"]),
        ("name=vol1|vol3&order_by=name", ["vol1", "vol3"]),
        ("state=retired", []),
        ("purge_time=null&order_by=name&offset=1", ["vol2", "vol3"]),
        (f"key_id={world.of_vs2.key_id.upper()}", ["vol2"]),
        ("query=gold&query_fields=key_tag", ["vol1"]),
        ("create_time=>2027-01-02T12:00:00Z", []),
    ):
        answer = await world.api.admin.get(f"{world.url}?fields=name&{query}", headers=PLAIN)
        assert [record["name"] for record in answer.body["records"]] == names, query
    url = f"{world.url}?max_records=2&order_by=create_time"
    first = (await world.api.admin.get(url)).body
    rest = (await world.api.admin.get(first["_links"]["next"]["href"])).body
    assert [record["key_id"] for record in (*first["records"], *rest["records"])] == [each["key_id"] for each in listed]


async def test_an_svm_sees_its_own_keys_only(world: World) -> None:
    """In the cluster's key manager, which it does not see: others' keys are missing, and no key server is named."""
    listed = await world.vsadmin.get(f"{world.url}?fields=**")
    assert [record["name"] for record in listed.body["records"]] == ["vol1"]
    assert not {"copies", "receipts"} & set(listed.body["records"][0])
    assert b"ks1" not in listed.content
    assert_error(await world.vsadmin.get(world.url.rpartition("/")[0]), errors.ENTRY_NOT_FOUND, "uuid")
    for foreign in (world.of_vs2, world.of_cluster):
        answer = await world.vsadmin.get(f"{world.url}/{foreign.key_id}")
        missing = await world.vsadmin.get(f"{world.url}/{key_id(KeyType.VEK, ABSENT)}")
        assert (answer.status, answer.content) == (404, missing.content)
    tunnelled = await world.api.admin.get(world.url, headers={"x-dot-svm-name": "vs2"})
    assert [record["key_id"] for record in tunnelled.body["records"]] == [world.of_vs2.key_id]


async def test_what_is_not_there(world: World) -> None:
    """A key manager, a key id, or one that is malformed, a drive's, or of a key that never came to be."""
    admin = world.api.admin
    assert_error(await admin.get(world.url.replace(MANAGER, ABSENT)), errors.ENTRY_NOT_FOUND, "uuid")
    (drive, failed) = await world.api.store.read(
        lambda tx: [tx.key_named(MANAGER, "drive"), *tx.keys_in(MANAGER, [KeyState.ABORTED], "", 1)]
    )
    assert drive is not None
    assert failed is not None
    for text in (ABSENT, "x", drive.key_id, failed.key_id):
        assert_error(await admin.get(f"{world.url}/{text}"), errors.ENTRY_NOT_FOUND, "key_id")
    assert_error(await admin.get(f"{world.url}?material=x"), errors.FIELD_NOT_QUERYABLE, "material")
    assert_error(await admin.get(f"{world.url}?fields=material"), errors.FIELD_NOT_READABLE, "fields")


# --- created, on real key servers ---


@pytest.fixture
async def served(api: Api, pki: Pki, pykmip_group: Group) -> Served:
    """Two primaries: each key must be on both."""
    return await serve_keys(api, pki, pykmip_group)


async def test_a_key_is_created(served: Served, pykmip_group: Group) -> None:
    """201 once it is proven on both servers; its name is taken then, and the refusal says by which key."""
    made = await served.api.admin.post(f"{served.url}?return_records=true", {"name": "vol1", "key_tag": "gold"})
    assert made.status == 201, made.content
    url = made.headers["location"]
    (record,) = made.body["records"]
    assert url == f"{served.url}/{record['key_id']}"
    shown = (await served.api.admin.get(f"{url}?fields=**", headers=PLAIN)).body
    assert (shown["name"], shown["key_tag"], shown["scope"], shown["state"]) == ("vol1", "gold", "cluster", "committed")
    addresses = [server.address for server in pykmip_group.primaries[:2]]
    assert sorted(copy["server"] for copy in shown["copies"]) == sorted(addresses)
    assert {(copy["presence"], copy["object_state"], copy["attempt"]) for copy in shown["copies"]} == {
        ("present", "Active", 1)
    }
    assert all(copy["proven"] and copy["written"] for copy in shown["copies"])
    again = await served.api.admin.post(served.url, {"name": "vol1"})
    error = assert_error(again, errors.DUPLICATE_ENTRY, "name")
    assert {"code": "key_id", "message": record["key_id"]} in error["arguments"]


async def test_material_is_imported_and_shown_nowhere(served: Served, pykmip_group: Group) -> None:
    """It is on the servers as it was given; no answer, audit record or list holds it."""
    material = bytes(range(64))
    given = base64.b64encode(material).decode()
    made = await served.api.admin.post(served.url, {"name": "imported", "material": given})
    assert made.status == 201, made.content
    assert all(material in server.objects().values() for server in pykmip_group.primaries[:2])
    listed = await served.api.admin.get(f"{served.url}?fields=**")
    recorded = repr(await served.api.audit())
    for text in (given, repr(material), material.hex()):
        assert text not in listed.content.decode()
        assert text not in recorded
    assert '"material":"***"' in recorded


async def test_what_a_new_key_must_be(served: Served) -> None:
    """Each refusal changes nothing, and repeats no material."""
    short = base64.b64encode(b"x" * 32).decode()
    alike = base64.b64encode(b"x" * 64).decode()
    loose = base64.b64encode(bytes(range(64))).decode().replace("Pw==", "Px==")  # bits that no byte has
    for body, kind, target in (
        ({}, errors.MISSING_VALUE, "name"),
        ({"name": " vol"}, errors.INVALID_FIELD_VALUE, "name"),
        ({"name": "vol", "key_tag": "two words"}, errors.KEY_TAG_BLANKS, "key_tag"),
        ({"name": "vol", "key_tag": "x" * 33}, errors.KEY_TAG_INVALID, "key_tag"),
        ({"name": "vol", "material": short}, errors.KEY_LENGTH, "material"),
        ({"name": "vol", "material": alike}, errors.INVALID_VALUE, "material"),
        ({"name": "vol", "material": "no base64!"}, errors.INVALID_SECRET_VALUE, "material"),
        ({"name": "vol", "material": loose}, errors.INVALID_SECRET_VALUE, "material"),
        ({"name": "vol", "svm": {"name": "nosuch"}}, errors.SVM_NOT_FOUND, "svm.name"),
        ({"name": "vol", "state": "committed"}, errors.FIELD_NOT_SETTABLE, "state"),
        ({"name": "vol", "copies": []}, errors.FIELD_NOT_SETTABLE, "copies"),
        ({"name": "vol", "receipts": []}, errors.FIELD_NOT_SETTABLE, "receipts"),
    ):
        answer = await served.api.admin.post(served.url, body)
        assert_error(answer, kind, target)
        assert str(body.get("material", short)) not in answer.content.decode()
    in_url = await served.api.admin.post(f"{served.url}?material={short}", {"name": "vol"})
    assert_error(in_url, errors.SECRET_IN_URL, "material")
    missing = served.url.replace(served.url.split("/")[4], ABSENT)
    assert_error(await served.api.admin.post(missing, {}), errors.ENTRY_NOT_FOUND, "uuid")
    assert (await served.api.admin.get(served.url)).body["num_records"] == 0


async def test_an_svm_creates_keys_in_the_clusters_key_manager(served: Served) -> None:
    """Its own; a name that another has is taken, and whose key has it is not said."""
    vs1, vs2 = await served.vsadmin("vs1"), await served.vsadmin("vs2")
    made = await vs1.post(served.url, {"name": "vol1"})
    assert made.status == 201, made.content
    shown = (await vs1.get(made.headers["location"])).body
    assert shown["svm"]["name"] == "vs1"
    assert_error(await vs2.get(made.headers["location"]), errors.ENTRY_NOT_FOUND, "key_id")
    error = assert_error(await vs2.post(served.url, {"name": "vol1"}), errors.DUPLICATE_ENTRY, "name")
    assert error["arguments"] == [{"code": "name", "message": "vol1"}]
    assert_error(await vs2.post(served.url, {"name": "vol2", "svm": {"name": "vs1"}}), errors.SVM_NOT_FOUND, "svm.name")
    for_vs2 = await served.api.admin.post(served.url, {"name": "vol2", "svm": {"name": "vs2"}})
    assert for_vs2.status == 201, for_vs2.content
    assert (await vs2.get(for_vs2.headers["location"])).status == 200
    records = await served.api.audit()
    assert [record.svm for record in records if record.message.startswith("created key 0")] == ["vs1", "vs2"]


async def test_a_key_is_retired_and_recovered(served: Served) -> None:
    """It is shown as retired, with the end of its undo; its name stays taken; PATCH brings it back."""
    key_id = await served.create("vol1")
    url = f"{served.url}/{key_id}"
    assert (await served.api.admin.delete(url)).status == 200
    retired = await served.shown(key_id)
    assert retired["state"] == "retired"
    days = datetime.fromisoformat(retired["purge_time"]) - datetime.fromisoformat(retired["retire_time"])
    assert days == timedelta(days=7)
    assert (await served.api.admin.delete(url)).status == 200
    assert_error(await served.api.admin.post(served.url, {"name": "vol1"}), errors.DUPLICATE_ENTRY, "name")
    for body, kind in (
        ({"state": "purged"}, errors.INVALID_FIELD_VALUE),
        ({"name": "other"}, errors.FIELD_NOT_SETTABLE),
        ({}, errors.NO_VALUES),
    ):
        assert_error(await served.api.admin.patch(url, body), kind, next(iter(body), None))
    assert (await served.api.admin.patch(url, {"state": "committed"})).status == 200
    recovered = await served.shown(key_id)
    assert recovered["state"] == "committed"
    assert not {"retire_time", "purge_time"} & set(recovered)
    messages = [record.message for record in await served.api.audit()]
    assert [message for message in messages if message.endswith(key_id)] == [
        f"created key {key_id}",
        f"retired key {key_id}",
        f"recovered key {key_id}",
    ]


async def test_an_svm_retires_its_own_keys_only(served: Served) -> None:
    """Answer that another's key, or the cluster's, is missing; a query reaches nothing else either."""
    vs1 = await served.vsadmin("vs1")
    await served.svm("vs2")
    foreign = [await served.create("vol2", svm={"name": "vs2"}), await served.create("vol3")]
    own = await vs1.post(served.url, {"name": "vol1"})
    for each in foreign:
        assert_error(await vs1.delete(f"{served.url}/{each}"), errors.ENTRY_NOT_FOUND, "key_id")
        answer = await vs1.patch(f"{served.url}/{each}", {"state": "committed"})
        assert_error(answer, errors.ENTRY_NOT_FOUND, "key_id")
    assert (await vs1.delete(f"{served.url}?name=*")).body["num_records"] == 1
    assert [(await served.shown(each))["state"] for each in foreign] == ["committed", "committed"]
    assert (await vs1.get(own.headers["location"])).body["state"] == "retired"


async def test_several_keys_are_created_by_a_job(served: Served) -> None:
    """With ``records``; the job says how far it came."""
    body = {"records": [{"name": "vol1"}, {"name": "vol2", "key_tag": "gold"}]}
    made = await served.api.admin.post(f"{served.url}?return_timeout=30", body)
    assert made.status == 201, made.content
    listed = (await served.api.admin.get(f"{served.url}?fields=name&order_by=name")).body["records"]
    assert [record["name"] for record in listed] == ["vol1", "vol2"]


async def test_a_key_that_no_server_takes(served: Served, pykmip_group: Group) -> None:
    """65536076 when all are dead, 65536987 when one is; either way there is no such key."""
    assert (await served.api.admin.post(served.url, {"name": "vol1"})).status == 201
    pykmip_group.primaries[0].kill()
    error = assert_error(await served.api.admin.post(served.url, {"name": "vol2"}), errors.TOO_FEW_COPIES)
    assert {"code": "server", "message": pykmip_group.primaries[0].address} in error["arguments"]
    pykmip_group.primaries[1].kill()
    assert_error(await served.api.admin.post(served.url, {"name": "vol2"}), errors.NOT_PUSHED)
    assert (await served.api.admin.get(served.url)).body["num_records"] == 1
