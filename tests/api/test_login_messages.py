"""keystead.api.resources.login_messages: banner and message of the day, of the cluster and of SVMs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.model import Account, LoginMessages, Role, Svm
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

MESSAGES = "/api/security/login/messages"
PLAIN = {"accept": "application/json"}
SVMS = [Svm("11111111-1111-4111-8111-111111111111", "vs1"), Svm("22222222-2222-4222-8222-222222222222", "vs2")]


@dataclass
class World:
    """A cluster with two SVMs, and an administrator of the first."""

    api: Api
    cluster: str
    vsadmin: AsgiClient

    async def stored(self) -> tuple[LoginMessages, ...]:
        """Return what is stored for the cluster and the SVMs."""
        return await self.api.store.read(lambda tx: tx.login_messages([None, *SVMS]))


@pytest.fixture
async def world(api: Api) -> World:
    """Make them in the store."""

    def fill(tx: Transaction) -> str:
        admin, cluster = tx.account("admin"), tx.cluster()
        assert admin is not None
        assert cluster is not None
        for svm in SVMS:
            tx.add_svm(svm)
        tx.put_account(Account("vs1admin", Role.VSADMIN, admin.password_hash, svm=SVMS[0]))
        return cluster.uuid

    cluster = await api.store.write(fill)
    return World(api, cluster, AsgiClient(api.admin.app, "vs1admin", PASSWORD))


async def test_every_owner_has_messages(world: World) -> None:
    """The cluster's first, then each SVM's, empty at first; pages, filters and counts are as everywhere."""
    get = world.api.admin.get
    first = (await get(f"{MESSAGES}?fields=*", headers=PLAIN)).body["records"]
    shown = [(each["uuid"], each["scope"], each["show_cluster_message"], each.get("svm")) for each in first]
    assert shown == [
        (world.cluster, "cluster", True, None),
        *((svm.uuid, "svm", True, {"uuid": svm.uuid, "name": svm.name}) for svm in SVMS),
    ]
    assert not any({"banner", "message"} & set(each) for each in first)
    for size in (1, 2, 3, 4):
        found: list[str] = []
        path: str | None = f"{MESSAGES}?max_records={size}"
        while path:
            page = (await get(path)).body
            found += [each["uuid"] for each in page["records"]]
            path = page["_links"].get("next", {}).get("href")
        assert found == [each["uuid"] for each in first], size
    for query, expected in (
        ("scope=cluster", 1),
        ("svm.name=vs2", 1),
        ("scope=svm", 2),
        ("banner=x", 0),
        ("offset=1", 2),
    ):
        assert (await get(f"{MESSAGES}?{query}&return_records=false")).body["num_records"] == expected, query


async def test_messages_are_changed(world: World) -> None:
    """Each field alone; lines end with LF; an empty text is none; every change is audited, with its SVM."""
    admin, one = world.api.admin, f"{MESSAGES}/{SVMS[0].uuid}"
    assert (await admin.patch(one, {"banner": "keep\r\nout\n", "show_cluster_message": False})).status == 200
    shown = (await admin.get(one, headers=PLAIN)).body
    assert (shown["banner"], shown["show_cluster_message"], "message" in shown) == ("keep\nout\n", False, False)
    record = (await world.api.audit())[-1]
    assert (record.message, record.svm) == ("changed the login messages", "vs1")
    assert (await admin.patch(one, {"message": "welcome", "banner": ""})).status == 200
    assert (await admin.patch(f"{MESSAGES}/{world.cluster}", {"banner": "the cluster's"})).status == 200
    assert await world.stored() == (
        LoginMessages(None, "the cluster's"),
        LoginMessages(SVMS[0], "", "welcome", show_cluster_message=False),
        LoginMessages(SVMS[1]),
    )
    many = await admin.patch(f"{MESSAGES}?scope=svm", {"message": "for all"})
    assert many.body["num_records"] == 2
    assert [each.message for each in await world.stored()] == ["", "for all", "for all"]


async def test_refused_changes(world: World) -> None:
    """Too long, of nobody, of another type, or nothing at all: nothing is stored."""
    admin, one = world.api.admin, f"{MESSAGES}/{SVMS[0].uuid}"
    assert (await admin.patch(one, {"banner": "x" * 2048})).status == 200
    before = await world.stored()
    assert_error(await admin.patch(one, {"banner": "x" * 2049}), errors.INVALID_FIELD_VALUE, "banner")
    assert_error(
        await admin.patch(one, {"show_cluster_message": "maybe"}), errors.INVALID_FIELD_VALUE, "show_cluster_message"
    )
    assert_error(await admin.patch(one, {"scope": "cluster"}), errors.FIELD_NOT_SETTABLE, "scope")
    assert_error(await admin.patch(one, {}), errors.NO_VALUES)
    assert_error(await admin.patch(f"{MESSAGES}/{ABSENT}", {"banner": "x"}), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await admin.post(MESSAGES, {"banner": "x"}), errors.METHOD_NOT_SUPPORTED)
    assert await world.stored() == before


async def test_an_svm_has_its_own(world: World) -> None:
    """Its administrator reads and changes them, but not what is for the cluster to say, nor another's."""
    assert [each["uuid"] for each in (await world.vsadmin.get(MESSAGES)).body["records"]] == [SVMS[0].uuid]
    one = f"{MESSAGES}/{SVMS[0].uuid}"
    assert (await world.vsadmin.patch(one, {"message": "ours"})).status == 200
    refused = await world.vsadmin.patch(one, {"show_cluster_message": False})
    assert_error(refused, errors.NOT_AUTHORIZED, "show_cluster_message")
    for uuid in (SVMS[1].uuid, world.cluster):
        assert_error(await world.vsadmin.get(f"{MESSAGES}/{uuid}"), errors.ENTRY_NOT_FOUND, "uuid")
        assert_error(await world.vsadmin.patch(f"{MESSAGES}/{uuid}", {"banner": "x"}), errors.ENTRY_NOT_FOUND, "uuid")
    assert [each.message for each in await world.stored()] == ["", "ours", ""]


async def test_an_svms_messages_go_with_it(world: World) -> None:
    """The SVM is deleted although it has some; those of others stay."""
    for svm in SVMS:
        assert (await world.api.admin.patch(f"{MESSAGES}/{svm.uuid}", {"banner": "x"})).status == 200
    assert (await world.api.admin.delete(f"/api/svm/svms/{SVMS[1].uuid}")).status == 200
    assert [each.banner for each in await world.stored()] == ["", "x", ""]
