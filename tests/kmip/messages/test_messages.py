"""Whole messages: headers, credentials, batch items, and the version that decides how they are read."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from keystead.kmip.messages.headers import (
    Authentication,
    Credential,
    Device,
    Nonce,
    ProtocolVersion,
    RequestHeader,
    ResponseHeader,
    UsernameAndPassword,
    username_credential,
)
from keystead.kmip.messages.messages import (
    OPERATIONS,
    PAYLOADS,
    RequestBatchItem,
    RequestMessage,
    ResponseBatchItem,
    ResponseMessage,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from keystead.kmip.messages.payloads.get import GetRequestPayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.enums import Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.ttlv import Item, ItemType, Limits
from tests.kmip import wire

FULL_HEADER = """
    420077 01 00000138
      420069 01 00000020
        42006A 02 00000004 0000000100000000
        42006B 02 00000004 0000000400000000
      420050 02 00000004 0000100000000000              # Maximum Response Size
      420105 07 00000001 6300000000000000              # Client Correlation Value
      420106 07 00000001 7300000000000000              # Server Correlation Value
      420007 06 00000008 0000000000000000              # Asynchronous Indicator
      4200D3 06 00000008 0000000000000001              # Attestation Capable Indicator
      4200C7 05 00000004 0000000100000000              # Attestation Type
      42000C 01 00000048
        420023 01 00000040
          420024 05 00000004 0000000100000000
          420025 01 00000028
            420099 07 00000004 4672656400000000        # Username
            4200A1 07 00000009 70617373776F726431 00000000000000
      42000E 05 00000004 0000000200000000              # Batch Error Continuation Option
      420010 06 00000008 0000000000000001              # Batch Order Option
      420092 09 00000008 000000006553F100              # Time Stamp
      42000D 02 00000004 0000000100000000              # Batch Count
"""
HEADER = RequestHeader(
    ProtocolVersion(1, 4),
    4096,
    "c",
    "s",
    Item(tags.ASYNCHRONOUS_INDICATOR, ItemType.BOOLEAN, False),
    attestation_capable_indicator=True,
    attestation_type=(1,),
    authentication=Authentication((username_credential("Fred", "password1"),)),
    batch_error_continuation_option=enums.BatchErrorContinuationOption.STOP,
    batch_order_option=True,
    time_stamp=1_700_000_000,
    batch_count=1,
)


def test_full_request_header() -> None:
    """Every field of a request header, in the specification's order."""
    header = wire.unhex(FULL_HEADER)
    header = header[:4] + struct.pack(">I", len(header) - 8) + header[8:]
    item = wire.structure(
        tags.BATCH_ITEM,
        wire.enumeration(tags.OPERATION, 10),
        wire.item(tags.UNIQUE_BATCH_ITEM_ID, 8, b"\1"),
        wire.structure(tags.REQUEST_PAYLOAD, wire.text(tags.UNIQUE_IDENTIFIER, "7")),
        wire.structure(tags.MESSAGE_EXTENSION, wire.text(tags.VENDOR_IDENTIFICATION, "v")),
    )
    data = wire.structure(tags.REQUEST_MESSAGE, header, item)
    message = decode_request(data)
    assert message.request_header == HEADER
    assert message.batch_item[0].request_payload == GetRequestPayload("7")
    assert message.batch_item[0].message_extension[0].tag == tags.MESSAGE_EXTENSION
    assert encode_request(message) == data


def test_full_response() -> None:
    """Every field of a response header and of a response's batch item."""
    header = ResponseHeader(
        ProtocolVersion(2, 1), 5, Nonce(b"id", b"value"), b"s3cret", (1,), "client", "server", batch_count=1
    )
    item = ResponseBatchItem(
        Operation.GET,
        b"1",
        result_status=ResultStatus.OPERATION_PENDING,
        result_reason=ResultReason.GENERAL_FAILURE,
        result_message="wait",
        asynchronous_correlation_value=b"later",
    )
    message = ResponseMessage(header, (item,))
    assert decode_response(encode_response(message)) == message
    assert "s3cret" not in repr(message)


@pytest.mark.parametrize(
    ("operation", "payload"), [(Operation.LOCATE, wire.structure(tags.RESPONSE_PAYLOAD)), (None, b"")]
)
def test_failure(operation: int | None, payload: bytes) -> None:
    """A failure may name no operation, and what stands in its payload is not read as a success."""
    data = wire.response(operation, payload, status=1, reason=4)
    item = decode_response(data).batch_item[0]
    assert (item.operation, item.result_status, item.result_reason) == (
        operation,
        ResultStatus.OPERATION_FAILED,
        ResultReason.INVALID_MESSAGE,
    )
    assert item.response_payload is None or isinstance(item.response_payload, Item)


def test_unknown_operation_keeps_its_payload() -> None:
    """The payload of an operation that nobody knows is a raw tree and is encoded again, in both directions."""
    for operation in (0x1F, 0x8000_0001):
        data = wire.request(operation, wire.structure(tags.REQUEST_PAYLOAD, wire.text(tags.DATA, "x")))
        request = decode_request(data)
        assert isinstance(request.batch_item[0].request_payload, Item)
        assert encode_request(request) == data
        data = wire.response(operation, wire.structure(tags.RESPONSE_PAYLOAD, wire.text(tags.DATA, "x")))
        response = decode_response(data)
        assert isinstance(response.batch_item[0].response_payload, Item)
        assert encode_response(response) == data


def test_fields_newer_than_the_header() -> None:
    """A Server Correlation Value in a 1.0 answer, as one server sends it, is kept raw."""
    data = wire.response(
        Operation.ACTIVATE, wire.unhex("42007C 01 00000010 420094 07 00000001 3700000000000000"), (1, 0)
    )
    extra = wire.text(tags.SERVER_CORRELATION_VALUE, "abc")
    at = data.index(bytes.fromhex("42000D02"))
    grown = bytearray(data[:at] + extra + data[at:])
    for start in (0, 8):
        grown[start + 4 : start + 8] = struct.pack(">I", struct.unpack_from(">I", grown, start + 4)[0] + len(extra))
    message = decode_response(bytes(grown))
    assert message.response_header.server_correlation_value is None
    assert message.response_header.extra == (Item(tags.SERVER_CORRELATION_VALUE, ItemType.TEXT_STRING, "abc"),)
    assert decode_response(encode_response(message)) == message


@pytest.mark.parametrize("version", [(1, 5), (3, 0), (9, 31), (-1, -1)])
def test_versions_that_nobody_knows(version: tuple[int, int]) -> None:
    """A message of an unknown version is read by the nearest known one and keeps its own in the header."""
    data = wire.request(Operation.QUERY, wire.structure(tags.REQUEST_PAYLOAD), version)
    message = decode_request(data)
    assert message.request_header.protocol_version.version == version
    assert message.batch_item[0].request_payload == QueryRequestPayload()
    assert encode_request(message) == data


NO_VERSION = {
    "short": wire.structure(tags.REQUEST_MESSAGE),
    "no version": wire.structure(
        tags.REQUEST_MESSAGE,
        wire.structure(tags.REQUEST_HEADER, *[wire.integer(tags.BATCH_COUNT, 1)] * 4),
    ),
    "version later": wire.structure(
        tags.REQUEST_MESSAGE,
        wire.structure(tags.REQUEST_HEADER, wire.integer(tags.BATCH_COUNT, 1), wire.version(1, 4)),
    ),
}


@pytest.mark.parametrize("name", NO_VERSION)
def test_a_message_begins_with_its_version(name: str) -> None:
    """Without a version nobody can say how to read the rest."""
    with pytest.raises(RemoteProtocolError, match="Protocol Version"):
        decode_request(NO_VERSION[name])


def test_wrong_role_and_limits() -> None:
    """A request is no response, and limits hold for typed messages."""
    data = wire.request(Operation.QUERY, wire.structure(tags.REQUEST_PAYLOAD))
    with pytest.raises(RemoteProtocolError, match="not a Response Message"):
        decode_response(data)
    with pytest.raises(TTLVError):
        decode_request(data, Limits(message_bytes=len(data) - 1))
    with pytest.raises(TTLVError):
        decode_request(data, Limits(depth=2))
    with pytest.raises(TTLVError):
        decode_request(data + bytes(8))


CREDENTIALS: list[tuple[Any, str]] = [
    (
        Credential(enums.CredentialType.DEVICE, Device("serial", "hunter2", network_identifier="net")),
        """
        420023 01 00000048
          420024 05 00000004 0000000200000000
          420025 01 00000030
            4200B0 07 00000006 73657269616C0000
            4200A1 07 00000007 68756E7465723200
            4200AB 07 00000003 6E65740000000000
        """,
    ),
    (
        Credential(
            0x8000_0001,
            Item(tags.CREDENTIAL_VALUE, ItemType.STRUCTURE, (Item(0x540001, ItemType.TEXT_STRING, "hunter2"),)),
        ),
        "420023 01 00000028 420024 05 00000004 8000000100000000 420025 01 00000010 540001 07 00000007 68756E7465723200",
    ),
]


@pytest.mark.parametrize(("credential", "text"), CREDENTIALS)
def test_credentials(credential: Credential, text: str) -> None:
    """Device credentials and those of vendors survive; no password is in a repr."""
    header = RequestHeader(ProtocolVersion(1, 4), authentication=Authentication((credential,)), batch_count=1)
    message = RequestMessage(header, (RequestBatchItem(Operation.QUERY, request_payload=QueryRequestPayload()),))
    data = encode_request(message)
    fixed = bytearray(wire.unhex(text))
    fixed[4:8] = struct.pack(">I", len(fixed) - 8)
    assert bytes(fixed) in data
    assert decode_request(data) == message
    assert "hunter2" not in repr(message)


def test_passwords_are_not_shown() -> None:
    """The repr of a message with a password does not hold it."""
    assert "password1" not in repr(HEADER)
    assert "Fred" in repr(HEADER)
    assert username_credential("Fred", None).credential_value == UsernameAndPassword("Fred")


def test_the_table_of_payloads() -> None:
    """Each operation has its own two payload classes, and each request payload knows its operation."""
    classes = [cls for pair in PAYLOADS.values() for cls in pair]
    assert len(set(classes)) == 2 * len(PAYLOADS)
    assert {OPERATIONS[request]: request for request, _ in PAYLOADS.values()} == {
        operation: request for operation, (request, _) in PAYLOADS.items()
    }


def test_a_payload_of_another_operation_cannot_be_encoded() -> None:
    """A batch item whose payload is not its operation's is the caller's error."""
    item = RequestBatchItem(Operation.QUERY, request_payload=GetRequestPayload("7"))
    with pytest.raises(LocalProtocolError):
        encode_request(RequestMessage(HEADER, (item,)))
