"""Both roles without I/O: the state table, framing, and the matching of answers to a batch."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.kmip.messages.connection import (
    TRANSITIONS,
    Answer,
    ClientConnection,
    Event,
    ServerConnection,
    State,
    match,
)
from keystead.kmip.messages.headers import ProtocolVersion, RequestHeader, ResponseHeader
from keystead.kmip.messages.messages import (
    RequestBatchItem,
    RequestMessage,
    ResponseBatchItem,
    ResponseMessage,
    encode_request,
    encode_response,
)
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload, ActivateResponsePayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload, QueryResponsePayload
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.enums import Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Limits
from tests.kmip import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

V = ProtocolVersion(1, 4)


def query(identifier: bytes | None = None) -> RequestBatchItem:
    """Return a Query."""
    return RequestBatchItem(Operation.QUERY, unique_batch_item_id=identifier, request_payload=QueryRequestPayload())


def queried(identifier: bytes | None = None, *, operation: Operation | None = Operation.QUERY) -> ResponseBatchItem:
    """Return the answer to a Query."""
    payload = QueryResponsePayload() if operation is Operation.QUERY else None
    return ResponseBatchItem(operation, identifier, result_status=ResultStatus.SUCCESS, response_payload=payload)


FAILED = ResponseBatchItem(
    result_status=ResultStatus.OPERATION_FAILED, result_reason=ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
)


def request(*items: RequestBatchItem, correlation: str | None = None) -> RequestMessage:
    """Return a request of these items."""
    return RequestMessage(RequestHeader(V, client_correlation_value=correlation, batch_count=len(items)), items)


def response(*items: ResponseBatchItem, count: int | None = None, correlation: str | None = None) -> ResponseMessage:
    """Return a response of these items."""
    header = ResponseHeader(
        V, 1_700_000_000, client_correlation_value=correlation, batch_count=len(items) if count is None else count
    )
    return ResponseMessage(header, items)


REQUEST, RESPONSE = request(query()), response(queried())
REQUEST_BYTES, RESPONSE_BYTES = encode_request(REQUEST), encode_response(RESPONSE)


def busy(limits: Limits = DEFAULT_LIMITS) -> ClientConnection:
    """Return a client whose request went out."""
    connection = ClientConnection(limits)
    connection.send_request(REQUEST)
    return connection


def fed(data: bytes, size: int, limits: Limits = DEFAULT_LIMITS) -> Iterator[Answer | None]:
    """Yield what a waiting client says after each piece of ``data``."""
    connection = busy(limits)
    for start in range(0, len(data), size):
        connection.receive_data(data[start : start + size])
        yield connection.next_answer()


def assert_read_every_way(data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
    """Feed an answer whole, in two parts and byte by byte, and with bytes after it, which is an error."""
    for size in (len(data), len(data) - 1, 8, 1):
        answers = list(fed(data, size, limits))
        assert [answer for answer in answers[:-1] if answer] == []
        assert answers[-1] == Answer(RESPONSE, RESPONSE.batch_item)
    for trailing in (b"B", RESPONSE_BYTES, bytes(8)):
        with pytest.raises(RemoteProtocolError, match="bytes follow"):
            list(fed(data + trailing, len(data) + len(trailing)))


def assert_refused_every_way(data: bytes, error: type[Exception]) -> None:
    """Feed what is wrong whole, byte by byte and with bytes after it: the error is the same, the state CLOSED."""
    for size in (len(data), 1, len(data) + 8):
        connection = busy()
        with pytest.raises(error):
            feed_all(connection, data + bytes(max(0, size - len(data))), size)
        assert connection.state is State.CLOSED


def feed_all(connection: ClientConnection, data: bytes, size: int) -> None:
    """Feed everything in pieces."""
    for start in range(0, len(data), size):
        connection.receive_data(data[start : start + size])
        connection.next_answer()


def test_the_table() -> None:
    """CLOSED is final, and from everywhere reachable; a request and its response take turns."""
    assert {key: value for key, value in TRANSITIONS.items() if key[1] is not Event.CLOSE} == {
        (State.IDLE, Event.REQUEST): State.BUSY,
        (State.BUSY, Event.RESPONSE): State.IDLE,
        (State.BUSY, Event.FURTHER_REQUEST): State.BUSY,
        (State.BUSY, Event.EARLIER_RESPONSE): State.BUSY,
    }
    assert {TRANSITIONS[state, Event.CLOSE] for state in State} == {State.CLOSED}


def test_an_answer_however_it_comes() -> None:
    """The answer is the same whole and in pieces; one byte more than the answer is an error."""
    assert_read_every_way(RESPONSE_BYTES)


def test_one_request_after_the_other() -> None:
    """A connection whose answer was read to the end takes the next request."""
    connection = ClientConnection()
    for _ in range(3):
        assert (connection.send_request(REQUEST), connection.state) == (REQUEST_BYTES, State.BUSY)
        connection.receive_data(RESPONSE_BYTES)
        assert connection.next_answer() == Answer(RESPONSE, RESPONSE.batch_item)
        assert connection.state is State.IDLE


def test_a_busy_connection_takes_no_request() -> None:
    """No request is accepted until the answer was read to the end; the attempt changes nothing."""
    connection = busy()
    connection.receive_data(RESPONSE_BYTES[:-1])
    assert connection.next_answer() is None
    with pytest.raises(LocalProtocolError, match="BUSY"):
        connection.send_request(REQUEST)
    connection.receive_data(RESPONSE_BYTES[-1:])
    assert connection.next_answer()


def test_a_closed_connection_takes_nothing() -> None:
    """A closed connection accepts no request and no data; closing twice is no error."""
    connection = ClientConnection()
    connection.close()
    connection.close()
    for action in (lambda: connection.send_request(REQUEST), lambda: connection.receive_data(b"x")):
        with pytest.raises(LocalProtocolError, match=r"CLOSED|closed"):
            action()


@pytest.mark.parametrize("received", [b"", RESPONSE_BYTES[:1], RESPONSE_BYTES[:-1]])
def test_the_end_of_the_stream(received: bytes) -> None:
    """An end before the whole answer closes the connection without an answer."""
    connection = busy()
    if received:
        connection.receive_data(received)
    connection.receive_data(b"")
    assert connection.next_answer() is None
    assert connection.state is State.CLOSED


def test_bytes_that_nobody_asked_for() -> None:
    """Data to an idle client close the connection, or forbid the next request."""
    connection = ClientConnection()
    assert connection.next_answer() is None
    connection.receive_data(RESPONSE_BYTES)
    with pytest.raises(LocalProtocolError, match="unexpected bytes"):
        connection.send_request(REQUEST)
    with pytest.raises(RemoteProtocolError, match="unexpected bytes"):
        connection.next_answer()
    assert connection.state is State.CLOSED


WRONG: dict[str, tuple[bytes, type[Exception]]] = {
    "an HTTP server": (b"HTTP/1.1 400 Bad Request\r\n\r\n", TTLVError),
    "one wrong byte": (b"X", TTLVError),
    "a request": (REQUEST_BYTES, RemoteProtocolError),
    "another item": (wire.structure(tags.NAME, bytes(64)), TTLVError),
    "a length that is no multiple of 8": (wire.unhex("42007B 01 00000009"), TTLVError),
    "a length above the limit": (wire.unhex("42007B 01 00100000"), TTLVError),
    "the greatest length": (wire.unhex("42007B 01 FFFFFFF8"), TTLVError),
    "an empty message": (wire.unhex("42007B 01 00000000"), RemoteProtocolError),
    "a broken message": (wire.unhex("42007B 01 00000008 42007A 01 00000010"), RemoteProtocolError),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_answer(name: str) -> None:
    """Any other data are refused as soon as they are recognised, in pieces or whole."""
    assert_refused_every_way(*WRONG[name])


def test_the_length_is_checked_before_memory_is_taken() -> None:
    """A header that announces four gigabytes allocates no memory."""
    connection = busy()
    tracemalloc.start()
    try:
        connection.receive_data(struct.pack(">II", 0x42007B01, 0xFFFFFFF8))
        with pytest.raises(TTLVError) as caught:
            connection.next_answer()
        assert caught.value.limit
        assert tracemalloc.get_traced_memory()[1] < 16 << 10
    finally:
        tracemalloc.stop()


def test_the_limit_counts_the_header() -> None:
    """An answer of exactly the limit is read; with a limit of one byte less it is not."""
    assert_read_every_way(RESPONSE_BYTES, Limits(len(RESPONSE_BYTES)))
    with pytest.raises(TTLVError):
        list(fed(RESPONSE_BYTES, 8, Limits(len(RESPONSE_BYTES) - 1)))


@pytest.mark.parametrize(
    "message",
    [
        request(),
        RequestMessage(RequestHeader(V, batch_count=2), (query(),)),
        request(query(), query()),
        request(query(b"1"), query(b"1")),
        request(query(b"1"), query()),
    ],
)
def test_requests_that_no_answer_could_be_matched_to(message: RequestMessage) -> None:
    """A batch needs a true Batch Count and distinct identifiers; the state stays IDLE."""
    connection = ClientConnection()
    with pytest.raises(LocalProtocolError, match="Batch"):
        connection.send_request(message)
    assert connection.state is State.IDLE


ONE, TWO = query(b"1"), query(b"2")
MATCHED: list[tuple[RequestMessage, ResponseMessage, tuple[ResponseBatchItem | None, ...]]] = [
    (request(query()), response(queried()), (queried(),)),
    (request(ONE), response(queried(b"1")), (queried(b"1"),)),
    (request(ONE), response(queried()), (queried(),)),
    (request(ONE, TWO), response(queried(b"1"), queried(b"2")), (queried(b"1"), queried(b"2"))),
    (request(ONE, TWO), response(queried(b"2"), queried(b"1")), (queried(b"1"), queried(b"2"))),
    (request(ONE, TWO), response(queried(b"1")), (queried(b"1"), None)),
    (request(ONE, TWO), response(), (None, None)),
    (request(ONE, TWO), response(FAILED), (FAILED, FAILED)),
    (request(query()), response(FAILED), (FAILED,)),
    (request(query(), correlation="c"), response(queried(), correlation="c"), (queried(),)),
    (request(query(), correlation="c"), response(queried()), (queried(),)),
]


@pytest.mark.parametrize(("asked", "answered", "items"), MATCHED)
def test_answers_are_matched_by_identifier(
    asked: RequestMessage, answered: ResponseMessage, items: tuple[ResponseBatchItem | None, ...]
) -> None:
    """Items come back in the request's order, by identifier; a failure of the whole message stands for all."""
    assert match(asked, answered) == items


ACTIVATED = ResponseBatchItem(
    Operation.ACTIVATE, result_status=ResultStatus.SUCCESS, response_payload=ActivateResponsePayload("7")
)
MISMATCHED: dict[str, tuple[RequestMessage, ResponseMessage]] = {
    "a wrong Batch Count": (REQUEST, response(queried(), count=2)),
    "another identifier": (request(ONE), response(queried(b"2"))),
    "an identifier that was not given": (request(query()), response(queried(b"2"))),
    "one item too many": (request(query()), response(queried(), queried())),
    "the same identifier twice": (request(ONE, TWO), response(queried(b"1"), queried(b"1"))),
    "an unknown identifier": (request(ONE, TWO), response(queried(b"1"), queried(b"3"))),
    "another operation": (request(query()), response(ACTIVATED)),
    "another correlation": (request(query(), correlation="c"), response(queried(), correlation="d")),
}


@pytest.mark.parametrize("name", MISMATCHED)
def test_answers_to_something_else(name: str) -> None:
    """An answer that cannot be one to the request closes the connection."""
    asked, answered = MISMATCHED[name]
    connection = ClientConnection()
    connection.send_request(asked)
    connection.receive_data(encode_response(answered))
    with pytest.raises(RemoteProtocolError):
        connection.next_answer()
    assert connection.state is State.CLOSED


# --- the server's side ---


def test_a_server_answers_in_turn() -> None:
    """Requests that come early wait until the one before is answered."""
    connection = ServerConnection()
    connection.receive_data(REQUEST_BYTES + REQUEST_BYTES)
    for _ in range(2):
        assert connection.next_request() == REQUEST
        assert connection.next_request() is None
        assert connection.send_response(RESPONSE) == RESPONSE_BYTES
    assert connection.next_request() is None


@pytest.mark.parametrize("size", [1, 7, 8, 4096])
def test_a_request_however_it_comes(size: int) -> None:
    """A request is the same whole and in pieces."""
    connection = ServerConnection()
    found = []
    for start in range(0, len(REQUEST_BYTES), size):
        connection.receive_data(REQUEST_BYTES[start : start + size])
        found.append(connection.next_request())
    assert found[-1] == REQUEST
    assert not any(found[:-1])


def test_a_server_that_is_misused() -> None:
    """A response without a request is our error; a response in place of a request is the peer's."""
    connection = ServerConnection()
    with pytest.raises(LocalProtocolError, match="IDLE"):
        connection.send_response(RESPONSE)
    connection.receive_data(RESPONSE_BYTES)
    with pytest.raises(RemoteProtocolError, match="wrong role"):
        connection.next_request()
    assert connection.state is State.CLOSED
    assert connection.next_request() is None


# --- whatever comes ---


def test_a_request_and_answer_of_both_roles() -> None:
    """Each role reads what the other sends."""
    client, server = ClientConnection(), ServerConnection()
    asked = request(RequestBatchItem(Operation.ACTIVATE, request_payload=ActivateRequestPayload("7")))
    server.receive_data(client.send_request(asked))
    assert server.next_request() == asked
    client.receive_data(server.send_response(response(ACTIVATED)))
    assert client.next_answer() == Answer(response(ACTIVATED), (ACTIVATED,))


@given(st.data(), st.sampled_from(["whole", "byte by byte"]))
def test_mutated_answers(data: st.DataObject, how: str) -> None:
    """Changed bytes give an answer, no answer yet, or one of the two errors of peers."""
    wire_bytes = bytearray(RESPONSE_BYTES)
    for _ in range(data.draw(st.integers(1, 4))):
        wire_bytes[data.draw(st.integers(0, len(wire_bytes) - 1))] = data.draw(st.integers(0, 255))
    assert_only_peer_errors(lambda: feed_all(busy(), bytes(wire_bytes), len(wire_bytes) if how == "whole" else 1))


@given(st.binary(min_size=1, max_size=100))
def test_arbitrary_answers(data: bytes) -> None:
    """Any bytes, alone or after a sound header, give an answer, no answer yet, or one of the two errors of peers."""
    assert_only_peer_errors(lambda: feed_all(busy(), data, len(data)))
    framed = struct.pack(">II", 0x42007B01, len(data) // 8 * 8) + data
    assert_only_peer_errors(lambda: feed_all(busy(), framed, len(framed)))


def assert_only_peer_errors(action: Callable[[], None]) -> None:
    """Run the action; it may raise only the two errors of peers."""
    try:
        action()
    except (TTLVError, RemoteProtocolError):
        return
