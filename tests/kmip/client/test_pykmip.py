"""The client and PyKMIP's server, in every version that PyKMIP has."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.attributes import attribute, name_attribute
from keystead.kmip.messages.objects import Certificate, KeyBlock, KeyValue, OpaqueObject, SecretData, raw_key
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv import enums
from keystead.kmip.ttlv.enums import Operation, ResultReason, RevocationReasonCode
from keystead.kmip.ttlv.errors import OperationFailed
from keystead.kmip.ttlv.versions import V1_0, V1_1, V1_2, V1_3, V1_4, V2_0, Version
from tests.peers.certificates import client_context

if TYPE_CHECKING:
    from keystead.kmip.messages.objects import ManagedObject
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

PYKMIP_VERSIONS = (V1_0, V1_1, V1_2, V1_3, V1_4, V2_0)


async def connect(pki: Pki, server: Program) -> Client:
    """Return a client of the session's first PyKMIP server."""
    sock = await connect_tcp([Address(socket.AF_INET, (server.host, server.port))])
    context = client_context(pki.server_ca, pki.client)
    return Client(await tls.handshake(sock, context, server_name="localhost"))


async def test_negotiation(pki: Pki, pykmip_servers: list[Program]) -> None:
    """The highest version that PyKMIP has is chosen."""
    key_server = await connect(pki, pykmip_servers[0])
    assert await key_server.negotiate(timeout=20) == V2_0
    assert key_server.offered == tuple(reversed(PYKMIP_VERSIONS))
    assert await key_server.discover_versions([V1_2], timeout=20) == (V1_2,)
    key_server.close()


@pytest.mark.parametrize("version", PYKMIP_VERSIONS)
async def test_a_life_of_a_key(pki: Pki, pykmip_servers: list[Program], version: Version) -> None:
    """Create, Locate, Get, attributes, Activate, Revoke and Destroy, leaving the server as it was."""
    key_server = await connect(pki, pykmip_servers[0])
    key_server.version = version
    name = name_attribute(f"life {version}")
    answer = await key_server.query(timeout=20)
    assert Operation.CREATE in answer.operation
    assert answer.vendor_identification == "PyKMIP 0.11.0 Software Server"
    aes = [
        attribute("Cryptographic Algorithm", enums.CryptographicAlgorithm.AES),
        attribute("Cryptographic Length", 256),
        attribute("Cryptographic Usage Mask", 12),
        name,
    ]
    identifier = (await key_server.create(aes, timeout=20)).unique_identifier
    assert (await key_server.locate([name], timeout=20)).unique_identifier == (identifier,)
    assert (await key_server.locate([name], maximum_items=1, timeout=20)).unique_identifier == (identifier,)
    key = (await key_server.get(identifier, timeout=20)).managed_object
    assert len(key.key_block.key_value.key_material) == 32  # type: ignore[union-attr]
    assert {"State", "Name", "Cryptographic Length"} <= set(
        (await key_server.get_attribute_list(identifier, timeout=20)).names()
    )
    (state,) = (await key_server.get_attributes(identifier, ["State"], timeout=20)).all()
    assert state == attribute("State", enums.State.PRE_ACTIVE)
    await key_server.activate(identifier, timeout=20)
    with pytest.raises(OperationFailed) as caught:
        await key_server.destroy(identifier, timeout=20)
    assert caught.value.reason == ResultReason.PERMISSION_DENIED
    await key_server.revoke(identifier, RevocationReasonCode.CESSATION_OF_OPERATION, timeout=20)
    await key_server.destroy(identifier, timeout=20)
    with pytest.raises(OperationFailed) as caught:
        await key_server.get(identifier, timeout=20)
    assert caught.value.reason == ResultReason.ITEM_NOT_FOUND
    key_server.close()


OBJECTS: dict[str, tuple[enums.ObjectType, ManagedObject]] = {
    "symmetric key": (
        enums.ObjectType.SYMMETRIC_KEY,
        raw_key(bytes(range(32)), enums.CryptographicAlgorithm.AES),
    ),
    "secret data": (
        enums.ObjectType.SECRET_DATA,
        SecretData(
            enums.SecretDataType.PASSWORD,
            KeyBlock(enums.KeyFormatType.OPAQUE, key_value=KeyValue(b"hunter2")),
        ),
    ),
    "opaque object": (enums.ObjectType.OPAQUE_OBJECT, OpaqueObject(0x8000_0000, b"bytes")),
}


@pytest.mark.parametrize("version", PYKMIP_VERSIONS)
@pytest.mark.parametrize("name", [*OBJECTS, "certificate"])
async def test_registered_objects(pki: Pki, pykmip_servers: list[Program], version: Version, name: str) -> None:
    """What is registered comes back the same."""
    der = _der(pki)
    certificate = (enums.ObjectType.CERTIFICATE, Certificate(enums.CertificateType.X_509, der))
    object_type, managed_object = certificate if name == "certificate" else OBJECTS[name]
    key_server = await connect(pki, pykmip_servers[0])
    key_server.version = version
    given = [] if object_type is enums.ObjectType.OPAQUE_OBJECT else [attribute("Cryptographic Usage Mask", 4)]
    registered = await key_server.register(managed_object, given, object_type=object_type, timeout=20)
    found = await key_server.get(registered.unique_identifier, timeout=20)
    assert (found.object_type, found.managed_object) == (object_type, managed_object)
    await key_server.destroy(registered.unique_identifier, timeout=20)
    key_server.close()


def _der(pki: Pki) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return pki.server.certificate.public_bytes(Encoding.DER)
