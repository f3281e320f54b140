"""New client certificates: keys are readable as before, or nothing changes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange
from keystead.core.keys.model import Presence
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer as KmipServer
from keystead.kmip.testing.server import delay
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.context import Call, Caller
from keystead.service.keys.guarding import relocation as identity_guard
from keystead.service.keys.guarding import removal as key_guard
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.writing.copies import AttemptCopies
from tests.peers.adding import opened
from tests.peers.certificates import Authority, server_context
from tests.service.worlds.changing import Changer, changer, identifier
from tests.service.worlds.keepers import Keeping, retire_and_wait
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, asked, on_sqlite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from keystead.core.keys.model import Key
    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.service.ports.store import Transaction

CERTIFICATE = "external.client_certificate"


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
    prove_canaries = RelocationGuard._check_canaries

    async def then_die(*args: Any) -> None:
        await prove_canaries(*args)
        await servers[0].__aexit__(None, None, None)

    monkeypatch.setattr(RelocationGuard, "_check_canaries", then_die)
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
    monkeypatch.setattr(changing.managers._context.prover, "deadline", lambda: asyncio.get_running_loop().time() + 0.4)
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
    proved = RelocationGuard.prove_certificate_change
    rounds = []

    async def and_create(guard: RelocationGuard, *args: Any) -> bool:
        rounds.append(len(asked(servers[0], Operation.GET)))
        whole = await proved(guard, *args)
        if len(rounds) == 1:
            await changing.node.create(changing.manager, "a late key")
        return whole

    monkeypatch.setattr(RelocationGuard, "prove_certificate_change", and_create)
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


@on_sqlite
@pytest.mark.parametrize("presence", [Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN])
async def test_what_was_not_there_is_asked_for_again(key_world: KeyWorld, presence: Presence) -> None:
    """The key can be read with the old one, and so must be with the new one. If it can be with neither, it was lost."""
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers, name="somebody else")
    responder = servers[0].responder
    (row,) = await key_world.servers(changing.manager)
    canary = (await key_world.topology(changing.manager)).profiles[row.uuid].canary
    for id_ in canary:
        responder.objects[id_].owner = "somebody else"
    key = await changing.node.create(changing.manager)
    copies = [replace(copy, presence=presence) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    responder.profile = replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED)
    error = await changing.renewal_refused()
    assert error.arguments[2:] == (("reason", "permission_denied"),)
    responder.store.forget(copies[0].unique_identifiers[0])
    responder.profile = PLAIN  # the old one sees the canary, too
    await changing.renew()


@on_sqlite
async def test_a_server_that_moves_while_its_keys_are_read(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read again, where it is then."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0], name="somebody else")
    key = await changing.node.create(changing.manager)
    for id_, stored in servers[0].responder.objects.items():
        servers[1].responder.store.put(id_, stored.copy())
    servers[1].responder.profile = replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED)
    (row,) = await key_world.servers(changing.manager)
    canary = (await key_world.topology(changing.manager)).profiles[row.uuid].canary
    proved = RelocationGuard.prove_certificate_change
    moves = [row]

    async def and_move(*args: Any) -> bool:
        whole = await proved(*args)
        while moves:
            await changing.modify(moves.pop(), port=servers[1].port)
            for id_ in canary:
                servers[1].responder.objects[id_].owner = "somebody else"  # which then sees that, and not the key
        return whole

    monkeypatch.setattr(RelocationGuard, "prove_certificate_change", and_move)
    error = await changing.renewal_refused()
    assert error.arguments[2:] == (("reason", "permission_denied"),)
    assert await changing.fetch(key)


def hiding(server: KmipServer, id_: str, name: str) -> None:
    """From now on a server hides this object, and nothing else, from the client of this name."""
    respond = server.responder.respond

    def answer(request: RequestMessage, client: str | None = None) -> ResponseMessage:
        ids = {getattr(item.request_payload, "unique_identifier", None) for item in request.batch_item}
        if client != name or id_ not in ids:
            return respond(request, client)
        server.responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
        try:
            return respond(request, client)
        finally:
            del server.responder.refusals[Operation.GET]

    server.responder.respond = answer  # type: ignore[method-assign]


@on_sqlite
async def test_a_server_that_moves_away_and_back(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read where it was in between says nothing."""
    a, moved = await key_world.start(2)
    changing = await changer(key_world, a, name="renewed")
    (row,) = await key_world.servers(changing.manager)
    key = await changing.node.create(changing.manager)
    for id_, stored in a.responder.objects.items():
        moved.responder.store.put(id_, stored.copy())
    hiding(a, await identifier(changing, key, 0), "renewed")
    prove_canaries, prove = RelocationGuard._check_canaries, RelocationGuard.prove_certificate_change
    moves = [row]

    async def and_move(*args: Any) -> None:
        await prove_canaries(*args)
        while moves:
            await changing.modify(moves.pop(), port=moved.port)

    async def and_back(*args: Any) -> bool:
        whole = await prove(*args)
        (there,) = await key_world.servers(changing.manager)
        if there != row:
            await changing.modify(there, port=a.port)
        return whole

    monkeypatch.setattr(RelocationGuard, "_check_canaries", and_move)
    monkeypatch.setattr(RelocationGuard, "prove_certificate_change", and_back)
    error = await changing.renewal_refused()
    assert error.arguments[2:] == (("reason", "permission_denied"),)
    assert await key_world.servers(changing.manager) == (row,)
    assert not await changing.lost(key)


@on_sqlite
async def test_a_key_that_was_committed_long_after_it_was_read_back(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process was held up in between, and its proof is older than the certificate's: it is read all the same."""
    (a,) = await key_world.start(1)
    changing = await changer(key_world, a)
    await changing.node.create(changing.manager, "an old key")
    wake, asleep = asyncio.Event(), asyncio.Event()
    write, prove = AttemptCopies.write, RelocationGuard.prove_certificate_change

    async def and_sleep(*args: Any) -> None:
        await write(*args)
        asleep.set()
        await wake.wait()

    async def and_wake(*args: Any) -> bool:
        whole = await prove(*args)
        if not wake.is_set():
            wake.set()
            late = await creating
            a.responder.store.forget(await identifier(changing, late, 0))  # as if that were hidden from it
        return whole

    monkeypatch.setattr(AttemptCopies, "write", and_sleep)
    creating = asyncio.create_task(changing.node.create(changing.manager, "a late key"))
    await asleep.wait()
    key_world.clock.advance(100)
    monkeypatch.setattr(RelocationGuard, "prove_certificate_change", and_wake)
    assert (await changing.renewal_refused()).arguments[2:] == (("reason", "item_not_found"),)


# --- deleted keys ---


async def end_begins(world: KeyWorld, changing: Changer, key: Key) -> None:
    """A key is deleted, cannot be recovered any more, and waits for a server that takes a fence."""
    kept = Keeping(world, changing.node, changing.manager)
    await retire_and_wait(kept, key)
    async with kept.lease() as held:
        await kept.destroying.end(held, changing.manager, set())


@on_sqlite
async def test_a_deleted_key_is_not_read(key_world: KeyWorld) -> None:
    """It can be recovered no more: a certificate need not read it, even where it was proven a moment ago."""
    (a,) = await key_world.start(1)
    changing = await changer(key_world, a)
    key = await changing.node.create(changing.manager)
    a.responder.store.forget(await identifier(changing, key, 0))
    assert (await changing.renewal_refused()).arguments[2:] == (("reason", "item_not_found"),)
    await end_begins(key_world, changing, key)
    proven = [replace(copy, proven=key_world.clock.now()) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(proven, new=False))
    await changing.renew()


# --- a certificate that is worn out, and a server that is dead ---


async def worn_out(world: KeyWorld, *servers: KmipServer, dead: KmipServer, **fields: Any) -> tuple[Changer, Key]:
    """A key on servers, one of which is dead, and a client certificate that has expired since."""
    lasts = timedelta(seconds=3)
    made = world.pki.client_ca.issue((), common_name="keystead", purpose="client", key=world.pki.client.key, ends=lasts)
    new = NewCertificate("client", made.certificate_pem, name="short", private_key=Secret(world.pki.client.key_pem))
    async with opened(str(world.home.data), world.home.database) as services:
        short = (await services.certificates.install(CALL, new)).uuid
    changing = await changer(world, *servers, **fields)
    key = await changing.node.create(changing.manager)
    assert set(await world.presences(key.uuid)) == {Presence.PRESENT}
    await dead.__aexit__(None, None, None)

    def use(tx: Transaction) -> None:
        found = tx.key_manager(changing.manager, lock=True)
        assert found is not None
        tx.change_key_manager(replace(found, client_certificate=short))

    await world.store.write(use)
    await asyncio.sleep(lasts.total_seconds() + 1)
    world.clock.advance(60)
    return changing, key


@asynccontextmanager
async def chatty(port: int) -> AsyncIterator[None]:
    """Whoever speaks no TLS, as a mail server does."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def raised_by(work: Awaitable[None]) -> OntapError:
    """What a change raises."""
    with pytest.raises(OntapError) as raised:
        await work
    return raised.value


@on_sqlite
async def test_an_expired_certificate_and_a_dead_server(key_world: KeyWorld) -> None:
    """The one cannot be removed before the other is renewed, which the servers that live show their keys to."""
    a, b = await key_world.start(2)
    changing, key = await worn_out(key_world, a, b, dead=b)
    _, other = await key_world.servers(changing.manager)
    assert (await changing.removal_refused(other)).arguments[2:] == (("reason", "client_certificate_expired"),)
    assert await changing.lost(key)
    await changing.renew()
    assert await changing.certificate() == changing.renewed
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.UNKNOWN]
    assert not await changing.lost(key)
    await changing.remove(other)


@on_sqlite
@pytest.mark.parametrize("tls", [True, False])
async def test_an_expired_certificate_and_an_address_that_is_anothers_now(key_world: KeyWorld, *, tls: bool) -> None:
    """A server was scrapped, and some other host has its address, with TLS of its own or none: that is not it."""
    a, b = await key_world.start(2)
    changing, key = await worn_out(key_world, a, b, dead=b)
    _, other = await key_world.servers(changing.manager)
    context = server_context(Authority("Elsewhere").issue(), client_ca=key_world.pki.client_ca)
    async with KmipServer(context, Responder(), port=b.port) if tls else chatty(b.port):
        await asyncio.sleep(1.5)
        await changing.renew()
        assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.UNKNOWN]
        assert not await changing.lost(key)
        await changing.remove(other)


@on_sqlite
async def test_an_expired_certificate_and_a_dead_server_that_alone_has_a_key(key_world: KeyWorld) -> None:
    """The others do not show it with the new one: the old one stays, until the server is back."""
    a, b = await key_world.start(2)
    changing, key = await worn_out(key_world, a, b, dead=b)
    _, other = await key_world.servers(changing.manager)
    a.responder.store.forget(await identifier(changing, key, 0))
    missing = replace((await key_world.copies(key.uuid))[0], presence=Presence.MISSING)
    await key_world.store.write(lambda tx: tx.put_copies([missing], new=False))
    with pytest.raises(OntapError) as raised:
        await changing.renew()
    assert (raised.value.kind, raised.value.arguments[0]) == (errors.NETWORK, ("server", str(other.address)))
    async with b:
        await asyncio.sleep(1.5)
        await changing.renew()
        assert not await changing.lost(key)


@on_sqlite
async def test_an_expired_certificate_and_a_dead_server_that_alone_has_a_deleted_key(key_world: KeyWorld) -> None:
    """That holds neither, once it cannot be recovered."""
    a, b = await key_world.start(2)
    changing, key = await worn_out(key_world, a, b, dead=b)
    _, other = await key_world.servers(changing.manager)
    deleted = replace(key, uuid=str(uuid4()), key_id=f"{key.key_id[:-8]}deadbeef", name="deleted")
    (attempt,) = await key_world.attempts(key.uuid)
    copies = [replace(copy, key=deleted.uuid) for copy in await key_world.copies(key.uuid)]

    def only_on_the_dead_one(tx: Transaction) -> None:
        tx.add_key(deleted)
        tx.add_attempt(replace(attempt, key=deleted.uuid, token="x" * 32))
        tx.put_copies(copies[1:], new=True)

    await key_world.store.write(only_on_the_dead_one)
    assert (await raised_by(changing.renew())).kind is errors.NETWORK
    await end_begins(key_world, changing, deleted)
    await changing.renew()
    assert not await changing.lost(key)
    await changing.remove(other)


@on_sqlite
async def test_an_expired_certificate_and_a_dead_secondary(key_world: KeyWorld) -> None:
    """What it has its primary has shown: that stays present."""
    (a,) = await key_world.start(1)
    second = await key_world.start_secondary(a)
    changing, key = await worn_out(key_world, a, dead=second, secondary_key_servers=(SECONDARY,))
    (row,) = await key_world.servers(changing.manager)
    await changing.renew()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT]
    assert not await changing.lost(key)
    assert (await changing.modify(row, secondary_key_servers=())).secondary_key_servers == ()


@on_sqlite
async def test_a_dead_server_holds_a_certificate_that_works(key_world: KeyWorld) -> None:
    """It can be removed first."""
    a, b = await key_world.start(2)
    changing = await changer(key_world, a, b)
    key = await changing.node.create(changing.manager)
    _, other = await key_world.servers(changing.manager)
    await b.__aexit__(None, None, None)
    error = await changing.renewal_refused()
    assert (error.kind, error.arguments[0]) == (errors.NETWORK, ("server", str(other.address)))
    await changing.remove(other)
    await changing.renew()
    assert not await changing.lost(key)


# --- server CAs that are worn out, and a server that is dead ---


async def other_ca(world: KeyWorld, server: KmipServer) -> KeyManagerChange:
    """A server's certificate is another CA's from now on; the change that installs that CA beside the old one."""
    await server.__aexit__(None, None, None)
    ca = Authority("Next Key Server CA")
    again = KmipServer(server_context(ca.issue(), client_ca=world.pki.client_ca), server.responder, port=server.port)
    await world._stack.enter_async_context(again)
    async with opened(str(world.home.data), world.home.database) as services:
        new = (await services.certificates.install(CALL, NewCertificate("server_ca", ca.pem))).uuid
    await asyncio.sleep(1.5)
    return KeyManagerChange(server_ca_certificates=(CertificateName(new), CertificateName(world.home.server_ca)))


@on_sqlite
async def test_another_server_ca_and_a_dead_server(key_world: KeyWorld) -> None:
    """The one cannot be removed before the other's CA is known."""
    a, b = await key_world.start(2)
    changing = await changer(key_world, a, b)
    key = await changing.node.create(changing.manager)
    _, other = await key_world.servers(changing.manager)
    await b.__aexit__(None, None, None)
    change = await other_ca(key_world, a)
    error = await changing.removal_refused(other)
    assert error.arguments[2:] == (("reason", "server_certificate_issuer_not_found"),)
    assert await changing.lost(key)
    await changing.managers.change(CALL, changing.manager, change)
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.UNKNOWN]
    assert not await changing.lost(key)
    await changing.remove(other)


@on_sqlite
async def test_another_server_ca_and_a_dead_server_that_alone_has_a_key(key_world: KeyWorld) -> None:
    """It is waited for, as with another client certificate."""
    a, b = await key_world.start(2)
    changing = await changer(key_world, a, b)
    key = await changing.node.create(changing.manager)
    _, other = await key_world.servers(changing.manager)
    a.responder.store.forget(await identifier(changing, key, 0))
    missing = replace((await key_world.copies(key.uuid))[0], presence=Presence.MISSING)
    await key_world.store.write(lambda tx: tx.put_copies([missing], new=False))
    await b.__aexit__(None, None, None)
    change = await other_ca(key_world, a)
    error = await raised_by(changing.managers.change(CALL, changing.manager, change))
    assert (error.kind, error.target) == (errors.NETWORK, "external.server_ca_certificates")
    assert error.arguments[:2] == (("server", str(other.address)), ("stage", "keys"))


@on_sqlite
async def test_a_server_that_another_ca_alone_would_shut_out(key_world: KeyWorld) -> None:
    """The old one leads there: it is not silent."""
    a, b = await key_world.start(2)
    changing = await changer(key_world, a, b)
    key = await changing.node.create(changing.manager)
    change = await other_ca(key_world, a)
    alone = replace(change, server_ca_certificates=(change.server_ca_certificates or ())[:1])
    error = await raised_by(changing.managers.change(CALL, changing.manager, alone))
    assert (error.kind, error.target) == (errors.SERVER_CA_REFUSED, "external.server_ca_certificates")
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]
    await changing.managers.change(CALL, changing.manager, change)
    assert not await changing.lost(key)
