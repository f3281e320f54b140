"""The whole life of a key on every kind of key server that is scripted: what is peculiar about one loses nothing.

It is created, read, swept, brought to a server that comes late, retired, recovered, retired again and purged with
receipts, beside a key that stays and beside another product's object; then its name is taken anew.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.model import KeyState, Presence
from keystead.core.keys.names import ObjectKind, parse
from keystead.kmip.testing.profiles import PROFILES
from tests.peers.certificates import server_context
from tests.service.worlds.keepers import PAIRS, Pairs
from tests.service.worlds.keys import ShiftedClock, on_sqlite
from tests.survival.servers import Scripted, Watched
from tests.survival.systems import System

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from keystead.core.keys.model import Key
    from keystead.kmip.server.storage import Stored
    from tests.peers.fixtures import Pki
    from tests.peers.homes import Home

MATERIAL, OTHER = bytes(range(64)), bytes(range(64, 128))
FOREIGN = "another product's"
ONLY_DESTROYED = {"no states", "active at once"}
"""Kinds that have no Revoke: what ends there is destroyed at once."""

PECULIAR = (
    "names stay taken",
    "destroyed objects are kept",
    "locate returns everything",
    "no offset items",
    "application specific information is an invalid field",
    "application specific information is dropped",
    "destroy of active is permission denied",
    "usage mask encrypt and decrypt only",
    PAIRS,
)
NOT_ACCEPTED = "query denied"
"""Such a server is refused by the probe when it is added."""


class WatchedPairs(Watched, Pairs):
    """A server for pairs of keys."""


def responder(kind: str, witness: Callable[[str], None]) -> Watched:
    """A server of a kind."""
    return WatchedPairs(witness) if kind == PAIRS else Watched(witness, PROFILES[kind])


class Life:
    """A system whose servers are all of one kind; three are configured, the last one comes late."""

    def __init__(self, system: System, places: list[Scripted]) -> None:
        self.system = system
        self.places = places

    async def presences(self, key: Key) -> list[Presence]:
        """Return what is known of a key's copies."""
        found = await self.system.catalogue()
        return [copy.presence for copy in found.copies if copy.key == key.uuid]

    async def keep(self) -> None:
        """A round of the keeper."""
        (process,) = self.system.processes
        assert await self.system.keep(process)

    async def state(self, key: Key) -> KeyState:
        """Where a key stands."""
        return (await self.system.catalogue()).keys[key.uuid].state

    async def actions(self, key: Key) -> dict[str, set[str]]:
        """Return what was done to a key's own objects, by server."""
        found = await self.system.home.store.read(lambda tx: tx.receipts([key.uuid]))
        copies = await self.system.home.store.read(lambda tx: tx.copies([key.uuid]))
        own = {id_ for copy in copies for id_ in copy.unique_identifiers}
        done: dict[str, set[str]] = {}
        for each in found:
            if each.unique_identifier in own:
                done.setdefault(each.key_server, set()).add(each.action)
        return done

    def held(self, key: Key) -> list[int]:
        """How many objects of a key's attempts, descriptors too, each server holds."""
        digits = key.uuid.replace("-", "")
        names = [[parse(each.names[0]) for each in place.held()] for place in self.places]
        return [
            sum(name is not None and name.kind is not ObjectKind.CANARY and digits.startswith(name.id) for name in each)
            for each in names
        ]


def foreign(place: Scripted) -> list[Stored]:
    """Another product's objects on a server."""
    return [each for each in place.server.responder.objects.values() if FOREIGN in each.names]


@on_sqlite
@pytest.mark.parametrize("kind", PECULIAR)
async def test_the_whole_life_of_a_key(home: Home, pki: Pki, tmp_path: Path, kind: str) -> None:
    """Every step in the life of a key succeeds, and only objects of that key are touched."""
    await check_life(home, pki, tmp_path, kind)


@pytest.mark.long
@on_sqlite
@pytest.mark.parametrize("kind", [kind for kind in PROFILES if kind not in {*PECULIAR, NOT_ACCEPTED}])
async def test_the_whole_life_of_a_key_on_other_kinds(home: Home, pki: Pki, tmp_path: Path, kind: str) -> None:
    """The life of a key succeeds on kinds of key servers that differ in other points."""
    await check_life(home, pki, tmp_path, kind)


async def check_life(home: Home, pki: Pki, tmp_path: Path, kind: str) -> None:
    """All steps, on servers of one kind."""
    async with AsyncExitStack() as stack:
        system = System(home, ShiftedClock(), tmp_path)
        stack.push_async_callback(system.close)
        context = server_context(pki.server, client_ca=pki.client_ca)
        places = [Scripted(context, responder(kind, system.witness)) for _ in range(4)]
        for place in places:
            stack.push_async_callback(place.close)
            await place.start()
        await system.begin(places[:3])
        life = Life(system, places)
        (process,) = system.processes
        stays = await system.create(process, "stays", OTHER)
        key = await system.create(process, "ends", MATERIAL)
        assert key is not None
        assert stays is not None
        bring_foreign_object(places[0])
        assert await system.read(process, key) == MATERIAL

        await life.keep()
        assert await life.presences(key) == 3 * [Presence.PRESENT]
        system.places.append(places[3])
        assert await system.add(process, places[3])
        await life.keep()
        assert await life.presences(key) == 4 * [Presence.PRESENT]
        assert all(life.held(key))

        await system.retire(process, key)
        assert await system.read(process, key) is None
        await system.recover(process, key)
        assert await system.read(process, key) == MATERIAL
        await system.retire(process, key)
        await system.pass_window()
        await life.keep()
        assert await life.state(key) is KeyState.PURGED
        assert life.held(key) == 4 * [0]
        expected = {"destroyed"} if kind in ONLY_DESTROYED else {"revoked", "destroyed"}
        assert list((await life.actions(key)).values()) == 4 * [expected]

        assert all(life.held(stays))
        assert len(foreign(places[0])) == 1
        again = await system.create(process, "ends", bytes(reversed(MATERIAL)))
        assert again is not None
        wrong = await system.verdict(Random(0))  # noqa: S311 - any choice will do
        assert not wrong, system.report(wrong)
        assert len(foreign(places[0])) == 1


def bring_foreign_object(place: Scripted) -> None:
    """Have another product keep an object on a server: a copy of one of ours, under another name."""
    responder = place.server.responder
    ours = next(iter(responder.objects.values())).copy()
    for index, entry in enumerate(ours.attributes):
        if entry.attribute_name == "Name":
            value = replace(entry.attribute_value, name_value=FOREIGN)
            ours.attributes[index] = replace(entry, attribute_value=value)
    responder.store.put("foreign", ours)
