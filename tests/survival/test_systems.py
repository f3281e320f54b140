"""The harness: a system to which nothing happens is sound, and each loss that a system could suffer is noticed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest_asyncio

from keystead.core.keys import incarnations, writing
from keystead.core.keys.names import ObjectKind, parse
from tests.peers.certificates import server_context
from tests.service.worlds.keys import ShiftedClock, on_sqlite
from tests.survival.servers import Scripted, Watched
from tests.survival.systems import System

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from keystead.core.keys.model import Key
    from tests.peers.fixtures import Pki
    from tests.peers.homes import Home
    from tests.survival.servers import Held
    from tests.survival.systems import Process

MATERIAL = bytes(range(64))

pytestmark = on_sqlite


@pytest_asyncio.fixture
async def system(home: Home, pki: Pki, tmp_path: Path) -> AsyncIterator[System]:
    """Four servers and one node."""
    async with AsyncExitStack() as stack:
        made = System(home, ShiftedClock(), tmp_path)
        stack.push_async_callback(made.close)
        context = server_context(pki.server, client_ca=pki.client_ca)
        places = [Scripted(context, Watched(made.witness)) for _ in range(4)]
        for place in places:
            stack.push_async_callback(place.close)
            await place.start()
        await made.begin(places)
        yield made


async def created(system: System) -> tuple[Process, Key]:
    """The node, and a key."""
    (process,) = system.processes
    key = await system.create(process, "a key", MATERIAL)
    assert key is not None
    return process, key


async def verdict(system: System) -> str:
    """All that is wrong."""
    return "\n".join(await system.verdict(Random(0)))  # noqa: S311 - any choice will do


def copies(system: System) -> list[tuple[Scripted, Held]]:
    """The objects of keys, with the servers that hold them."""
    return [
        (place, each)
        for place in system.places
        if isinstance(place, Scripted)
        for each in place.held()
        if (name := parse(each.names[0])) is not None and name.kind is ObjectKind.KEY
    ]


async def test_nothing_happens(system: System) -> None:
    """A key is created, retired, recovered, and is where it should be."""
    process, key = await created(system)
    await system.retire(process, key)
    assert await system.read(process, key) is None
    await system.recover(process, key)
    assert await system.read(process, key) == MATERIAL
    assert await verdict(system) == ""


async def test_servers_that_lose_every_copy(system: System) -> None:
    """An acknowledged key that cannot be read any more is a loss."""
    await created(system)
    for place, each in copies(system):
        place.server.responder.store.forget(each.identifier)
    assert "readable: an acknowledged key is lost" in await verdict(system)


async def test_too_few_copies(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that was acknowledged with one copy, when its domain goes."""
    monkeypatch.setattr(writing, "wanted_copies", lambda *_: 1)
    for place in system.places[1:]:
        await place.fail("killed")
    await created(system)
    assert "readable: an acknowledged key is lost" in await verdict(system)


async def test_an_object_that_must_not_be_destroyed(system: System) -> None:
    """Whoever asks a server to destroy a copy of a key in use is noticed at that moment."""
    await created(system)
    _, each = copies(system)[0]
    system.witness(each.names[0])
    assert "an object was destroyed that may not be" in await verdict(system)


async def test_an_object_that_nobody_accounts_for(system: System) -> None:
    """So is what lies on a server under one of our names, and no attempt wrote."""
    await created(system)
    place, each = copies(system)[0]
    place.server.responder.store.put("another", place.server.responder.objects[each.identifier].copy())
    (stored,) = [found for id_, found in place.server.responder.objects.items() if id_ == "another"]
    number = f"{each.names[0].rsplit('-', 1)[0]}-99"
    for entry in stored.attributes:
        if entry.attribute_name == "Name":
            object.__setattr__(entry.attribute_value, "name_value", number)
    assert "an object that no attempt accounts for" in await verdict(system)


async def test_a_clone_that_is_not_noticed(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the database that did not begin a new incarnation would destroy what is in use."""
    monkeypatch.setattr(incarnations, "_reason", lambda *_: None)
    process, key = await created(system)
    await system.retire(process, key)
    clone = await system.clone()
    await system.recover(process, key)
    await system.pass_window()
    assert await system.keep(clone)
    await clone.close()
    assert "an object was destroyed that may not be" in await verdict(system)
