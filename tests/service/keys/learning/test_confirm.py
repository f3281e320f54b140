"""A server that lost its canary and has another public key: it gets no key before an administrator confirms it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.learning import LOST_LOOKS, LOST_S
from keystead.core.server_address import ServerAddress
from keystead.service.keys.learning.confirm import ServerConfirmation
from keystead.service.keys.looking.canaries import CANARY_NOT_SEEN
from tests.peers.certificates import server_context
from tests.service.worlds.keepers import Keeping, keeping
from tests.service.worlds.keys import CALL, asked
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.keys.model import ServerProfile
    from keystead.kmip.testing.server import KeyServer
    from tests.service.worlds.keys import KeyWorld


class Replaced(NamedTuple):
    """A keeper, and the first of its two servers, which was wiped and got another key pair."""

    kept: Keeping
    server: KeyServer
    confirmation: ServerConfirmation

    async def profile(self) -> ServerProfile:
        """Return what is stored of the server."""
        found = await self.kept.world.topology(self.kept.manager)
        return found.profiles[found.servers[0].uuid]

    async def look_for_long(self) -> None:
        """Look for canaries until one that is not there is lost."""
        for _ in range(LOST_LOOKS):
            await self.kept.learner.look_for_canaries(self.kept.manager)
            self.kept.world.clock.advance(LOST_S)

    async def confirm(self) -> str:
        """Confirm the server."""
        return await self.confirmation.confirm(CALL, self.kept.manager, ServerAddress("127.0.0.1", self.server.port))


async def replaced(world: KeyWorld, *, same_key_pair: bool = False) -> Replaced:
    """Return a server that was wiped, and was given another certificate."""
    servers = await world.start(2)
    kept = await keeping(world, *servers)
    server = servers[0]
    await server.__aexit__(None, None, None)
    server.responder.store.forget_all()
    if not same_key_pair:
        server.context = server_context(world.pki.server_ca.issue(), client_ca=world.pki.client_ca)
    await server.__aenter__()
    return Replaced(kept, server, ServerConfirmation(kept.context, kept.learner, kept.node.audit))


@on_sqlite
@pytest.mark.parametrize("same_key_pair", [True, False])
async def test_a_wiped_server_gets_no_key(key_world: KeyWorld, *, same_key_pair: bool) -> None:
    """Whatever its certificate is: the canary must be seen on the connection on which a key would be sent."""
    found = await replaced(key_world, same_key_pair=same_key_pair)
    error = await found.kept.node.refused(found.kept.manager)
    assert error.kind is errors.TOO_FEW_COPIES
    assert ("reason", CANARY_NOT_SEEN) in error.arguments
    assert "REGISTER" not in asked(found.server)[len(await registers(found)) :]


async def registers(found: Replaced) -> list[str]:
    """Return the operations that a server was asked for before it was wiped."""
    came = asked(found.server)
    return came[: len(came) - came[::-1].index("REGISTER")]


@on_sqlite
@pytest.mark.parametrize("same_key_pair", [True, False])
async def test_who_is_learned_anew_by_itself(key_world: KeyWorld, *, same_key_pair: bool) -> None:
    """Only a server with the public key that it had before."""
    found = await replaced(key_world, same_key_pair=same_key_pair)
    before = await found.profile()
    assert len(before.public_key) == 64
    await found.look_for_long()
    after = await found.profile()
    assert (after.canary_name != before.canary_name) is same_key_pair
    assert after.public_key == before.public_key


@on_sqlite
async def test_a_server_that_was_confirmed(key_world: KeyWorld) -> None:
    """It is learned at once and gets keys; that is audited, and announced as an alert."""
    found = await replaced(key_world)
    before = await found.profile()
    shown = await found.confirm()
    after = await found.profile()
    assert after.public_key == shown != before.public_key
    assert after.canary_name != before.canary_name
    await found.kept.node.create(found.kept.manager)
    (event,) = await key_world.store.read(lambda tx: tx.events_named(found.kept.node.uuid, ["km.keyserver.confirmed"]))
    assert (event.severity, dict(event.parameters)["public_key"]) == ("alert", shown)


@on_sqlite
async def test_a_server_that_resumes_old_tls_sessions(key_world: KeyWorld) -> None:
    """Its new public key is learned, not the one that a session from before remembers."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    server = servers[0]
    server.context = server_context(key_world.pki.server, client_ca=key_world.pki.client_ca)  # its own
    server.disconnect()
    await kept.node.create(kept.manager)
    key_world.pki.server_ca.issue().load_into(server.context)  # which keeps the keys of its tickets
    server.responder.store.forget_all()
    server.disconnect()
    found = Replaced(kept, server, ServerConfirmation(kept.context, kept.learner, kept.node.audit))
    before = await found.profile()
    shown = await found.confirm()
    after = await found.profile()
    assert after.public_key == shown != before.public_key
    assert after.canary_name != before.canary_name


@on_sqlite
async def test_there_is_nothing_to_confirm(key_world: KeyWorld) -> None:
    """A server that shows its canary stays as it is, with the public key that it shows now."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    found = Replaced(kept, servers[0], ServerConfirmation(kept.context, kept.learner, kept.node.audit))
    before = await found.profile()
    assert await found.confirm() == before.public_key
    assert await found.profile() == before


@on_sqlite
async def test_a_renewed_key_pair_is_noted_when_the_canary_is_seen(key_world: KeyWorld) -> None:
    """So that the server may be learned anew later."""
    (server,) = await key_world.start(1)
    kept = await keeping(key_world, server)
    found = Replaced(kept, server, ServerConfirmation(kept.context, kept.learner, kept.node.audit))
    before = await found.profile()
    await server.__aexit__(None, None, None)
    server.context = server_context(key_world.pki.server_ca.issue(), client_ca=key_world.pki.client_ca)
    await server.__aenter__()
    await kept.learner.look_for_canaries(kept.manager)
    after = await found.profile()
    assert after == replace(before, public_key=after.public_key)
    assert after.public_key not in {"", before.public_key}


@on_sqlite
async def test_who_cannot_be_confirmed(key_world: KeyWorld) -> None:
    """A server that is away, one that is not configured, and any server by a call within an SVM."""
    found = await replaced(key_world)
    before = await found.profile()
    await found.server.__aexit__(None, None, None)
    with pytest.raises(OntapError) as away:
        await found.confirm()
    assert (away.value.kind, dict(away.value.arguments)["reason"]) == (errors.TOO_FEW_COPIES, "connection_refused")
    within = replace(CALL, scope=await key_world.home.svm())
    for call, address in (
        (CALL, ServerAddress("127.0.0.1", 1)),
        (within, ServerAddress("127.0.0.1", found.server.port)),
    ):
        with pytest.raises(OntapError) as unknown:
            await found.confirmation.confirm(call, found.kept.manager, address)
        assert unknown.value.kind is errors.ENTRY_NOT_FOUND
    assert await found.profile() == before
