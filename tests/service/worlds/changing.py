"""One node that changes key managers and key servers which keep keys, with real guards and probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.certificates.certificates import NewCertificate
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange
from keystead.core.key_servers import ModifyRequest
from keystead.core.secret import Secret
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.gateway import Gateway
from keystead.service.configuration.context import ConfigurationContext
from keystead.service.configuration.key_managers import KeyManagers
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.learning.learn import ServerLearner
from keystead.service.keys.reading.fetch import Fetcher
from keystead.service.probing.observations import Observations
from keystead.service.probing.prober import ServerProber
from keystead.service.probing.queue import ProbeQueue
from tests.peers.adding import opened
from tests.service.worlds.keys import CALL, KeyNode, KeyWorld

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.context import Call


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
    """What changes of key managers and key servers need on a node: real guards, and probes of loopback addresses."""
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


async def changer(world: KeyWorld, *servers: KmipServer | str, name: str = "keystead", **fields: Any) -> Changer:
    """Return a key manager with learned servers, and a renewed client certificate with this common name."""
    manager = await world.key_manager(*servers, know=False, **fields)
    node = await world.node()
    learner = ServerLearner(node.store, node.objects, node.endpoints, world.home.keyring, world.clock)
    places = await learner.ensure(manager)
    await learner.close()
    assert len(places.profiles) == len(servers)
    made = world.pki.client_ca.issue((), common_name=name, purpose="client", key=world.pki.client.key)
    new = NewCertificate("client", made.certificate_pem, name="renewed", private_key=Secret(world.pki.client.key_pem))
    async with opened(str(world.home.data), world.home.database) as services:
        renewed = (await services.certificates.install(CALL, new)).uuid
    context = configuration_context(world, node)
    return Changer(world, node, manager, KeyManagers(context), KeyServers(context), renewed)


async def identifier(changing: Changer, key: Key, server: int) -> str:
    """Return the Unique Identifier of a key's copy on a server."""
    return (await changing.world.copies(key.uuid))[server].unique_identifiers[0]
