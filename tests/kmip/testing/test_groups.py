"""Groups of real key servers: killing, cutting and sharing them works as other tests assume."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.attributes import attribute, name_attribute
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv.enums import KeyFormatType, ObjectType, ResultReason, SecretDataType
from keystead.kmip.ttlv.errors import OperationFailed, TransportError
from tests.peers.certificates import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group, Server

MATERIAL = bytes(range(64))
SEED = SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(MATERIAL)))


@contextlib.asynccontextmanager
async def connected(pki: Pki, address: str, seconds: float = 20) -> AsyncIterator[Client]:
    """Yield a client of the server at an address."""
    host, port = address.split(":")
    async with asyncio.timeout(seconds):
        try:
            sock = await connect_tcp([Address(socket.AF_INET, (host, int(port)))])
            context = client_context(pki.server_ca, pki.client)
            key_server = Client(await tls.handshake(sock, context, server_name="localhost"))
        except TimeoutError as error:
            raise TransportError("connect", "too late") from error
        try:
            yield key_server
        finally:
            key_server.close()


async def register(pki: Pki, address: str, name: str = "a") -> str:
    """Return the identifier of a new seed."""
    given = [name_attribute(name), attribute("Cryptographic Usage Mask", 4)]
    async with connected(pki, address) as key_server:
        answer = await key_server.register(SEED, given, object_type=ObjectType.SECRET_DATA, timeout=20)
        return str(answer.unique_identifier)


async def material(pki: Pki, address: str, identifier: str, seconds: float = 20) -> bytes:
    """Return the bytes of an object."""
    async with connected(pki, address) as key_server:
        found = (await key_server.get(identifier, timeout=seconds)).managed_object
    return bytes(found.key_block.key_value.key_material)  # type: ignore[union-attr]


async def test_a_secondary_has_what_its_primary_has(pki: Pki, pykmip_group: Group) -> None:
    """Primary and secondary replicate in both directions; other primaries do not have the objects."""
    primary, (secondary,) = pykmip_group.primaries[0], pykmip_group.secondaries[0]
    for here, there in ((primary, secondary), (secondary, primary)):
        identifier = await register(pki, here.address)
        assert await material(pki, there.address, identifier) == MATERIAL
    assert pykmip_group.primaries[1].objects() == {}
    assert set(primary.objects().values()) == {MATERIAL}


async def test_a_server_comes_back_with_its_objects(pki: Pki, pykmip_group: Group) -> None:
    """A killed server refuses connections; after its start it has its address and objects."""
    server = pykmip_group.primaries[0]
    identifier = await register(pki, server.address)
    server.kill()
    server.kill()
    for address in (server.address, server.proxied):
        with pytest.raises(TransportError):
            await material(pki, address, identifier)
    server.restart()
    assert await material(pki, server.proxied, identifier) == MATERIAL


async def test_a_paused_server(pki: Pki, pykmip_group: Group) -> None:
    """A paused server answers nobody until it continues."""
    server = pykmip_group.primaries[1]
    async with connected(pki, server.address) as key_server:
        await key_server.query(timeout=20)
        server.pause()
        with pytest.raises(TransportError, match="in time"):
            await key_server.query(timeout=0.2)
    server.resume()
    await register(pki, server.address)


async def test_objects_that_rot_and_vanish(pki: Pki, pykmip_group: Group) -> None:
    """Spoiled objects have other bytes of the same length; vanished ones are gone, and identifiers are not reused."""
    server = pykmip_group.primaries[2]
    identifier, other = await register(pki, server.address), await register(pki, server.address)
    server.rot(identifier)
    rotten = await material(pki, server.address, identifier)
    assert rotten != MATERIAL
    assert len(rotten) == len(MATERIAL)
    server.forget(identifier)
    with pytest.raises(OperationFailed) as caught:
        await material(pki, server.address, identifier)
    assert caught.value.reason == ResultReason.ITEM_NOT_FOUND
    assert await material(pki, server.address, other) == MATERIAL
    server.forget_all()
    assert await register(pki, server.address) not in {identifier, other}


BROKEN: dict[str, Callable[[Server], None]] = {
    "killed": lambda server: server.kill(),
    "paused": lambda server: server.pause(),
    "reset": lambda server: server.network.fail("reset"),
    "cut": lambda server: server.network.fail("cut"),
    "silent": lambda server: server.network.fail("drop"),
    "deaf": lambda server: server.network.fail("drop", "to server"),
    "mute": lambda server: server.network.fail("drop", "to client"),
}


async def test_a_reset_heals_everything(pki: Pki, pykmip_group: Group) -> None:
    """Whatever was done to a server, after the group's reset it runs and is empty."""
    server = pykmip_group.primaries[3]
    for broken in BROKEN.values():
        await register(pki, server.proxied)
        async with connected(pki, server.proxied) as key_server:
            await key_server.query(timeout=20)
            broken(server)
            with pytest.raises(TransportError):
                await key_server.query(timeout=0.2)
        pykmip_group.reset()
        assert server.objects() == {}
    await register(pki, server.proxied)


@pytest.mark.parametrize(("direction", "kept"), [("to server", 0), ("to client", 1)])
async def test_what_is_lost_once(pki: Pki, pykmip_group: Group, direction: str, kept: int) -> None:
    """A lost request is not carried out, one with a lost answer is; the next connection is sound."""
    server = pykmip_group.primaries[0]
    async with connected(pki, server.proxied) as key_server:
        await key_server.query(timeout=20)
        server.network.fail("lose", "to server" if direction == "to server" else "to client")
        with pytest.raises(TransportError):
            await key_server.register(
                SEED, [attribute("Cryptographic Usage Mask", 4)], object_type=ObjectType.SECRET_DATA, timeout=20
            )
    await register(pki, server.proxied)
    assert len(server.objects()) == kept + 1


async def test_a_slow_network(pki: Pki, pykmip_group: Group) -> None:
    """Both directions are delayed."""
    server = pykmip_group.primaries[0]
    async with connected(pki, server.proxied) as key_server:
        await key_server.query(timeout=20)
        server.network.delay = 0.05
        began = time.monotonic()
        await key_server.query(timeout=20)
        assert time.monotonic() - began >= 0.1
