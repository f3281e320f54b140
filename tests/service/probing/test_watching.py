"""What is watched and recorded, without anything that watches."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from keystead.core.availability import AddressCheck, CheckResult, WatchedAddress
from keystead.core.model import Event, State
from keystead.core.secret import Secret
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.service.probing.watching import Watching
    from tests.service.conftest import World

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
BAD = CheckResult("connect", "connection_refused")


@pytest.fixture
def watching(world: World) -> Watching:
    """Return the node's watch, which nobody keeps."""
    return world.open.monitor._watching


async def change_of(world: World, manager: str, look: CheckResult = BAD) -> AddressCheck:
    """Return what a look at a key manager's first server showed."""
    server = (await world.rows(manager))[0]
    return AddressCheck(manager, WatchedAddress(server.uuid, ""), look, NOW)


async def test_what_is_to_be_watched(world: World, watching: Watching, servers: list[str]) -> None:
    """Every address of every key manager, with what it is watched with, and the certificates in use."""
    manager = await world.key_manager(servers[0], servers[1])
    configuration = await watching.configuration()
    assert [str(each.address) for each in configuration.watched.values()] == servers[:2]
    assert {each.vserver for each in configuration.watched.values()} == {"keystead"}
    assert [each.type for each in configuration.certificates] == ["client", "server_ca"]
    assert configuration.marker == await watching.marker()
    opened = await watching.open(list(configuration.watched.values()), 1.0)
    assert {each.known.state for each in opened.values() if each.known} == {State.AVAILABLE}
    assert [place.key_server for place in opened] == [row.uuid for row in await world.rows(manager)]


async def test_what_cannot_be_opened_is_left_out(world: World, watching: Watching, servers: list[str]) -> None:
    """A certificate that is gone, a key that cannot be unsealed: the other key managers are watched."""
    await world.key_manager(servers[0])
    found = list((await watching.configuration()).watched.values())
    gone = replace(found[0], key_manager=replace(found[0].key_manager, uuid="x", client_certificate="gone"))
    assert await watching.open([gone], 1.0) == {}

    def damage(tx: Transaction) -> None:
        connection = tx._connection  # type: ignore[attr-defined]
        connection.execute(text("UPDATE certificates SET sealed_private_key = x'00' WHERE type = 'client'"))

    await world.store.write(damage)
    assert await watching.open(found, 1.0) == {}


async def test_a_change_is_recorded_with_its_event(world: World, watching: Watching, servers: list[str]) -> None:
    """The time is that of the look; the same change again is nothing new."""
    manager = await world.key_manager(servers[0])
    change = await change_of(world, manager)
    for _ in range(2):
        await watching.record([change])
    (found,) = await world.store.read(lambda tx: tx.observations([change.place.key_server]))
    assert (found.state, found.since, found.reason) == (State.NOT_RESPONDING, NOW, "connection_refused")
    (event,) = await world.store.read(lambda tx: tx.page(Event, Page()))
    assert (event.name, event.time) == ("km.keyserver.notavailable", NOW)


async def test_changes_of_what_is_gone_are_dropped(world: World, watching: Watching, servers: list[str]) -> None:
    """A server that was removed meanwhile, a secondary that is none any more, a key manager that was deleted."""
    manager = await world.key_manager(servers[0], servers[1])
    change = await change_of(world, manager)
    await world.remove(manager, servers[0])
    other = (await world.rows(manager))[0]
    await watching.record([change, change._replace(place=WatchedAddress(other.uuid, "gone"))])
    await watching.record([AddressCheck("no key manager", change.place, BAD, NOW)])
    assert await world.store.read(lambda tx: tx.page(Event, Page())) == ()
    (left,) = await world.store.read(lambda tx: tx.observations([change.place.key_server, other.uuid]))
    assert left.key_server == other.uuid


async def test_changes_about_what_was_configured_before_are_dropped(
    world: World, watching: Watching, servers: list[str]
) -> None:
    """What was seen at an address, or with certificates, that another one took the place of says nothing of that."""
    manager = await world.key_manager(servers[0])
    (each,) = (await watching.configuration()).watched.values()
    change = await change_of(world, manager)
    for about in (
        (each.key_manager, replace(each.server, address=replace(each.server.address, port=1))),
        (each.key_manager, replace(each.server, tls_server_name="other")),
        (replace(each.key_manager, client_certificate="other"), each.server),
    ):
        assert await watching.record([change._replace(about=about)]) == frozenset()
        assert {found.state for found in (await watching.observations()).values()} == {State.AVAILABLE}
    await watching.record([change._replace(about=(each.key_manager, each.server))])
    assert {found.state for found in (await watching.observations()).values()} == {State.NOT_RESPONDING}


async def test_a_change_that_proves_a_lost_server_brings_it_back(
    world: World, watching: Watching, servers: list[str]
) -> None:
    """The probe of a PATCH is an observation too, announced as any return."""
    manager = await world.key_manager(servers[0])
    await watching.record([await change_of(world, manager)])
    await world.modify(manager, servers[0], username="user", password=Secret("password"))
    (found,) = await world.store.read(lambda tx: tx.observations([row.uuid for row in tx.key_servers(manager)]))
    assert found.state is State.AVAILABLE
    names = [event.name for event in await world.store.read(lambda tx: tx.page(Event, Page()))]
    assert names == ["km.keyserver.notavailable", "km.keyserver.available"]


async def test_a_database_without_a_cluster_is_not_watched(world: World, watching: Watching) -> None:
    """It was never initialised."""

    def empty(tx: Transaction) -> None:
        tx._connection.execute(text("DELETE FROM cluster"))  # type: ignore[attr-defined]

    await world.store.write(empty)
    with pytest.raises(StoreError, match="init"):
        await watching.configuration()
