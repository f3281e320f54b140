"""The test key server in a thread of its own: started, stopped and told to misbehave from outside its loop."""

from __future__ import annotations

import asyncio
import socket

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.kmip.ttlv.errors import OperationFailed, TransportError
from tests.peers.appliances import Appliance
from tests.peers.certificates import Authority, client, client_context, server_context

CA = Authority()
CONTEXT = server_context(CA.issue(), CA)
FRIEND = client_context(CA, client(CA))


async def connect(appliance: Appliance) -> Client:
    """Return a client of the appliance."""
    sock = await connect_tcp([Address(socket.AF_INET, ("127.0.0.1", appliance.server.port))])
    return Client(await tls.handshake(sock, FRIEND, server_name="localhost"))


async def vendor(appliance: Appliance) -> str | None:
    """Return what Query on a connection of its own answers."""
    key_server = await connect(appliance)
    try:
        return (await key_server.query(timeout=5)).vendor_identification
    finally:
        key_server.close()


def test_it_serves_and_is_told_to_refuse() -> None:
    """What the test's thread changes counts from the next request on."""
    with Appliance(KeyServer(CONTEXT, Responder(vendor="thread"))) as appliance:
        assert asyncio.run(vendor(appliance)) == "thread"
        appliance.responder.refusals[Operation.QUERY] = ResultReason.PERMISSION_DENIED
        with pytest.raises(OperationFailed):
            asyncio.run(vendor(appliance))


def test_it_stops_and_comes_back() -> None:
    """Stopped it refuses, started it is at the same address; both may be said twice. A reset ends what is open."""

    async def reset(appliance: Appliance) -> None:
        key_server = await connect(appliance)
        await key_server.query(timeout=5)
        appliance.disconnect()
        with pytest.raises(TransportError):
            await key_server.query(timeout=5)

    with Appliance(KeyServer(CONTEXT)) as appliance:
        address = appliance.address
        asyncio.run(reset(appliance))
        appliance.stop()
        appliance.stop()
        with pytest.raises(TransportError):
            asyncio.run(vendor(appliance))
        appliance.start()
        appliance.start()
        assert appliance.address == address
        assert asyncio.run(vendor(appliance))
