"""Feeds a wire sample to a connection whole, byte by byte, in two pieces, and with bytes after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.kmip.messages.connection import ClientConnection, ServerConnection, State
from keystead.kmip.messages.headers import ProtocolVersion, RequestHeader
from keystead.kmip.messages.messages import RequestBatchItem, RequestMessage, ResponseMessage
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.errors import RemoteProtocolError
from keystead.kmip.ttlv.ttlv import Item, ItemType

if TYPE_CHECKING:
    from collections.abc import Iterator


def pieces(data: bytes) -> Iterator[list[bytes]]:
    """Yield the ways in which a transport may bring the same bytes."""
    yield [data]
    yield [data[:8], data[8:]]
    yield [data[:-1], data[-1:]]
    yield [data[at : at + 1] for at in range(len(data))]


def request(data: bytes) -> RequestMessage:
    """Return the request that ``data`` holds, the same in every way; what follows it waits for its turn."""
    found = []
    for way in [*pieces(data), [data + data], [data + data[:5]]]:
        connection = ServerConnection()
        results = []
        for piece in way:
            connection.receive_data(piece)
            results.append(connection.next_request())
        assert not any(results[:-1])
        assert connection.state is State.BUSY
        found.append(results[-1])
    first = found[0]
    assert first is not None
    assert all(message == first for message in found)
    return first


def waiting(operation: int) -> ClientConnection:
    """Return a client that asked for an operation."""
    connection = ClientConnection()
    item = RequestBatchItem(operation, request_payload=Item(tags.REQUEST_PAYLOAD, ItemType.STRUCTURE, ()))
    connection.send_request(RequestMessage(RequestHeader(ProtocolVersion(1, 4), batch_count=1), (item,)))
    return connection


def response(data: bytes, operation: int) -> ResponseMessage:
    """Return the answer that ``data`` holds, the same in every way; one byte after it is an error."""
    found = []
    for way in pieces(data):
        connection = waiting(operation)
        results = []
        for piece in way:
            connection.receive_data(piece)
            results.append(connection.next_answer())
        assert not any(results[:-1])
        assert connection.state is State.IDLE
        found.append(results[-1])
    first = found[0]
    assert first is not None
    assert all(answer == first for answer in found)
    connection = waiting(operation)
    connection.receive_data(data + b"B")
    with pytest.raises(RemoteProtocolError, match="bytes follow"):
        connection.next_answer()
    return first.message
