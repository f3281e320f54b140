"""The test server: TLS, faults, and what it records for assertions."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.server.responder import Responder, cluster
from keystead.kmip.testing import server as testing
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv.enums import KeyFormatType, ObjectType, Operation, SecretDataType
from keystead.kmip.ttlv.errors import RemoteProtocolError, TransportError
from tests.kmip import wire
from tests.peers.certificates import Authority, client, client_context, server_context

CA, OTHER = Authority(), Authority("Another CA")
LEAF = CA.issue()
SEED = SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(bytes(64))))
FRIEND, STRANGER = client_context(CA, client(CA)), client_context(CA, client(OTHER))


async def stream_to(server: testing.KeyServer, context: object = FRIEND) -> tls.Stream:
    """Return a TLS connection to the server."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    sock = await connect_tcp([Address(family, (server.host, server.port))])
    return await tls.handshake(sock, context, server_name="localhost")  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("send_alert", [True, False])
async def test_a_refused_client_certificate(version: Literal["1.2", "1.3"], send_alert: bool) -> None:
    """The server refuses a certificate of another CA with the alert unknown_ca, or silently."""
    async with testing.KeyServer(server_context(LEAF, CA, versions=version), send_alert=send_alert) as server:
        with pytest.raises(TransportError) as caught:
            await Client(await stream_to(server, STRANGER)).query(timeout=5)
        alert = getattr(caught.value, "alert", None)
        assert alert == (48 if send_alert else None)
    assert len(server.failures) == 1


async def test_ipv6_and_two_connections() -> None:
    """The server listens on the given address and serves connections concurrently."""
    async with testing.KeyServer(server_context(LEAF, CA), host="::1") as server:
        first, second = Client(await stream_to(server)), Client(await stream_to(server))
        for key_server in (second, first, second):
            await key_server.query(timeout=5)
        assert [message.batch_item[0].operation for message in server.requests] == [Operation.QUERY] * 3
        first.close()
        second.close()


async def test_a_client_that_misbehaves() -> None:
    """A response instead of a request ends the connection and is kept as a failure."""
    async with testing.KeyServer(server_context(LEAF, CA)) as server:
        stream = await stream_to(server)
        await stream.send(wire.response(Operation.QUERY, wire.structure(0x42007C)))
        assert await stream.receive() == b""
        stream.close()
        assert [type(failure) for failure in server.failures] == [RemoteProtocolError]


async def test_a_request_without_items_and_pipelined_ones() -> None:
    """An empty batch is answered with an empty one, and requests sent at once are answered in turn."""
    header = wire.structure(0x420077, wire.version(1, 4), wire.integer(0x42000D, 0))
    empty = wire.structure(0x420078, header)
    query = wire.request(Operation.QUERY, wire.structure(0x420079))
    async with testing.KeyServer(server_context(LEAF, CA)) as server:
        stream = await stream_to(server)
        await stream.send(empty + query + query)
        received = b""
        while received.count(bytes.fromhex("42007B01")) < 3:
            received += await stream.receive()
        stream.close()
    assert len(server.requests) == 3


async def test_sound_answers_that_come_late() -> None:
    """A delayed and a dripping answer are answers, when there is time; what is sent to a silent server is read."""
    async with testing.KeyServer(server_context(LEAF, CA)) as server:
        key_server = Client(await stream_to(server))
        for fault in (testing.delay(0.01), testing.drip(0)):
            server.faults[Operation.QUERY] = fault
            assert (await key_server.query(timeout=5)).vendor_identification
        key_server.close()
        server.faults[Operation.QUERY] = testing.silence
        stream = await stream_to(server)
        for _ in range(2):
            await stream.send(wire.request(Operation.QUERY, wire.structure(0x420079)))
            await asyncio.sleep(0.05)
        stream.close()
    assert len(server.requests) == 3


async def vendor_of(server: testing.KeyServer) -> str | None:
    """Return what Query on a connection of its own answers."""
    key_server = Client(await stream_to(server))
    try:
        return (await key_server.query(timeout=5)).vendor_identification
    finally:
        key_server.close()


async def test_an_answer_that_is_lost_and_a_request_that_is() -> None:
    """A fault of the answer leaves the work done, one of the request leaves it undone; the next try is sound."""
    async with testing.KeyServer(server_context(LEAF, CA)) as server:
        for table, kept in ((server.faults, 1), (server.request_faults, 1)):
            table[Operation.REGISTER] = testing.first(1, testing.reset)
            key_server = Client(await stream_to(server))
            with pytest.raises(TransportError):
                await key_server.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5)
            assert len(server.responder.objects) == kept
        key_server = Client(await stream_to(server))
        await key_server.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5)
        assert len(server.responder.objects) == 2
        key_server.close()


async def test_a_request_that_is_held() -> None:
    """A held request is carried out and answered once the event is set."""
    async with testing.KeyServer(server_context(LEAF, CA)) as server:
        arrived, event = asyncio.Event(), asyncio.Event()

        async def fault(exchange: testing.Exchange) -> None:
            arrived.set()
            await testing.held(event)(exchange)

        server.request_faults[Operation.REGISTER] = fault
        key_server = Client(await stream_to(server))
        call = asyncio.create_task(key_server.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5))
        await asyncio.wait_for(arrived.wait(), 5)
        assert not server.responder.objects
        event.set()
        assert (await call).unique_identifier in server.responder.objects
        key_server.close()


async def test_disconnect_while_a_connection_ends() -> None:
    """A socket that its own task has just closed is left alone."""
    async with testing.KeyServer(server_context(LEAF, CA)) as server:
        key_server = Client(await stream_to(server))
        await key_server.query(timeout=5)
        key_server.close()
        while not any(sock.fileno() < 0 for sock in server._serving.values()):
            assert server.connections  # otherwise the moment was missed
            await asyncio.sleep(0)
        server.disconnect()
        assert await vendor_of(server)


async def test_disconnect_and_come_back() -> None:
    """Open connections are reset on request; a server that was left comes back on its port with its objects."""
    server = testing.KeyServer(server_context(LEAF, CA))
    async with server:
        key_server = Client(await stream_to(server))
        await key_server.query(timeout=5)
        kept = await key_server.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5)
        server.disconnect()
        with pytest.raises(TransportError):
            await key_server.query(timeout=5)
        assert await vendor_of(server)
        port = server.port
    with pytest.raises(TransportError):
        await vendor_of(server)
    async with server:
        assert server.port == port
        key_server = Client(await stream_to(server))
        found = await key_server.get(kept.unique_identifier, timeout=5)
        assert found.managed_object == SEED
        key_server.close()


async def test_objects_belong_to_the_name_in_the_certificate() -> None:
    """Another name sees nothing of them; another certificate with the same name sees them."""
    profile = PROFILES["objects belong to their certificate"]
    async with testing.KeyServer(server_context(LEAF, CA), Responder(profile=profile)) as server:
        key_server = Client(await stream_to(server))
        kept = await key_server.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5)
        key_server.close()
        renewed, other = client(CA), CA.issue((), common_name="other", purpose="client")
        for credentials, seen in ((renewed, 1), (other, 0)):
            key_server = Client(await stream_to(server, client_context(CA, credentials)))
            assert len((await key_server.locate(timeout=5)).unique_identifier) == seen
            key_server.close()
        assert server.responder.objects[str(kept.unique_identifier)].owner == "keystead"


async def test_a_client_without_a_certificate() -> None:
    """It has no name, and is served where none is asked for."""
    async with testing.KeyServer(server_context(LEAF)) as server:
        key_server = Client(await stream_to(server, client_context(CA)))
        kept = await key_server.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5)
        assert server.responder.objects[str(kept.unique_identifier)].owner is None
        key_server.close()


async def test_a_cluster_of_key_servers() -> None:
    """An object on one member is on the other once the link delivers it."""
    members, link = cluster(2, delay=None)
    context = server_context(LEAF, CA)
    async with testing.KeyServer(context, members[0]) as first, testing.KeyServer(context, members[1]) as second:
        here, there = Client(await stream_to(first)), Client(await stream_to(second))
        kept = await here.register(SEED, object_type=ObjectType.SECRET_DATA, timeout=5)
        assert not (await there.locate(timeout=5)).unique_identifier
        link.deliver()
        assert (await there.get(kept.unique_identifier, timeout=5)).managed_object == SEED
        here.close()
        there.close()
