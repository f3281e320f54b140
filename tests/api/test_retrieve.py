"""``.../volume-keys/{key_id}/retrieve``: who gets key material, in which forms, and where it must not appear."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.model import Role
from keystead.service.keys.reading.fetch import RETRY_AFTER_S
from tests.api.conftest import ABSENT
from tests.api.keys import PLAIN, serve_keys
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.api.keys import Served
    from tests.peers.documented import DocumentedClient
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group

MATERIAL = bytes(range(100, 164))
GIVEN = base64.b64encode(MATERIAL).decode()
OCTETS = {"accept": "application/octet-stream"}


@pytest.fixture
async def served(api: Api, pki: Pki, pykmip_group: Group) -> Served:
    """Two primaries."""
    return await serve_keys(api, pki, pykmip_group)


@pytest.fixture
async def reader(served: Served) -> DocumentedClient:
    """Return an account of the cluster that may read keys."""
    return await served.account("reader", Role.KEY_READER)


async def test_material_leaves_for_the_key_reader(served: Served, reader: DocumentedClient) -> None:
    """As base64, or as octets when nothing else is accepted; no cache may keep it."""
    url = f"{served.url}/{await served.create('vol1', material=GIVEN)}/retrieve"
    answer = await reader.post(url, headers=PLAIN)
    assert (answer.status, answer.body) == (200, {"key_id": url.split("/")[6], "material": GIVEN})
    linked = await reader.post(url, {})
    assert linked.body["_links"]["self"]["href"] == url.rpartition("/")[0]
    octets = await reader.post(url, headers=OCTETS)
    assert (octets.status, octets.content) == (200, MATERIAL)
    assert octets.headers["content-type"] == "application/octet-stream"
    for each in (answer, octets):
        assert "no-store" in each.headers["cache-control"]
    both = await reader.post(url, headers={"accept": "application/octet-stream, application/json"})
    assert both.body["material"] == GIVEN


async def test_a_made_key_is_the_same_in_every_reading(served: Served, reader: DocumentedClient) -> None:
    """64 bytes whose halves differ."""
    url = f"{served.url}/{await served.create('vol1')}/retrieve"
    material = (await reader.post(url, headers=OCTETS)).content
    assert len(material) == 64
    assert material[:32] != material[32:]
    assert (await reader.post(url, headers=OCTETS)).content == material


async def test_nobody_else_gets_it(served: Served, reader: DocumentedClient) -> None:
    """Not the administrators; an SVM's reader the SVM's keys only. A refusal is recorded."""
    vs1, vs2 = await served.svm("vs1"), await served.svm("vs2")
    vsadmin = await served.account("vsadmin1", Role.VSADMIN, vs1)
    readers = [await served.account(f"reader-{svm.name}", Role.KEY_READER, svm) for svm in (vs1, vs2)]
    of_vs1 = f"{served.url}/{await served.create('vol1', svm={'name': 'vs1'}, material=GIVEN)}/retrieve"
    of_cluster = f"{served.url}/{await served.create('vol2')}/retrieve"
    for client in (served.api.admin, served.api.readonly, vsadmin):
        assert_error(await client.post(of_vs1), errors.NOT_AUTHORIZED)
    assert (await readers[0].post(of_vs1)).body["material"] == GIVEN
    missing = await readers[1].post(of_vs1.replace(of_vs1.split("/")[6], "0" * 80))
    foreign = await readers[1].post(of_vs1)
    assert (foreign.status, foreign.content) == (404, missing.content)
    assert_error(await readers[0].post(of_cluster), errors.ENTRY_NOT_FOUND, "key_id")
    assert (await reader.post(of_vs1)).status == 200
    assert_error(await reader.post(served.url, {"name": "vol3"}), errors.NOT_AUTHORIZED)
    denied = [record for record in await served.api.audit() if record.code == "6"]
    assert [record.account for record in denied] == ["admin", "auditor", "vsadmin1", "reader"]


async def test_every_reading_is_recorded_and_material_is_not(
    served: Served, reader: DocumentedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """One audit record each, of the key's SVM, and before the answer; no material in it, nor in a log."""
    await served.svm("vs1")
    key_id = await served.create("vol1", svm={"name": "vs1"}, material=GIVEN)
    await reader.post(f"{served.url}/{key_id}/retrieve")
    await reader.post(f"{served.url}/{key_id}/retrieve", headers=OCTETS)
    records = [record for record in await served.api.audit() if f"retrieval of key {key_id}," in record.message]
    assert [(record.account, record.svm, record.state) for record in records] == [("reader", "vs1", "success")] * 2
    printed = capsys.readouterr()
    for text in (GIVEN, MATERIAL.hex(), repr(MATERIAL)):
        assert text not in repr(records)
        assert text not in printed.out + printed.err


async def test_a_reading_is_explained(served: Served, reader: DocumentedClient, pykmip_group: Group) -> None:
    """To accounts of the cluster: which servers, in which order, how it went; from memory nobody is asked."""
    vs1 = await served.svm("vs1")
    of_svm = await served.account("reader1", Role.KEY_READER, vs1)
    url = f"{served.url}/{await served.create('vol1', svm={'name': 'vs1'}, material=GIVEN)}/retrieve?explain=true"
    first = (await reader.post(url, headers=PLAIN)).body["explanation"]
    assert first["cached"] is False
    addresses = {server.address for server in pykmip_group.primaries[:2]}
    assert {tried["server"] for tried in first["tried"]} <= addresses
    (read,) = (tried for tried in first["tried"] if tried["outcome"] == "read")
    assert read["elapsed_ms"] > 0
    again = (await reader.post(url, headers=PLAIN)).body
    assert again["explanation"]["cached"] is True
    assert again["material"] == GIVEN
    assert "explanation" not in (await of_svm.post(url, headers=PLAIN)).body
    assert_error(await reader.post(f"{url}&explained=true"), errors.UNEXPECTED_ARGUMENT, "explained")
    assert_error(await reader.post(url.replace("=true", "=perhaps")), errors.INVALID_FIELD_VALUE, "explain")


async def test_one_dead_server_is_survived_and_all_are_not(
    served: Served, reader: DocumentedClient, pykmip_group: Group
) -> None:
    """503 when nobody answers, and whom it was asked of; a key in memory is read all the same."""
    urls = [f"{served.url}/{await served.create(name, material=GIVEN)}/retrieve" for name in ("vol1", "vol2")]
    pykmip_group.primaries[0].kill()
    assert (await reader.post(urls[0])).body["material"] == GIVEN
    pykmip_group.primaries[1].kill()
    assert (await reader.post(urls[0])).body["material"] == GIVEN
    answer = await reader.post(urls[1])
    error = assert_error(answer, errors.KEY_NOT_READ)
    assert answer.headers["retry-after"] == str(RETRY_AFTER_S)
    told = {argument["message"] for argument in error["arguments"]}
    assert {server.address for server in pykmip_group.primaries[:2]} <= told


async def test_a_stop_ends_the_waiting_for_key_servers(
    served: Served, reader: DocumentedClient, pykmip_group: Group
) -> None:
    """Whoever waits is told that the service stops, at once; keys in memory are read on."""
    waiting, held = [f"{served.url}/{await served.create(name)}/retrieve" for name in ("vol1", "vol2")]
    assert (await reader.post(held)).status == 200
    for server in pykmip_group.primaries[:2]:
        server.pause()
    read = asyncio.create_task(reader.post(waiting))
    done, _ = await asyncio.wait([read], timeout=0.2)
    assert not done
    served.api.services.key_reader.stop()
    async with asyncio.timeout(15):
        assert_error(await read, errors.SHUTTING_DOWN)
    assert_error(await reader.post(waiting), errors.SHUTTING_DOWN)
    assert (await reader.post(held)).status == 200


async def test_what_cannot_be_retrieved(served: Served, reader: DocumentedClient) -> None:
    """A retired key until it is recovered; what is no key; and a body has nothing to say."""
    key_id = await served.create("vol1")
    url = f"{served.url}/{key_id}/retrieve"
    await served.api.admin.delete(f"{served.url}/{key_id}")
    assert_error(await reader.post(url), errors.INVALID_VALUE, "key_id")
    await served.api.admin.patch(f"{served.url}/{key_id}", {"state": "committed"})
    assert (await reader.post(url)).status == 200
    assert_error(await reader.post(f"{served.url}/{ABSENT}/retrieve"), errors.ENTRY_NOT_FOUND, "key_id")
    assert_error(await reader.post(f"{served.url}/{'0' * 80}/retrieve"), errors.ENTRY_NOT_FOUND, "key_id")
    assert_error(await reader.post(url, {"material": GIVEN}), errors.FIELD_NOT_SETTABLE, "material")
    assert_error(await reader.get(url), errors.METHOD_NOT_SUPPORTED)
