"""Keys that no server returns: when a key is lost, and when it only cannot be read now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import Presence
from keystead.kmip.testing.server import close, silence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys.reading.fetch import RETRY_AFTER_S, FetchLimits
from tests.service.worlds.basics import HandClock
from tests.service.worlds.keys import SECONDARY, KeyWorld
from tests.service.worlds.reading import reading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import KeyServer

GET = Operation.GET


class Case(NamedTuple):
    """A key on two servers, the second of which has a secondary. They no longer have it, but show their canaries."""

    world: KeyWorld
    key: Key
    second: KeyServer
    secondary: KeyServer

    async def change_copy(self, **values: Any) -> None:
        """Change the row of the copy on the second server."""
        copy = (await self.world.copies(self.key.uuid))[1]
        await self.world.store.write(lambda tx: tx.put_copies([replace(copy, **values)], new=False))


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return one engine: what depends on key servers only is tested there."""
    return sqlite_url


async def denying(_: Case) -> None:
    """Leave it so: it denies the key and shows its canary."""


async def destroyed(case: Case) -> None:
    """Note that its copy was destroyed."""
    await case.second.__aexit__(None, None, None)
    await case.secondary.__aexit__(None, None, None)
    await case.change_copy(presence=Presence.DESTROYED)


async def stopped(case: Case) -> None:
    """Stop it: it refuses connections."""
    await case.second.__aexit__(None, None, None)
    await case.secondary.__aexit__(None, None, None)


async def without_secondary(case: Case) -> None:
    """Stop its secondary only."""
    await case.secondary.__aexit__(None, None, None)


async def silent(case: Case) -> None:
    """Have it answer no Get."""
    case.second.request_faults[GET] = silence


async def closing(case: Case) -> None:
    """Have it close the connection."""
    case.second.faults[GET] = close


async def refusing(case: Case) -> None:
    """Have it refuse."""
    case.second.responder.refusals[GET] = ResultReason.PERMISSION_DENIED


async def hiding(case: Case) -> None:
    """Have it hide its canary."""
    case.second.responder.store.forget_all()


async def unlearned(case: Case) -> None:
    """Forget what was learned of it, its canary too."""
    server = (await case.world.servers(case.key.key_manager))[1]
    await case.world.store.write(lambda tx: tx.delete_profile(server.uuid))


async def unanswered(case: Case) -> None:
    """Note that its Register was not answered."""
    await case.change_copy(presence=Presence.SENT, unique_identifiers=())


async def removed(case: Case) -> None:
    """Remove it."""
    server = (await case.world.servers(case.key.key_manager))[1]
    await case.world.store.write(lambda tx: tx.delete_key_server(server.uuid))


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (denying, ""),
        (destroyed, ""),
        (stopped, "connection_refused"),
        (without_secondary, "connection_refused"),
        (silent, "overtaken"),
        (closing, "connection_closed"),
        (refusing, "permission_denied"),
        (hiding, "canary_not_seen"),
        (unlearned, "canary_not_seen"),
        (unanswered, "unsettled"),
        (removed, "detached"),
    ],
)
async def test_a_key_is_lost_if_all_who_should_have_it_deny_it(
    key_world: KeyWorld, second: Callable[[Case], Awaitable[None]], reason: str
) -> None:
    """The first server denies the key. The second decides the code. An empty ``reason`` stands for a lost key."""
    servers = await key_world.start(2)
    secondary = await key_world.start_secondary(servers[1])
    fields = {1: {"secondary_key_servers": (SECONDARY,), "tls_server_name": "localhost"}}
    manager = await key_world.key_manager(*servers, each=fields, know=False)
    async with reading(key_world, limits=FetchLimits(fetch_s=2.0) if second is silent else FetchLimits()) as node:
        key = await node.create(manager)
        for server, copy in zip(servers, await key_world.copies(key.uuid), strict=True):
            del server.responder.objects[copy.unique_identifiers[0]]
        await second(Case(key_world, key, servers[1], secondary))
        with pytest.raises(OntapError) as refused:
            await node.read(key)
    said = refused.value
    assert said.kind is (errors.KEY_NOT_READ if reason else errors.VOLUME_KEY_NOT_RESTORED)
    assert said.retry_after == (RETRY_AFTER_S if reason else None)
    reasons = {value for name, value in said.arguments if name == "reason"}
    assert reason in reasons if reason else reasons == {"item_not_found"}


async def test_a_key_that_a_server_has_wrongly_is_not_lost(key_world: KeyWorld) -> None:
    """Other bytes are no denial."""
    (server,) = await key_world.start(1)
    async with reading(key_world) as node:
        key = await node.create(await key_world.key_manager(server))
        server.responder.lying = True
        with pytest.raises(OntapError) as refused:
            await node.read(key)
    assert (refused.value.kind, refused.value.retry_after) == (errors.KEY_NOT_READ, RETRY_AFTER_S)


async def test_a_key_is_not_lost_while_a_circuit_is_open(key_world: KeyWorld) -> None:
    """A server that is not asked denies nothing, also if the trial of its address fails."""
    servers = await key_world.start(2)
    async with reading(key_world, clock=HandClock()) as node:  # no pause ends
        key = await node.create(await key_world.key_manager(*servers))
        for server in servers:
            server.responder.store.forget_all()
        await servers[1].__aexit__(None, None, None)
        said = []
        for _ in range(6):
            with pytest.raises(OntapError) as refused:
                await node.read(key)
            said.append(refused.value.kind)
        context = node.fetcher.read_context(await key_world.topology(key.key_manager))
        assert context is not None
        assert node.of.objects.circuit_open(list(context.endpoints.values())[1])
    assert set(said) == {errors.KEY_NOT_READ}


async def test_without_a_usable_identity_a_key_is_not_lost(key_world: KeyWorld) -> None:
    """No server was asked."""
    (server,) = await key_world.start(1)
    async with reading(key_world) as node:
        key = await node.create(await key_world.key_manager(server))
        await key_world.store.write(lambda tx: tx.delete_certificate(key_world.home.server_ca))
        with pytest.raises(OntapError) as refused:
            await node.read(key)
    assert (refused.value.kind, refused.value.retry_after) == (errors.KEY_NOT_READ, RETRY_AFTER_S)
