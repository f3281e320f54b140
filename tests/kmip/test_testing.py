"""The test server itself: its doors, and what it keeps for assertions."""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

import pytest

from keystead.kmip import testing, tls
from keystead.kmip.client import Client
from keystead.kmip.connect import Address, connect_tcp
from keystead.kmip.enums import Operation
from keystead.kmip.errors import RemoteProtocolError, TransportError
from tests.kmip import wire
from tests.peers.certificates import Authority, client, client_context, server_context

CA, OTHER = Authority(), Authority("Another CA")
LEAF = CA.issue()
FRIEND, STRANGER = client_context(CA, client(CA)), client_context(CA, client(OTHER))


async def stream_to(server: testing.KeyServer, context: object = FRIEND) -> tls.Stream:
    """A TLS connection to the server."""
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
    """It listens where it is told, and serves connections side by side."""
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
