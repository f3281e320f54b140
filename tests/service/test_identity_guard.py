"""New client certificates and moved servers: keys are readable as before, or nothing changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.certificates import NewCertificate
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange
from keystead.core.key_servers import ModifyRequest
from keystead.core.keys.model import Presence
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.gateway import Gateway
from keystead.kmip.enums import Operation, ResultReason
from keystead.kmip.profiles import PLAIN
from keystead.kmip.testing import delay
from keystead.service import identity_guard, key_guard
from keystead.service.context import Call, Caller
from keystead.service.identity_guard import IdentityGuard
from keystead.service.key_guard import RemovalGuard
from keystead.service.key_learning import KeyLearner
from keystead.service.key_managers import KeyManagers
from keystead.service.key_servers import KeyServers
from keystead.service.observing import Observing
from keystead.service.probe_queue import ProbeQueue
from keystead.service.proving import Prover
from tests.peers.adding import opened
from tests.service.keyworlds import CALL, SECONDARY, KeyNode, KeyWorld, asked

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.kmip.testing import KeyServer as KmipServer
    from keystead.service.ports import Transaction

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What depends on key servers only is tested on one engine."""

CERTIFICATE = "external.client_certificate"


@dataclass
class Changer:
    """One node's changes of key managers and key servers; its servers were learned, with canaries of their own."""

    world: KeyWorld
    node: KeyNode
    manager: str
    managers: KeyManagers
    servers: KeyServers
    renewed: str

    async def renew(self, call: Call = CALL, *, patient: bool = False) -> None:
        """Take the renewed certificate."""
        change = KeyManagerChange(CertificateName(self.renewed))
        await self.managers.change(call, self.manager, change, patient=patient)

    async def renewal_refused(self, call: Call = CALL, *, patient: bool = False) -> OntapError:
        """The error of that, which leaves the old one."""
        with pytest.raises(OntapError) as raised:
            await self.renew(call, patient=patient)
        assert await self.certificate() == self.world.home.client_certificate
        return raised.value

    async def certificate(self) -> str:
        """The client certificate that counts."""
        found = await self.world.store.read(lambda tx: tx.key_manager(self.manager))
        assert found is not None
        return found.client_certificate

    async def modify(self, server: KeyServer, **fields: Any) -> KeyServer:
        """Change a server, as a call does."""
        state = await self.servers.state(CALL, self.manager)
        return await self.servers.modify(CALL, state, ModifyRequest(server.address, **fields))

    async def change_refused(self, server: KeyServer, **fields: Any) -> OntapError:
        """The error of that, which changes nothing."""
        before = await self.world.servers(self.manager)
        with pytest.raises(OntapError) as raised:
            await self.modify(server, **fields)
        assert await self.world.servers(self.manager) == before
        return raised.value


async def changer(world: KeyWorld, *servers: KmipServer, name: str = "keystead", **fields: Any) -> Changer:
    """A key manager with learned servers, and a renewed client certificate with this common name."""
    manager = await world.key_manager(*servers, know=False, **fields)
    node = await world.node()
    learner = KeyLearner(node.store, node.objects, node.reacher, world.home.keyring, world.clock)
    places = await learner.ensure(manager)
    await learner.close()
    assert len(places.profiles) == len(servers)
    queue = ProbeQueue(per_account=16, per_svm=16, in_all=64, waiting=64)
    gateway = Gateway(EgressRules.parse(("127.0.0.0/8", "::1/128"), ()))
    prover = Prover(gateway, world.home.keyring, queue, Observing(world.clock, node.uuid))
    guard = RemovalGuard(node.store, node.objects, node.reacher, world.clock)
    identity = IdentityGuard(node.store, node.objects, node.reacher, world.clock)
    made = world.pki.client_ca.issue((), common_name=name, purpose="client", key=world.pki.client.key)
    new = NewCertificate("client", made.certificate_pem, name="renewed", private_key=Secret(world.pki.client.key_pem))
    async with opened(str(world.home.data), world.home.database) as services:
        renewed = (await services.certificates.install(CALL, new)).uuid
    return Changer(
        world,
        node,
        manager,
        KeyManagers(node.store, prover, world.home.keyring, node.audit, identity),
        KeyServers(node.store, prover, world.home.keyring, node.audit, guard, identity),
        renewed,
    )


async def identifier(changing: Changer, key: Key, server: int) -> str:
    """The Unique Identifier of a key's copy on a server."""
    return (await changing.world.copies(key.uuid))[server].unique_identifiers[0]


# --- another client certificate ---


async def test_a_certificate_that_reads_every_key_is_taken(key_world: KeyWorld) -> None:
    """Canary and keys are read on each server with it, before."""
    servers = await key_world.start(2)
    changing = await changer(key_world, *servers)
    for number in range(3):
        await changing.node.create(changing.manager, f"key {number}")
    before = [len(asked(server, Operation.GET)) for server in servers]
    await changing.renew()
    assert await changing.certificate() == changing.renewed
    # one message for the canary, one for all keys
    assert [len(asked(server, Operation.GET)) for server in servers] == [1 + 3 + count for count in before]


@on_sqlite
async def test_a_server_that_binds_keys_to_the_old_one(key_world: KeyWorld) -> None:
    """It hides what another common name has brought: 66060339, and the old one stays."""
    servers = await key_world.start(2)
    changing = await changer(key_world, *servers, name="somebody else")
    servers[1].responder.profile = replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED)
    error = await changing.renewal_refused()
    second = (await key_world.servers(changing.manager))[1]
    assert (error.kind, error.target) == (errors.CLIENT_CERTIFICATE_REFUSED, CERTIFICATE)
    assert error.arguments[:2] == (("server", str(second.address)), ("stage", "keys"))
    assert error.arguments[2:] == (("reason", "canary_not_seen"),)


@on_sqlite
async def test_a_key_that_it_cannot_read(key_world: KeyWorld) -> None:
    """One on one server is enough: it is lost there, or spoiled."""
    servers = await key_world.start(2)
    changing = await changer(key_world, *servers)
    key = await changing.node.create(changing.manager)
    responder, id_ = servers[1].responder, await identifier(changing, key, 1)
    kept = responder.objects[id_].copy()
    responder.store.rot(id_)
    error = await changing.renewal_refused()
    assert (error.kind, error.target) == (errors.CLIENT_CERTIFICATE_REFUSED, CERTIFICATE)
    assert ("reason", "different_material") in error.arguments
    responder.store.forget(id_)
    assert ("reason", "item_not_found") in (await changing.renewal_refused()).arguments
    responder.store.receive(id_, kept)
    await changing.renew()


@on_sqlite
async def test_an_svm_hears_no_reason(key_world: KeyWorld) -> None:
    """The server and the stage, as of a probe."""
    svm = await key_world.home.svm()
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers, svm=svm)
    servers[0].responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    caller = Call(Caller("vsadmin", Role.ADMIN, "127.0.0.1", svm), "PATCH", "/api/test")
    error = await changing.renewal_refused(caller)
    assert [name for name, _ in error.arguments] == ["server", "stage"]


@on_sqlite
async def test_a_server_that_dies_meanwhile(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not the certificate's fault: 66060341."""
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    await changing.node.create(changing.manager)
    prove_canaries = IdentityGuard._prove_canaries

    async def then_die(*args: Any) -> None:
        await prove_canaries(*args)
        await servers[0].__aexit__(None, None, None)

    monkeypatch.setattr(IdentityGuard, "_prove_canaries", then_die)
    error = await changing.renewal_refused()
    assert (error.kind, error.target) == (errors.NETWORK, CERTIFICATE)


@on_sqlite
@pytest.mark.parametrize("slow", ["canary", "keys"])
async def test_what_cannot_be_proved_in_time(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    """The call is refused with 503; a job has the time for it."""
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    if slow == "keys":
        monkeypatch.setattr(identity_guard, "_has_canary", lambda *_: False)
        await changing.node.create(changing.manager)
    servers[0].faults[Operation.GET] = delay(0.6)
    monkeypatch.setattr(changing.managers._prover, "deadline", lambda: asyncio.get_running_loop().time() + 0.4)
    error = await changing.renewal_refused()
    assert (error.kind, error.target, error.retry_after) == (errors.TOO_BUSY, CERTIFICATE, 5)
    await changing.renew(patient=True)


async def test_keys_that_come_meanwhile_are_read_as_well(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed after the proof is proved before the certificate is taken; the rest is not read again."""
    monkeypatch.setattr(key_guard, "PAGE", 2)
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    for number in range(3):
        await changing.node.create(changing.manager, f"key {number}")
    proved = IdentityGuard.prove
    rounds = []

    async def and_create(guard: IdentityGuard, *args: Any) -> None:
        rounds.append(len(asked(servers[0], Operation.GET)))
        await proved(guard, *args)
        if len(rounds) == 1:
            await changing.node.create(changing.manager, "a late key")

    monkeypatch.setattr(IdentityGuard, "prove", and_create)
    await changing.renew()
    assert await changing.certificate() == changing.renewed
    assert len(rounds) == 2
    assert len(asked(servers[0], Operation.GET)) - rounds[1] == 1 + 1  # the canary and the late key


@on_sqlite
async def test_without_keys_or_canaries_nothing_is_read(key_world: KeyWorld) -> None:
    """Nothing was ever learned: the probe is all."""
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    before = len(asked(servers[0], Operation.GET))
    digest_key = await key_world.store.read(lambda tx: tx.digest_key(changing.manager))
    assert digest_key is not None
    fresh = await key_world.key_manager(*servers, know=False)
    changing.manager = fresh
    await changing.renew()
    assert len(asked(servers[0], Operation.GET)) == before


# --- moved servers ---


async def test_a_server_moves_when_its_canary_is_there(key_world: KeyWorld) -> None:
    """The same objects behind another port."""
    servers = await key_world.start(1)
    (moved,) = await key_world.start(1, [servers[0].responder])
    changing = await changer(key_world, servers[0])
    await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    before = await key_world.places(changing.manager)
    after = await changing.modify(row, port=moved.port)
    assert after.address == ServerAddress("127.0.0.1", moved.port)
    assert (await key_world.places(changing.manager)).profiles == before.profiles  # it is the same server


@on_sqlite
async def test_a_server_of_which_nothing_is_known_stays(key_world: KeyWorld) -> None:
    """It has keys, and no canary that it could be told by."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    await key_world.store.write(lambda tx: tx.delete_profile(row.uuid))
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.target) == (errors.NETWORK, "server")
    assert error.arguments[2:] == (("reason", "canary_not_seen"),)


@on_sqlite
@pytest.mark.parametrize("presence", [Presence.UNKNOWN, Presence.SENT])
async def test_a_server_that_may_have_a_key_shows_its_canary(key_world: KeyWorld, presence: Presence) -> None:
    """Nobody knows what came of a Register there."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    copies = [replace(copy, presence=presence) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK


@on_sqlite
async def test_a_server_that_was_restored_elsewhere(key_world: KeyWorld) -> None:
    """It has its canary there, and not the key that came later: refused while no other domain has that."""
    servers = await key_world.start(3)
    changing = await changer(key_world, servers[0], servers[1])
    moved = servers[2]
    for id_, stored in servers[0].responder.objects.items():
        moved.responder.store.put(id_, stored)
    key = await changing.node.create(changing.manager)
    row, other = await key_world.servers(changing.manager)
    copies = {copy.key_server: copy for copy in await key_world.copies(key.uuid)}
    missing = replace(copies[other.uuid], presence=Presence.MISSING)
    await key_world.store.write(lambda tx: tx.put_copies([missing], new=False))
    error = await changing.change_refused(row, port=moved.port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    assert (await changing.modify(row, timeout=7)).timeout == 7
    await key_world.store.write(lambda tx: tx.put_copies([copies[other.uuid]], new=False))
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port


@on_sqlite
async def test_a_key_that_comes_to_a_server_while_it_moves(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had nothing when it was asked: it is asked again."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    (row,) = await key_world.servers(changing.manager)
    proved = IdentityGuard.prove_moved
    rounds: list[bool] = []

    async def and_create(*args: Any, **options: Any) -> bool:
        rounds.append(await proved(*args, **options))
        await changing.node.create(changing.manager)
        return rounds[-1]

    monkeypatch.setattr(IdentityGuard, "prove_moved", and_create)
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK
    assert rounds == [False]


@on_sqlite
async def test_another_server_is_not_taken_for_it(key_world: KeyWorld) -> None:
    """Another port, or a secondary, that has not what it has: 66060341, as long as keys are there."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    (row,) = await key_world.servers(changing.manager)
    stranger = await key_world.start_secondary(servers[0], servers[1].responder)
    key = await changing.node.create(changing.manager)
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.target) == (errors.NETWORK, "server")
    assert error.arguments == (
        ("server", f"127.0.0.1:{servers[1].port}"), ("stage", "keys"), ("reason", "canary_not_seen"),
    )  # fmt: skip
    error = await changing.change_refused(row, secondary_key_servers=(SECONDARY,))
    assert error.arguments[0] == ("server", f"[{SECONDARY}]:{stranger.port}")
    copies = [
        replace(copy, unique_identifiers=(), presence=Presence.MISSING) for copy in await key_world.copies(key.uuid)
    ]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    assert (await changing.modify(row, port=servers[1].port)).address.port == servers[1].port


@on_sqlite
async def test_a_secondary_with_the_only_copy_stays(key_world: KeyWorld) -> None:
    """It took the key when its primary was away: it goes when the primary has it, too."""
    servers = await key_world.start(1)
    await key_world.start_secondary(servers[0])
    changing = await changer(key_world, servers[0], secondary_key_servers=(SECONDARY,))
    (row,) = await key_world.servers(changing.manager)
    key = await changing.node.create(changing.manager)
    (copy,) = await key_world.copies(key.uuid)
    elsewhere = replace(copy, host=SECONDARY)
    missing = replace(copy, presence=Presence.MISSING)

    def only_there(tx: Transaction) -> None:
        tx.put_copies([elsewhere], new=True)
        tx.put_copies([missing], new=False)

    await key_world.store.write(only_there)
    error = await changing.change_refused(row, secondary_key_servers=())
    assert (error.kind, error.arguments[:2]) == (errors.SOLE_COPY, (("keys", "1"), ("key_id", key.key_id)))
    await key_world.store.write(lambda tx: tx.put_copies([copy], new=False))
    assert (await changing.modify(row, secondary_key_servers=())).secondary_key_servers == ()
