"""The client against the library's own test server, over real TLS: a key's life, faults, users."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.attributes import attribute, name_attribute
from keystead.kmip.messages.headers import username_credential
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing import server as testing
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv import enums
from keystead.kmip.ttlv.enums import ObjectType, Operation, ResultReason, RevocationReasonCode
from keystead.kmip.ttlv.errors import (
    KMIPError,
    OperationFailed,
    TransportError,
    TTLVError,
)
from keystead.kmip.ttlv.versions import VERSIONS, Version
from tests.peers.certificates import Authority, client, client_context, server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CA = Authority()
SERVER = server_context(CA.issue(), CA)
CONTEXT = client_context(CA, client(CA))
AES = (
    attribute("Cryptographic Algorithm", enums.CryptographicAlgorithm.AES),
    attribute("Cryptographic Length", 256),
    attribute("Cryptographic Usage Mask", 12),
)


@pytest.fixture
async def server() -> AsyncIterator[testing.KeyServer]:
    """Yield the test server, which asks for a client certificate."""
    async with testing.KeyServer(SERVER) as running:
        yield running


async def connect(server: testing.KeyServer, **options: Any) -> Client:
    """Return a client of the test server."""
    sock = await connect_tcp([Address(socket.AF_INET, (server.host, server.port))])
    return Client(await tls.handshake(sock, CONTEXT, server_name="localhost"), **options)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_life_of_a_key(server: testing.KeyServer, version: Version) -> None:
    """Every operation against a server that stores objects, in every version."""
    server.responder = Responder([version])
    key_server = await connect(server)
    assert await key_server.negotiate(timeout=5) == version
    assert Operation.CREATE in (await key_server.query(timeout=5)).operation
    created = (await key_server.create([*AES, name_attribute("disk-1")], timeout=5)).unique_identifier
    secret = SecretData(enums.SecretDataType.PASSWORD, KeyBlock(enums.KeyFormatType.OPAQUE, key_value=KeyValue(b"pw")))
    registered = (
        await key_server.register(secret, [name_attribute("pw")], object_type=ObjectType.SECRET_DATA, timeout=5)
    ).unique_identifier
    found = await key_server.locate([name_attribute("disk-1")], maximum_items=10, timeout=5)
    assert found.unique_identifier == (created,)
    assert (await key_server.get(registered, timeout=5)).managed_object == secret
    key = (await key_server.get(created, key_format_type=enums.KeyFormatType.RAW, timeout=5)).managed_object
    assert len(key.key_block.key_value.key_material) == 32  # type: ignore[union-attr]
    await key_server.add_attribute(created, attribute("Contact Information", "me"), timeout=5)
    names = (await key_server.get_attribute_list(created, timeout=5)).names()
    assert {"State", "Contact Information"} <= set(names)
    assert (await key_server.get_attributes(created, ["State"], timeout=5)).all() == (
        attribute("State", enums.State.PRE_ACTIVE),
    )
    await key_server.activate(created, timeout=5)
    with pytest.raises(OperationFailed):
        await key_server.destroy(created, timeout=5)
    await key_server.revoke(created, RevocationReasonCode.CESSATION_OF_OPERATION, "done", timeout=5)
    await key_server.destroy(created, timeout=5)
    with pytest.raises(OperationFailed) as caught:
        await key_server.get(created, timeout=5)
    assert caught.value.reason == ResultReason.ITEM_NOT_FOUND
    key_server.close()


FAULTS: dict[str, tuple[Callable[..., Any], type[KMIPError]]] = {
    "silence": (testing.silence, TransportError),
    "close": (testing.close, TransportError),
    "reset": (testing.reset, TransportError),
    "garbage": (testing.garbage(b"HTTP/1.1 400 Bad Request"), TTLVError),
    "huge length": (testing.huge_length, TTLVError),
    "truncated": (testing.truncate, TransportError),
    "drip": (testing.drip(0.05), TransportError),
    "late": (testing.delay(20), TransportError),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_of_a_server(server: testing.KeyServer, name: str) -> None:
    """Each fault of the exchange raises in time and closes the connection; the next connection works."""
    fault, error = FAULTS[name]
    server.faults[Operation.QUERY] = fault
    key_server = await connect(server)
    with pytest.raises(error):
        await key_server.query(timeout=1)
    assert not key_server.usable
    server.faults.clear()
    again = await connect(server)
    assert (await again.query(timeout=5)).vendor_identification
    again.close()


async def test_a_create_is_never_repeated(server: testing.KeyServer) -> None:
    """When the answer to Create is lost, the server has seen it once."""
    server.faults[Operation.CREATE] = testing.close
    key_server = await connect(server)
    with pytest.raises(TransportError):
        await key_server.create(AES, timeout=5)
    assert [message.batch_item[0].operation for message in server.requests] == [Operation.CREATE]


async def test_users_and_passwords(server: testing.KeyServer) -> None:
    """A server that requires a user refuses requests without one, or with a wrong password."""
    server.responder = Responder(users={"Fred": "hunter2"})
    good, bad = username_credential("Fred", "hunter2"), username_credential("Fred", "wrong")
    key_server = await connect(server, credential=good)
    assert (await key_server.query(timeout=5)).vendor_identification
    key_server.close()
    for credential in (bad, None):
        key_server = await connect(server, credential=credential)
        with pytest.raises(OperationFailed) as caught:
            await key_server.query(timeout=5)
        assert caught.value.reason == ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
        key_server.close()
