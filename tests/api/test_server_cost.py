"""``cost`` of key servers: when it is shown, what it says, and who sees what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from keystead.core.keys.model import Presence
from keystead.core.model import Role, Svm
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD
from tests.store.keys import attempt, copy, key, profile

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

MANAGERS = "/api/security/key-managers"
NOTHING = {"keys": 0, "descriptors": 0, "canary": 0, "markers": 0}
IDLE = {"connections": 0, "operations_per_day": {"watching": 0, "keys": 0}}


async def costs(api: Api, manager: str, query: str = "fields=cost") -> list[Any]:
    """Return what the list of key servers says, without links; also the key manager says it."""
    found = (await api.admin.get(f"{MANAGERS}/{manager}/key-servers?{query}")).body["records"]
    return [record.get("cost") for record in found]


@pytest.mark.parametrize("query", ["", "fields=*", "fields=server"])
async def test_cost_is_shown_only_when_it_is_asked_for(
    api: Api, pki: Pki, pykmip_servers: list[Program], query: str
) -> None:
    """It is counted: neither by default, nor with ``*``, nor with a parent that ONTAP has."""
    manager = await api.key_manager(pki, [pykmip_servers[0].address])
    assert await costs(api, manager, query) == [None]
    for fields in (query, "fields=external", "fields=external.servers"):
        assert b"cost" not in (await api.admin.get(f"{MANAGERS}?{fields}")).content


async def test_what_a_key_server_has_from_us(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Objects by kind for each server; alike for one server, for a list, and in key managers; they are filters."""
    manager = await api.key_manager(pki, [server.address for server in pykmip_servers[:2]])

    def fill(tx: Transaction) -> None:
        first, _ = tx.key_servers(manager)
        tx.add_key(key("k", key_manager=manager, svm=None))
        tx.add_attempt(attempt("k"))
        ids = ("1", "2")
        made = copy("k", first.uuid, presence=Presence.PRESENT, unique_identifiers=ids, descriptor="3")
        tx.put_copies([made], new=True)
        tx.put_profile(profile(first.uuid, canary=("4",)))

    await api.store.write(fill)
    first = {"objects": {"keys": 2, "descriptors": 1, "canary": 1, "markers": 0}} | IDLE
    assert await costs(api, manager) == [first, {"objects": NOTHING} | IDLE]
    one = await api.admin.get(f"{MANAGERS}/{manager}?fields=external.servers.cost")
    assert [server["cost"] for server in one.body["external"]["servers"]] == [first, {"objects": NOTHING} | IDLE]
    assert await costs(api, manager, "fields=cost&cost.objects.keys=>1") == [first]
    address = quote(pykmip_servers[0].address, safe="")
    shown = (await api.admin.get(f"{MANAGERS}/{manager}/key-servers/{address}?fields=cost.objects.canary")).body
    assert shown["cost"] == {"objects": {"canary": 1}}


async def test_traffic_is_for_the_cluster(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """An account of an SVM sees its objects, and not what the node sends, perhaps also for others."""
    svm = Svm("20000000-0000-4000-8000-000000000001", "vs0")

    def fill(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        tx.add_svm(svm)
        tx.put_account(replace(admin, name="va", role=Role.VSADMIN, svm=svm))

    await api.store.write(fill)
    manager = await api.key_manager(pki, [pykmip_servers[0].address], svm={"name": "vs0"})
    theirs = DocumentedClient(api.admin.app, "va", PASSWORD)
    seen = (await theirs.get(f"{MANAGERS}/{manager}/key-servers?fields=cost")).body["records"]
    assert [record["cost"] for record in seen] == [{"objects": NOTHING}]
    assert await costs(api, manager) == [{"objects": NOTHING} | IDLE]
