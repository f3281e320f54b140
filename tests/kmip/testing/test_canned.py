"""The key server of the benches: its canned answers are what a real one would say."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.messages.attributes import name_attribute
from keystead.kmip.messages.headers import ProtocolVersion, RequestHeader
from keystead.kmip.messages.messages import RequestBatchItem, RequestMessage, decode_response, encode_request
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.messages.payloads.get import GetRequestPayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload
from keystead.kmip.server.responder import Responder
from keystead.kmip.server.storage import Stored
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv.enums import KeyFormatType, ObjectType, Operation, ResultStatus, SecretDataType
from keystead.kmip.ttlv.versions import VERSIONS, Version
from tests.peers import canned
from tests.peers.certificates import client_context

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.fixtures import Pki


def seed(material: bytes) -> SecretData:
    """Secret Data with these bytes."""
    return SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(material)))


def gets(version: Version, *identifiers: str) -> bytes:
    """Return a batch of Gets; a single one has no Unique Batch Item ID."""
    items = tuple(
        RequestBatchItem(
            Operation.GET,
            unique_batch_item_id=bytes([number]) * (number + 1) if len(identifiers) > 1 else None,
            request_payload=GetRequestPayload(identifier),
        )
        for number, identifier in enumerate(identifiers)
    )
    return encode_request(RequestMessage(RequestHeader(ProtocolVersion(*version), batch_count=len(items)), items))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("identifiers", [("1",), ("1", "a-longer-identifier", "12345678")])
def test_canned_answers_are_those_of_a_real_server(version: Version, identifiers: tuple[str, ...]) -> None:
    """Byte for byte but for the time, on every version, for one Get and for several."""
    real = Responder()
    for identifier in identifiers:
        real.objects[identifier] = Stored(ObjectType.SECRET_DATA, seed(canned.material(identifier)), [])
    request = gets(version, *identifiers)
    theirs = canned.answer(request, real)
    ours = canned.answer(request, Responder())
    time_stamp = slice(64, 72)
    assert decode_response(ours).response_header.time_stamp
    assert ours[: time_stamp.start] == theirs[: time_stamp.start]
    assert ours[time_stamp.stop :] == theirs[time_stamp.stop :]


def test_what_is_not_canned() -> None:
    """Other operations, mixed batches, and objects that were registered get a real answer."""
    server = Responder()
    server.objects["7"] = Stored(ObjectType.SECRET_DATA, seed(b"registered"), [])
    (item,) = decode_response(canned.answer(gets((1, 4), "7"), server)).batch_item
    assert item.response_payload.managed_object == seed(b"registered")
    mixed = (
        RequestBatchItem(Operation.QUERY, unique_batch_item_id=b"1", request_payload=QueryRequestPayload()),
        RequestBatchItem(Operation.GET, unique_batch_item_id=b"2", request_payload=GetRequestPayload("7")),
    )
    request = encode_request(RequestMessage(RequestHeader(ProtocolVersion(1, 4), batch_count=2), mixed))
    answered = decode_response(canned.answer(request, server)).batch_item
    assert [entry.result_status for entry in answered] == [ResultStatus.SUCCESS] * 2


async def test_the_process(pki: Pki, tmp_path: Path) -> None:
    """It serves over TLS: canned Gets, and objects that are registered, located and read."""
    server = canned.start(tmp_path, pki.server, pki.client_ca)
    try:
        server.wait_until_ready()
        sock = await connect_tcp([Address(socket.AF_INET, (server.host, server.port))])
        stream = await tls.handshake(sock, client_context(pki.server_ca, pki.client), server_name="localhost")
        key_server = Client(stream)
        await key_server.negotiate(timeout=20)
        found = await key_server.get("any", timeout=20)
        assert found.managed_object == seed(canned.material("any"))
        name = name_attribute("a")
        await key_server.register(seed(b"own"), [name], object_type=ObjectType.SECRET_DATA, timeout=20)
        (identifier,) = (await key_server.locate([name], timeout=20)).unique_identifier
        assert (await key_server.get(identifier, timeout=20)).managed_object == seed(b"own")
        key_server.close()
    finally:
        server.stop()
