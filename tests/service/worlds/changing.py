"""One node that changes key managers and key servers which keep keys, with real guards and probes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core.certificates.certificates import NewCertificate, check_install
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange
from keystead.core.key_servers import ModifyRequest
from keystead.core.keys.digests import digest
from keystead.core.keys.names import canary_name
from keystead.core.secret import Secret
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.forms import material_of
from keystead.keyservers.gateway import Gateway
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.testing.server import KeyServer as KmipServer
from keystead.service.configuration.context import ConfigurationContext
from keystead.service.configuration.key_managers import KeyManagers
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.learning.learn import ServerLearner
from keystead.service.keys.reading.fetch import Fetcher
from keystead.service.keys.topology import digest_key_context
from keystead.service.probing.observations import Observations
from keystead.service.probing.prober import ServerProber, private_key_context
from keystead.service.probing.queue import ProbeQueue
from tests.service.worlds.keys import CALL, KeyNode, KeyWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.kmip.messages.attributes import Attribute
    from keystead.kmip.server.storage import Stored
    from keystead.service.context import Call
    from keystead.service.ports.store import Transaction
    from tests.peers.certificates import Credentials


@dataclass
class Changer:
    """One node's changes of key managers and key servers; its servers were learned, with canaries of their own."""

    world: KeyWorld
    node: KeyNode
    manager: str
    managers: KeyManagers
    servers: KeyServers
    renewed: str
    guard: RemovalGuard

    async def renew(self, call: Call = CALL, *, patient: bool = False) -> None:
        """Take the renewed certificate."""
        change = KeyManagerChange(CertificateName(self.renewed))
        await self.managers.change(call, self.manager, change, patient=patient)

    async def renewal_refused(self, call: Call = CALL, *, patient: bool = False) -> OntapError:
        """Return the error of that, which leaves the old one."""
        with pytest.raises(OntapError) as raised:
            await self.renew(call, patient=patient)
        assert await self.certificate() == self.world.home.client_certificate
        return raised.value

    async def certificate(self) -> str:
        """Return the client certificate that counts."""
        found = await self.world.store.read(lambda tx: tx.key_manager(self.manager))
        assert found is not None
        return found.client_certificate

    async def modify(self, server: KeyServer, **fields: Any) -> KeyServer:
        """Change a server, as a call does."""
        state = await self.servers.state(CALL, self.manager)
        return await self.servers.modify(CALL, state, ModifyRequest(server.address, **fields))

    async def remove(self, server: KeyServer) -> None:
        """Remove a server, as a call does."""
        state = await self.servers.state(CALL, self.manager)
        await self.servers.remove(CALL, state, server.address)

    async def removal_refused(self, server: KeyServer) -> OntapError:
        """Return the error of that, which changes nothing."""
        before = await self.world.servers(self.manager)
        with pytest.raises(OntapError) as raised:
            await self.remove(server)
        assert await self.world.servers(self.manager) == before
        return raised.value

    async def fetch(self, key: Key) -> Secret:
        """Read a key from its servers, as a node does that has just started."""
        node = await self.world.node()
        fetcher = Fetcher(node.store, node.objects, node.endpoints, self.world.clock, node.uuid)
        try:
            return (await fetcher.fetch(key)).material
        finally:
            await fetcher.close()

    async def lost(self, key: Key) -> bool:
        """Return True if no configured server gives a key to a node that has just started."""
        try:
            await self.fetch(key)
        except OntapError:
            return True
        return False

    async def change_refused(self, server: KeyServer, **fields: Any) -> OntapError:
        """Return the error of that, which changes nothing."""
        before = await self.world.servers(self.manager)
        with pytest.raises(OntapError) as raised:
            await self.modify(server, **fields)
        assert await self.world.servers(self.manager) == before
        return raised.value


def configuration_context(world: KeyWorld, node: KeyNode, **options: Any) -> ConfigurationContext:
    """Return the context of configuration changes on a node: real guards, and probes of loopback addresses."""
    queue = ProbeQueue(per_account=16, per_svm=16, in_all=64, waiting=64)
    gateway = Gateway(EgressRules.parse(("127.0.0.0/8", "::1/128"), ()))
    prover = ServerProber(gateway, world.home.keyring, queue, Observations(world.clock, node.uuid))
    return ConfigurationContext(
        node.store,
        prover,
        world.home.keyring,
        node.audit,
        RemovalGuard(node.store, node.objects, node.endpoints, world.clock),
        RelocationGuard(node.store, node.objects, node.endpoints, world.clock),
        **options,
    )


_PLAIN: list[tuple[ServerProfile, Stored]] = []
"""What a plain server was found to be, and its canary there: learned once in a process, because that takes long."""


async def changer(world: KeyWorld, *servers: KmipServer | str, name: str = "keystead", **fields: Any) -> Changer:
    """Make a key manager with learned servers, and a renewed client certificate with this common name."""
    manager = await world.key_manager(*servers, know=False, **fields)
    node = await world.node()
    plain = [each for each in servers if isinstance(each, KmipServer) and each.responder.profile is PLAIN]
    await (
        plant(world, manager, plain) if _PLAIN and len(plain) == len(servers) else learn(world, node, manager, plain)
    )
    return changer_of(world, node, manager, await renewed_certificate(world, name))


def changer_of(world: KeyWorld, node: KeyNode, manager: str, renewed: str = "") -> Changer:
    """Return what changes this key manager in one process."""
    context = configuration_context(world, node)
    return Changer(world, node, manager, KeyManagers(context), KeyServers(context), renewed, context.removal_guard)


async def learn(world: KeyWorld, node: KeyNode, manager: str, plain: Sequence[KmipServer]) -> None:
    """Learn the servers of a key manager, and remember what the first plain one was found to be."""
    learner = ServerLearner(node.store, node.objects, node.endpoints, world.home.keyring, world.clock)
    profiles = (await learner.ensure(manager)).profiles
    await learner.close()
    rows = await world.servers(manager)
    assert len(profiles) == len(rows)
    for row in rows:
        for server in plain:
            if not _PLAIN and str(row.address) == f"127.0.0.1:{server.port}":
                _PLAIN.append((profiles[row.uuid], server.responder.objects[profiles[row.uuid].canary[0]].copy()))


async def plant(world: KeyWorld, manager: str, servers: Sequence[KmipServer]) -> None:
    """Give plain servers canaries of their own, and store the profiles that learning would store."""
    profile, stored = _PLAIN[0]
    await world.know(manager)
    topology = await world.topology(manager)
    assert topology.sealed_digest_key is not None
    digest_key = world.home.keyring.unseal(topology.sealed_digest_key, digest_key_context(manager))
    material = Secret(material_of(stored.managed_object) or b"")
    profiles = []
    for row, server in zip(topology.servers, servers, strict=True):
        name = str(canary_name(topology.incarnation.uuid, row.uuid, 1))
        server.responder.store.put(f"canary {row.uuid}", replace(stored, attributes=_named(stored, name)))
        profiles.append(
            replace(
                profile,
                key_server=row.uuid,
                canary_name=name,
                canary=(f"canary {row.uuid}",),
                canary_digest=digest(digest_key, row.uuid, material),
                learned=world.clock.now(),
            )
        )

    def work(tx: Transaction) -> None:
        for each in profiles:
            tx.put_profile(each)

    await world.store.write(work)


def _named(stored: Stored, name: str) -> list[Attribute]:
    return [
        replace(each, attribute_value=replace(each.attribute_value, name_value=name))
        if each.attribute_name == "Name"
        else each
        for each in stored.attributes
    ]


async def renewed_certificate(world: KeyWorld, name: str) -> str:
    """Install a client certificate with this common name, for the key of the one in use; return its uuid."""
    made = world.pki.client_ca.issue((), common_name=name, purpose="client", key=world.pki.client.key)
    return await client_certificate(world, made, "renewed", datetime.now(UTC))


async def client_certificate(world: KeyWorld, made: Credentials, name: str, now: datetime) -> str:
    """Store a client certificate as if it had been installed at this time; return its uuid."""
    new = NewCertificate("client", made.certificate_pem, name=name, private_key=Secret(made.key_pem))
    uuid = str(uuid4())
    checked, _ = check_install(new, uuid, None, now)
    sealed = world.home.keyring.seal(Secret(made.key_pem), private_key_context(uuid))
    await world.store.write(lambda tx: tx.add_certificate(replace(checked, sealed_private_key=sealed)))
    return uuid


async def server_ca(world: KeyWorld, pem: str) -> str:
    """Store a CA of key servers as if it had been installed now; return its uuid."""
    uuid = str(uuid4())
    checked, _ = check_install(NewCertificate("server_ca", pem), uuid, None, datetime.now(UTC))
    await world.store.write(lambda tx: tx.add_certificate(checked))
    return uuid


async def identifier(changing: Changer, key: Key, server: int) -> str:
    """Return the Unique Identifier of a key's copy on a server."""
    return (await changing.world.copies(key.uuid))[server].unique_identifiers[0]
