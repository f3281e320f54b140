"""``.../unclaimed-objects``: what another life of the database wrote is listed and adopted, on real key servers."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.keys.model import KeyState, Orphan
from keystead.core.model import Role
from tests.api.keys import PLAIN, serve_keys
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.api.keys import Served
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

MATERIAL = bytes(range(64))
NOON = datetime(2027, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
async def served(api: Api, pki: Pki, pykmip_group: Group) -> Served:
    """Two primaries."""
    return await serve_keys(api, pki, pykmip_group)


async def forget(served: Served, key_id: str) -> Orphan:
    """Have the database forget a key, and find its object on the first server."""

    def work(tx: Transaction) -> Orphan:
        key = tx.key_by_id(served.manager, key_id)
        assert key is not None
        server = tx.key_servers(served.manager)[0]
        copy = next(each for each in tx.copies([key.uuid]) if each.key_server == server.uuid)
        (attempt,) = tx.attempts([key.uuid])
        name = f"keystead-{attempt.incarnation[:8]}-k{key.uuid.replace('-', '')[:16]}-1"
        found = Orphan(served.manager, server.uuid, copy.unique_identifiers[0], name, NOON)
        tx.change_key(replace(key, state=KeyState.PURGED), KeyState.COMMITTED)
        tx.drop_keys(served.manager, [KeyState.PURGED])
        tx.put_orphans([found])
        return found

    return await served.api.store.write(work)


async def test_an_object_is_listed_and_adopted(served: Served, pykmip_group: Group) -> None:
    """It is a key with the bytes that it has; what it was called there says whose it was."""
    given = base64.b64encode(MATERIAL).decode()
    found = await forget(served, await served.create("vol1", material=given))
    url = f"{served.path}/unclaimed-objects"
    server = pykmip_group.primaries[0].address
    listed = (await served.api.admin.get(f"{url}?fields=*", headers=PLAIN)).body["records"]
    assert listed == [
        {
            "key_server": server,
            "unique_identifier": found.unique_identifier,
            "object_name": found.name,
            "incarnation": "own",
            "found_time": "2027-01-02T12:00:00+00:00",
            "dismissed": False,
        }
    ]
    assert (await served.api.admin.get(f"{url}?object_name=nothing*")).body["num_records"] == 0
    assert (await served.api.admin.get(f"{url}?incarnation=another")).body["num_records"] == 0
    body = {"key_server": server, "unique_identifier": found.unique_identifier, "name": "vol2"}
    adopted = await served.api.admin.post(url, body)
    assert adopted.status == 201, adopted.content
    key_id = adopted.headers["location"].rpartition("/")[2]
    shown = await served.shown(key_id, "name,state,copies")
    assert (shown["name"], shown["state"]) == ("vol2", "committed")
    assert [(copy["server"], copy["presence"]) for copy in shown["copies"]] == [(server, "present")]
    assert (await served.api.admin.get(url)).body["num_records"] == 0
    reader = await served.account("reader", Role.KEY_READER)
    read = await reader.post(f"{served.url}/{key_id}/retrieve", headers={"accept": "application/octet-stream"})
    assert read.content == MATERIAL
    assert_error(await served.api.admin.post(url, body), errors.ENTRY_NOT_FOUND, "unique_identifier")


async def test_an_object_is_dismissed(served: Served, pykmip_group: Group) -> None:
    """The list says who dismissed it and when, and what it contained; attention leaves it out. It can be undone."""
    found = await forget(served, await served.create("vol1"))
    url = f"{served.path}/unclaimed-objects"
    body = {"key_server": pykmip_group.primaries[0].address, "unique_identifier": found.unique_identifier}

    async def warnings() -> int:
        path = "/api/support/attention?subject=unclaimed_objects"
        return int((await served.api.admin.get(path)).body["num_records"])

    assert await warnings() == 1
    done = await served.api.admin.post(f"{url}/dismiss", body)
    assert (done.status, done.body) == (201, {}), done.content
    listed = await served.api.admin.get(f"{url}?dismissed=true&fields=dismissal")
    assert listed.status == 200, listed.content
    (record,) = listed.body["records"]
    assert record["dismissal"]["account"] == "admin"
    assert re.fullmatch("[0-9a-f]{64}", record["dismissal"]["digest"])
    assert await warnings() == 0
    undone = await served.api.admin.post(f"{url}/dismiss", body | {"undo": True})
    assert undone.status == 201
    assert (await served.api.admin.get(f"{url}?dismissed=true")).body["num_records"] == 0
    assert await warnings() == 1
    wrong = body | {"unique_identifier": "no such object"}
    assert_error(await served.api.admin.post(f"{url}/dismiss", wrong), errors.ENTRY_NOT_FOUND, "unique_identifier")
    vs1 = await served.vsadmin("vs1")
    assert_error(await vs1.post(f"{url}/dismiss", body), errors.ENTRY_NOT_FOUND, "uuid")


async def test_objects_are_listed_page_by_page(served: Served) -> None:
    """By server and name; the next page begins after the last object."""
    (server, _) = await served.api.store.read(lambda tx: tx.key_servers(served.manager))
    objects = [
        Orphan(served.manager, server.uuid, str(number), f"keystead-00000000-k{number:016x}-1", NOON)
        for number in range(3)
    ]
    await served.api.store.write(lambda tx: tx.put_orphans(objects))
    first = (await served.api.admin.get(f"{served.path}/unclaimed-objects?max_records=2")).body
    rest = (await served.api.admin.get(first["_links"]["next"]["href"])).body
    assert [each["unique_identifier"] for each in (*first["records"], *rest["records"])] == ["0", "1", "2"]


async def test_what_adopting_refuses(served: Served, pykmip_group: Group) -> None:
    """An unknown server, a name that is taken, what is missing; and no SVM sees any of it."""
    found = await forget(served, await served.create("vol1"))
    await served.create("vol2")
    vs1 = await served.vsadmin("vs1")
    url = f"{served.path}/unclaimed-objects"
    body = {
        "key_server": pykmip_group.primaries[0].address,
        "unique_identifier": found.unique_identifier,
        "name": "vol3",
    }
    for change, kind, target in (
        ({"key_server": "ks9.example.com"}, errors.ENTRY_NOT_FOUND, "key_server"),
        ({"unique_identifier": "no such object"}, errors.ENTRY_NOT_FOUND, "unique_identifier"),
        ({"name": "vol2"}, errors.DUPLICATE_ENTRY, "name"),
        ({"svm": {"name": "nosuch"}}, errors.SVM_NOT_FOUND, "svm.name"),
        ({"object_name": found.name}, errors.FIELD_NOT_SETTABLE, "object_name"),
    ):
        assert_error(await served.api.admin.post(url, body | change), kind, target)
    assert_error(await served.api.admin.post(url, {}), errors.MISSING_VALUE, "key_server")
    assert_error(await vs1.get(url), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await vs1.post(url, body), errors.ENTRY_NOT_FOUND, "uuid")
    assert (await served.api.admin.get(url)).body["num_records"] == 1
