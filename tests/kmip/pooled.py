"""A server with keys, and what the tests of pools, batches and pipelines connect to it with."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from keystead.kmip.client.client import Client
from keystead.kmip.client.pool import Pool
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.testing import server as testing
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv.enums import KeyFormatType, ObjectType, SecretDataType
from tests.peers.certificates import Authority, client, client_context, server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.kmip.messages.objects import ManagedObject
    from keystead.kmip.transport.sessions import Sessions

CA = Authority()
SERVER = server_context(CA.issue(), CA)
CONTEXT = client_context(CA, client(CA))
TIMEOUT = 20


def seed(number: int) -> SecretData:
    """Key material that tells its number."""
    return SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(bytes([number]) * 64)))


def number_of(managed_object: ManagedObject | None) -> int:
    """Which of the seeds it is."""
    material = managed_object.key_block.key_value.key_material  # type: ignore[union-attr]
    assert isinstance(material, bytes)
    assert material == material[:1] * 64
    return material[0]


class Site:
    """A running test server, and how often it was connected to."""

    def __init__(self, server: testing.KeyServer, kind: Any = Client, **options: Any) -> None:
        self.server = server
        self.connections = 0
        self.sessions: Sessions | None = None
        self._kind = kind
        self._options = options

    async def connect(self) -> Any:
        """Return a client of it, as a pool wants it."""
        self.connections += 1
        sock = await connect_tcp([Address(socket.AF_INET, (self.server.host, self.server.port))])
        stream = await tls.handshake(sock, CONTEXT, server_name="localhost", sessions=self.sessions)
        return self._kind(stream, **self._options)

    async def keys(self, count: int) -> list[str]:
        """Register so many keys, and return their Unique Identifiers in order."""
        key_server = await self.connect()
        self.connections -= 1
        made = [
            await key_server.register(seed(number), object_type=ObjectType.SECRET_DATA, timeout=TIMEOUT)
            for number in range(count)
        ]
        key_server.close()
        return [answer.unique_identifier for answer in made]


def with_pool(test: Callable[[Pool, Site], Awaitable[None]], **options: Any) -> Any:
    """Return a test with a server of its own and a pool of connections to it, and nothing left over after it."""

    async def body() -> None:
        async with testing.KeyServer(SERVER) as server:
            site = Site(server)
            pool = Pool(site.connect, **options)
            await test(pool, site)
            pool.close()
            assert (pool.lent, pool.idle) == (0, 0)
            for _ in range(500):
                if not server.connections:
                    break
                await asyncio.sleep(0.01)
            assert server.connections == 0, "a connection was left open"

    return body()


async def get(pool: Pool, identifier: str, **options: Any) -> int:
    """Read a key on a connection of the pool."""
    async with pool.client(timeout=TIMEOUT) as key_server:
        return number_of((await key_server.get(identifier, **{"timeout": TIMEOUT, **options})).managed_object)


async def settle(turns: int = 5) -> None:
    """Let other tasks run, for so many turns of the event loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
