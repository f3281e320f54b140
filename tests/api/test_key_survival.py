"""``.../key-survival``, and ``/security/key-manager-incarnation``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.keys.model import Presence
from keystead.core.model import Role
from tests.api.keys import PLAIN, serve_keys
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.api.keys import Served
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

INCARNATION = "/api/security/key-manager-incarnation"


@pytest.fixture
async def served(api: Api, pki: Pki, pykmip_group: Group) -> Served:
    """Two primaries."""
    return await serve_keys(api, pki, pykmip_group)


async def lose_copy(served: Served, key_id: str, server: int) -> str:
    """Have a copy be known as missing; return its server's uuid."""

    def work(tx: Transaction) -> str:
        key = tx.key_by_id(served.manager, key_id)
        assert key is not None
        uuid = tx.key_servers(served.manager)[server].uuid
        lost = [replace(each, presence=Presence.MISSING) for each in tx.copies([key.uuid]) if each.key_server == uuid]
        tx.put_copies(lost, new=False)
        return uuid

    return await served.api.store.write(work)


async def test_what_would_survive(served: Served, pykmip_group: Group) -> None:
    """Every set of domains that could fail: how many keys would be unreadable, which, and how old the proof is."""
    await served.create("vol1")
    sole = await served.create("vol2")
    await lose_copy(served, sole, 1)
    url = f"{served.path}/key-survival"
    shown: dict[str, Any] = (await served.api.admin.get(url, headers=PLAIN)).body
    first, second = (server.address for server in pykmip_group.primaries[:2])
    assert (shown["keys"], shown["survives"], shown["sole_copies"], shown["unproven"]) == (2, 0, 1, 0)
    assert [domain["servers"] for domain in shown["domains"]] == [[first], [second]]
    losses = [(loss["servers"], loss["keys"], loss.get("key_ids")) for loss in shown["losses"]]
    assert losses[:2] == [([first], 1, [sole]), ([second], 0, None)]
    (servers, keys, key_ids) = losses[2]
    assert (servers, keys, len(key_ids)) == ([first, second], 2, 2)
    assert [("oldest_proof" in loss) for loss in shown["losses"]] == [True, True, False]
    assert [loss.get("key_names") for loss in shown["losses"][:2]] == [["vol2"], None]
    linked = (await served.api.admin.get(f"{url}?fields=keys")).body
    assert linked == {"keys": 2, "_links": {"self": {"href": url}}}
    assert_error(await (await served.vsadmin("vs1")).get(url), errors.ENTRY_NOT_FOUND, "uuid")


async def test_what_survives_now(served: Served, pykmip_group: Group) -> None:
    """A server that hides its keys counts as lost: its proven copies are away, and it is named with the reason."""
    await served.create("vol1")
    first, second = (server.address for server in pykmip_group.primaries[:2])

    def observe(tx: Transaction) -> None:
        servers = tx.key_servers(served.manager)
        found = tx.observations([server.uuid for server in servers])
        shown = zip(sorted(found, key=lambda each: each.key_server != servers[0].uuid), (True, False), strict=True)
        tx.put_observations([replace(each, keys_visible=visible) for each, visible in shown], new=False)

    await served.api.store.write(observe)
    shown: dict[str, Any] = (await served.api.admin.get(f"{served.path}/key-survival", headers=PLAIN)).body
    now = shown["now"]
    assert now.pop("oldest_proof") <= datetime.now(UTC).isoformat()
    assert now == {
        "survives": 0,
        "at_risk": 1,
        "domains": [shown["domains"][0]["uuid"]],
        "away": [{"server": second, "reason": "keys_hidden"}],
        "unreadable": 0,
    }
    (pattern,) = shown["patterns"]
    assert (pattern["keys"], pattern["key_names"]) == (1, ["vol1"])
    assert pattern["copies"] == [{"server": first, "state": "proven"}, {"server": second, "state": "proven_away"}]


async def test_the_incarnation(served: Served) -> None:
    """Shown to the cluster; held destruction is released by its administrator, recorded once, and never held again."""

    def hold(tx: Transaction) -> None:
        current = tx.incarnation()
        assert current is not None
        tx.put_incarnation(replace(current, destroys=False))

    await served.api.store.write(hold)
    admin, readonly = served.api.admin, served.api.readonly
    shown = (await readonly.get(INCARNATION, headers=PLAIN)).body
    assert (shown["number"], shown["reason"], shown["destroys"]) == (1, "created", False)
    for body, kind, target in (
        ({"destroys": False}, errors.INVALID_FIELD_VALUE, "destroys"),
        ({"number": 2}, errors.FIELD_NOT_SETTABLE, "number"),
        ({}, errors.NO_VALUES, None),
    ):
        assert_error(await admin.patch(INCARNATION, body), kind, target)
    assert_error(await readonly.patch(INCARNATION, {"destroys": True}), errors.NOT_AUTHORIZED)
    vsadmin = await served.vsadmin("vs1")
    reader = await served.account("reader", Role.KEY_READER)
    for client in (vsadmin, reader):
        assert_error(await client.patch(INCARNATION, {"destroys": True}), errors.NOT_AUTHORIZED)
    tunnelled = await admin.patch(INCARNATION, {"destroys": True}, headers={"x-dot-svm-name": "vs1"})
    assert_error(tunnelled, errors.ENTRY_NOT_FOUND, "uuid")
    for _ in range(2):
        assert (await admin.patch(INCARNATION, {"destroys": True})).status == 200
    assert (await admin.get(INCARNATION)).body["destroys"] is True
    recorded = [record.message for record in await served.api.audit() if record.message.startswith("released")]
    assert recorded == ["released destruction in incarnation 1, created"]
