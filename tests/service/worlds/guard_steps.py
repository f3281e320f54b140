"""The lines of a guard's case: what servers do, what keepers do, which changes are called for, and what is so after it.

A change names its outcome. A refused change leaves all rows as they were; an accepted one has done what it was to do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange
from keystead.core.key_servers import ModifyRequest
from keystead.core.keys.model import Presence
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer as KmipServer
from keystead.kmip.ttlv.enums import Operation, ResultReason
from tests.peers.certificates import Authority, server_context
from tests.service.worlds.changing import client_certificate, server_ca
from tests.service.worlds.guards import LONG_AGO_S, Guards, Known, parsed, restore_from, step
from tests.service.worlds.keepers import retire_and_wait
from tests.service.worlds.keys import CALL, SECONDARY, asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from keystead.core.errors import ErrorKind
    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyManager, KeyServer
    from keystead.service.ports.store import Transaction

# --- outcomes ---


@dataclass(frozen=True)
class Outcome:
    """What comes of a change: accepted without a ``kind``, else the refusal.

    ``keys`` are the keys that it names, and ``at`` is the server. ``reason`` is its reason; None is not compared.
    """

    kind: ErrorKind | None = None
    reason: str | None = None
    at: str = ""
    keys: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return how it is written in a case, for failures."""
        return f"{self.kind.code if self.kind else 'accepted'} {self.reason or ''} {self.at}".strip()


ACCEPTED: Final = Outcome()


def sole_copy(*keys: str, reason: str | None = None) -> Outcome:
    """Return the refusal 65536700, which names these keys."""
    return Outcome(errors.SOLE_COPY, reason, keys=keys or ("key",))


def not_shown(reason: str | None = None, at: str = "") -> Outcome:
    """Return the refusal 66060341: this server does not show what it must."""
    return Outcome(errors.NETWORK, reason, at)


def hidden(reason: str, at: str = "") -> Outcome:
    """Return the refusal 66060339: this server hides something from the new client certificate."""
    return Outcome(errors.CLIENT_CERTIFICATE_REFUSED, reason, at)


def untrusted() -> Outcome:
    """Return the refusal of server CAs that a server's certificate is not from."""
    return Outcome(errors.SERVER_CA_REFUSED)


State = tuple["KeyManager | None", tuple["KeyServer", ...], list[dict[str, Presence]]]


async def _state(guards: Guards) -> State:
    """Return all that a refused change must leave as it was."""
    manager = guards.changing.manager
    row = await guards.world.store.read(lambda tx: tx.key_manager(manager))
    return row, await guards.world.servers(manager), [await guards.places(key) for key in guards.keys]


async def _come_of(guards: Guards, change: Awaitable[Any], outcome: Outcome, target: str) -> None:
    """Make a change, and assert its outcome."""
    if outcome.kind is None:
        await change
        return
    before = await _state(guards)
    with pytest.raises(OntapError) as raised:
        await change
    error = raised.value
    assert (error.kind, error.target) == (outcome.kind, target), error.arguments
    assert await _state(guards) == before
    if outcome.keys:
        named = {("key_id", guards.keys[key].key_id) for key in outcome.keys}
        assert error.arguments[0] == ("keys", str(len(named)))
        assert set(error.arguments[1 : 1 + len(named)]) == named
        left = error.arguments[1 + len(named) :]
    else:
        assert [name for name, _ in error.arguments[:2]] == ["server", "stage"]
        assert not outcome.at or error.arguments[0] == ("server", guards.address(outcome.at))
        left = error.arguments[2:]
    if guards.before.of_svm:
        assert left == ()
    elif outcome.reason is not None:
        assert left == ((("reason", outcome.reason),) if outcome.reason else ())


# --- changes ---


@step
async def remove(guards: Guards, server: str, outcome: Outcome) -> None:
    """Remove a server."""
    row = await guards.row(server)
    servers = guards.changing.servers
    state = await servers.state(guards.call, guards.changing.manager)
    guards.asked = {name: len(asked(peer, Operation.GET)) for name, peer in guards.peers.items()}
    await _come_of(guards, servers.remove(guards.call, state, row.address), outcome, "server")
    assert (row in await guards.world.servers(guards.changing.manager)) is (outcome.kind is not None)
    if outcome.kind is None:
        guards.gone[server] = row


async def _modify(guards: Guards, server: str, outcome: Outcome, **fields: Any) -> None:
    row = await guards.row(server)
    servers = guards.changing.servers
    state = await servers.state(guards.call, guards.changing.manager)
    change = servers.modify(guards.call, state, ModifyRequest(row.address, **fields))
    await _come_of(guards, change, outcome, "server")
    if outcome.kind is None:
        after = await guards.row(server)
        assert replace(row, **_stored(row, fields), sealed_password=after.sealed_password) == after


def _stored(row: KeyServer, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what these fields of a request change in a row."""
    port = fields.get("port", row.address.port)
    plain = {name: value for name, value in fields.items() if name not in {"port", "password"}}
    return plain | {"address": ServerAddress(row.address.host, port)}


@step
async def move(guards: Guards, server: str, outcome: Outcome, *, secondary: bool = False, name: str = "") -> None:
    """Move a server to its new place; there with a secondary, or under a TLS name, if that is said."""
    fields: dict[str, Any] = {"secondary_key_servers": (SECONDARY,)} if secondary else {}
    fields |= {"tls_server_name": name} if name else {}
    await _modify(guards, server, outcome, port=guards.peers[f"{server}'"].port, **fields)


@step
async def drop_secondary(guards: Guards, server: str, outcome: Outcome) -> None:
    """Take the secondary away from a server."""
    await _modify(guards, server, outcome, secondary_key_servers=())


@step
async def add_secondary(guards: Guards, server: str, outcome: Outcome) -> None:
    """Give a server its secondary."""
    await _modify(guards, server, outcome, secondary_key_servers=(SECONDARY,))


@step
async def rename(guards: Guards, server: str, name: str, outcome: Outcome) -> None:
    """Change the TLS name of a server."""
    await _modify(guards, server, outcome, tls_server_name=name)


@step
async def change_user(guards: Guards, server: str, outcome: Outcome) -> None:
    """Connect to a server as another user."""
    await _modify(guards, server, outcome, username="somebody", password=Secret("a password"))


@step
async def change_timeout(guards: Guards, server: str, outcome: Outcome) -> None:
    """Change what concerns no key."""
    await _modify(guards, server, outcome, timeout=7)


@step
async def renew(guards: Guards, outcome: Outcome) -> None:
    """Take the next client certificate."""
    changing = guards.changing
    guards.asked = {name: len(asked(peer, Operation.GET)) for name, peer in guards.peers.items()}
    call = replace(guards.call, scope=None)  # because the certificates are the cluster's
    await _come_of(guards, changing.renew(call), outcome, "external.client_certificate")
    assert (await changing.certificate() == changing.renewed) is (outcome.kind is None)


@step
async def trust(guards: Guards, *authorities: str, outcome: Outcome) -> None:
    """Trust these CAs of key servers: the ``next`` one, the one in ``use``."""
    uuids = {"use": guards.world.home.server_ca, "next": guards.next_ca}
    change = KeyManagerChange(server_ca_certificates=tuple(CertificateName(uuids[each]) for each in authorities))
    changing = guards.changing
    work = changing.managers.change(guards.call, changing.manager, change)
    await _come_of(guards, work, outcome, "external.server_ca_certificates")


# --- what servers do ---


@step
async def dies(guards: Guards, server: str) -> None:
    """Stop a server."""
    await guards.peers[server].__aexit__(None, None, None)
    guards.dead.add(server)


@step
async def returns(guards: Guards, server: str) -> None:
    """Start a server that was dead."""
    await guards.world._stack.enter_async_context(guards.peers[server])
    guards.dead.discard(server)


@step
async def restarts(guards: Guards) -> None:
    """Start another process for the next calls: no circuit of it is open because a server was dead."""
    await guards.restart()


@step
async def loses(guards: Guards, copy: str, *, at: str = "") -> None:
    """Have a server lose a copy."""
    guards.peers[at or parsed(copy)[1]].responder.store.forget(await guards.identifier(copy))


@step
async def loses_all(guards: Guards, server: str) -> None:
    """Have a server lose all objects."""
    guards.peers[server].responder.store.forget_all()


@step
async def spoils(guards: Guards, copy: str) -> None:
    """Have a server return other bytes for a copy from now on."""
    guards.peers[parsed(copy)[1]].responder.store.rot(await guards.identifier(copy))


@step
async def gets(guards: Guards, copy: str, *, at: str = "", name: str = "") -> None:
    """Give a server a copy as it was created, under its identifier or another."""
    id_ = guards.basis(*parsed(copy)).unique_identifiers[0]
    guards.peers[at or parsed(copy)[1]].responder.store.put(name or id_, guards.saved[id_].copy())


@step
async def is_imported_again(guards: Guards, copy: str) -> None:
    """Take a copy out and import it again: under its name, with another identifier."""
    id_ = await guards.identifier(copy)
    store = guards.peers[parsed(copy)[1]].responder.store
    stored = store.objects[id_]
    store.forget(id_)
    store.put("another", stored)


@step
async def has_two(guards: Guards, copy: str, *, first_differs: bool) -> None:
    """Have two objects under the name of a copy: one is of another key that is gone, the other is right."""
    id_, changing = await guards.identifier(copy), guards.changing
    responder = guards.peers[parsed(copy)[1]].responder
    other = await changing.node.create(changing.manager, "other")
    (theirs,) = (await guards.world.copies(other.uuid))[0].unique_identifiers
    right, wrong = responder.objects[id_], responder.objects[theirs].managed_object
    responder.store.forget(id_)
    responder.store.put(id_ if first_differs else "a wrong one", replace(right.copy(), managed_object=wrong))
    responder.store.put("imported again", right)
    await guards.world.store.write(lambda tx: tx.drop_key(other.uuid))


@step
async def loses_object(guards: Guards, server: str, identifier: str) -> None:
    """Have a server lose an object."""
    guards.peers[server].responder.store.forget(identifier)


@step
async def is_restored(guards: Guards, server: str, *, of: str) -> None:
    """Give a server what another has now, from a backup that was just made."""
    restore_from(guards.peers[of], guards.peers[server])


@step
async def is_renumbered(guards: Guards, server: str, *, of: str = "") -> None:
    """Give a server what it, or another, had: under other identifiers, and nothing else."""
    objects = dict(guards.peers[of or server].responder.objects)
    store = guards.peers[server].responder.store
    store.forget_all()
    for id_, stored in objects.items():
        store.put(f"another {id_}", stored.copy())


@step
async def refuses(guards: Guards, server: str, operation: Operation, reason: ResultReason) -> None:
    """Have a server refuse an operation from now on."""
    guards.peers[server].responder.refusals[operation] = reason


@step
async def lies(guards: Guards, server: str) -> None:
    """Have a server return other bytes for all objects."""
    guards.peers[server].responder.lying = True


@step
async def hides_others(guards: Guards, server: str) -> None:
    """Have a server show a client only what was brought under the same common name."""
    guards.peers[server].responder.profile = replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED)


@step
async def gives_canary(guards: Guards, server: str, owner: str) -> None:
    """Have the canary on a server belong to this common name."""
    profile = (await guards.world.topology(guards.changing.manager)).profiles[guards.rows[server]]
    for id_ in profile.canary:
        guards.peers[server].responder.objects[id_].owner = owner


@step
async def is_well(guards: Guards, server: str) -> None:
    """Have a server refuse nothing, hide nothing and not lie any more."""
    responder = guards.peers[server].responder
    responder.refusals.clear()
    responder.lying, responder.profile = False, PLAIN


@step
async def is_another_host(guards: Guards, server: str, *, tls: bool) -> None:
    """Start another host at the address of a dead server: with its own TLS, or without TLS, as a mail server."""
    port = guards.peers[server].port

    async def chat(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await writer.drain()
        writer.close()

    context = server_context(Authority("Elsewhere").issue(), client_ca=guards.world.pki.client_ca)
    other: Any = (
        KmipServer(context, Responder(), port=port) if tls else await asyncio.start_server(chat, "127.0.0.1", port)
    )
    await guards.world._stack.enter_async_context(other)


@step
async def has_other_ca(guards: Guards, server: str) -> None:
    """Give a server a certificate of another CA; install that CA as ``next``."""
    world, old = guards.world, guards.peers[server]
    await old.__aexit__(None, None, None)
    ca = Authority("Next Key Server CA")
    again = KmipServer(server_context(ca.issue(), client_ca=world.pki.client_ca), old.responder, port=old.port)
    guards.peers[server] = await world._stack.enter_async_context(again)
    guards.next_ca = await server_ca(world, ca.pem)


# --- what else happens ---


@step
async def known(guards: Guards, rows: Mapping[str, Known | Presence]) -> None:
    """Have the rows say what a look at copies found."""
    await guards.know(rows)


@step
async def time_passes(guards: Guards, seconds: float = LONG_AGO_S) -> None:
    """Move the clock on; after an hour no proof is fresh."""
    guards.world.clock.advance(seconds)


@step
async def certificate_expires(guards: Guards) -> None:
    """Have the client certificate in use be expired, a minute later."""
    world, manager = guards.world, guards.changing.manager
    ended = timedelta(seconds=-5)
    issue = world.pki.client_ca.issue
    made = issue((), common_name="keystead", purpose="client", key=world.pki.client.key, ends=ended)
    short = await client_certificate(world, made, "short", datetime.now(UTC) - timedelta(hours=1))

    def use(tx: Transaction) -> None:
        found = tx.key_manager(manager, lock=True)
        assert found is not None
        tx.change_key_manager(replace(found, client_certificate=short))

    await world.store.write(use)
    world.clock.advance(60)


@step
async def certificate_is_gone(guards: Guards) -> None:
    """Delete the client certificate in use."""
    await guards.world.store.write(lambda tx: tx.delete_certificate(guards.world.home.client_certificate))


@step
async def password_is_damaged(guards: Guards, server: str) -> None:
    """Have the sealed password of a server be one that cannot be opened."""
    damaged = replace(await guards.row(server), sealed_password=b"damaged")
    await guards.world.store.write(lambda tx: tx.change_key_server(damaged))


@step
async def profile_is_gone(guards: Guards, server: str) -> None:
    """Delete the profile of a server."""
    await guards.world.store.write(lambda tx: tx.delete_profile(guards.rows[server]))


@step
async def key_is_deleted(guards: Guards, key: str = "key") -> None:
    """Delete a key, and let its recovery window end."""
    await retire_and_wait(guards.keeping(), guards.keys[key])


@step
async def purge_begins(guards: Guards) -> None:
    """Begin the purge of deleted keys, which waits for a server that takes a marker. They cannot be recovered."""
    kept = guards.keeping()
    async with kept.lease() as held:
        await kept.destroying.end(held, kept.manager, set())


@step
async def sweep(guards: Guards, server: str, *, times: int = 1) -> None:
    """Sweep a server with the keeper; the sweep comes to an end unless the server is dead."""
    for _ in range(times):
        ended = await guards.keeping().sweep(guards.before.servers.index(server))
        assert (ended is not None) is (server not in guards.dead)


@step
async def settle(guards: Guards) -> None:
    """Settle copies of unknown outcome with the keeper."""
    await guards.keeping().settle()


@step
async def fill(guards: Guards, copied: int) -> None:
    """Fill with the keeper: it writes so many missing copies."""
    assert (await guards.keeping().fill()).copied == copied


@step
async def replicate(guards: Guards, message: str) -> None:
    """Call for missing copies to be written."""
    assert (await guards.keeping().replicate()).message == message


@step
async def keeper_round(guards: Guards) -> None:
    """Make a round of the keeper, some time later, in which it looks at everything."""
    guards.world.clock.advance(LONG_AGO_S + 1)
    kept = guards.keeping()
    servers = [server.uuid for server in await guards.world.servers(kept.manager)]
    async with kept.lease() as holding:
        await kept.rounds.keep(holding, kept.manager, servers, changed=True)


# --- what is so ---


@step
async def rows(guards: Guards, expected: Mapping[str, Presence], key: str = "key") -> None:
    """Assert that the rows say this, and nothing else, of a key's copies."""
    assert await guards.places(key) == expected


@step
async def readable(guards: Guards, *keys: str) -> None:
    """Assert that a process that has just started reads these keys from their servers."""
    for key in keys or ("key",):
        assert not await guards.is_lost(key)


@step
async def unreadable(guards: Guards, key: str = "key") -> None:
    """Assert that no configured server gives a key."""
    assert await guards.is_lost(key)


@step
async def was_asked(guards: Guards, /, **times: int) -> None:
    """Assert how many objects the last removal or certificate asked of servers."""
    for name, count in times.items():
        assert len(asked(guards.peers[name], Operation.GET)) - guards.asked[name] == count


@step
async def detached(guards: Guards, *servers: str) -> None:
    """Assert that these servers are removed and still known as they were, and profiles of others are gone."""
    found = await guards.changing.guard.detached(CALL, guards.changing.manager)
    assert [each.server for each in found] == [guards.gone[server] for server in servers]
    for name, row in guards.gone.items():
        left = await guards.world.store.read(partial(_profiles, server=row.uuid))
        assert bool(left) is (name in servers)  # because its canary is needed for cleaning up


def _profiles(tx: Transaction, server: str) -> tuple[ServerProfile, ...]:
    return tx.profiles([server])


@step
async def canary_is_renumbered(guards: Guards, server: str) -> None:
    """Assert that the canary of a server is known by its new identifiers."""
    profile = (await guards.world.topology(guards.changing.manager)).profiles[guards.rows[server]]
    assert profile.canary
    assert all(id_.startswith("another ") for id_ in profile.canary)


@step
async def profiles_are_as_learned(guards: Guards) -> None:
    """Assert that the profiles are what they were."""
    assert dict((await guards.world.topology(guards.changing.manager)).profiles) == guards.profiles


@step
async def is_as_created(guards: Guards, copy: str) -> None:
    """Assert that the row of a copy is as it was when the key was created."""
    key, place = parsed(copy)
    copies = await guards.world.copies(guards.keys[key].uuid)
    assert next(each for each in copies if guards.place(each) == place) == guards.made[key, place]


@step
async def was_just_proven(guards: Guards, copy: str, *, with_ids_of: str) -> None:
    """Assert that a copy was read less than a minute ago, under the identifiers that another one has."""
    key, place = parsed(copy)
    copies = await guards.world.copies(guards.keys[key].uuid)
    found = next(each for each in copies if guards.place(each) == place)
    assert found.unique_identifiers == guards.made[parsed(with_ids_of)].unique_identifiers
    assert found.proven is not None
    assert found.proven > guards.world.clock.now() - timedelta(minutes=1)
