"""The protocol on one connection without I/O: from messages to bytes, and from bytes to messages.

It never waits, reads a clock or opens a socket. One request is in flight at a time, because no specification says that
a server must answer several in order. A client may be allowed to have more.

The caller must send what ``send_*`` returned, and pass on what came, ``b""`` at the end of the stream. The caller must
close the transport when ``state`` is CLOSED. If answers were not all read to the end, the connection is BUSY or CLOSED,
never IDLE. Only an IDLE connection may be used by another caller. KMIP 1.4 sections 7 and 9.1.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum, auto
from typing import Final, NamedTuple

from keystead.kmip.messages.messages import (
    RequestMessage,
    ResponseBatchItem,
    ResponseMessage,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import KMIPError, LocalProtocolError, RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, ItemType, Limits


class State(IntEnum):
    """The state of a connection."""

    IDLE = auto()
    """A request may come."""
    BUSY = auto()
    """A request is not answered yet (or several requests of a pipelining client)."""
    CLOSED = auto()
    """Nothing may come. Close the transport."""


class Event(IntEnum):
    """An event on a connection, the same in both roles: a client sends the request, a server the response."""

    REQUEST = auto()
    RESPONSE = auto()
    FURTHER_REQUEST = auto()
    """A pipelining client sends a request while others are not answered yet."""
    EARLIER_RESPONSE = auto()
    """A response came, and others are still awaited."""
    CLOSE = auto()
    """We closed, the peer closed, or the peer broke the protocol."""


TRANSITIONS: Final = {
    (State.IDLE, Event.REQUEST): State.BUSY,
    (State.BUSY, Event.FURTHER_REQUEST): State.BUSY,
    (State.BUSY, Event.EARLIER_RESPONSE): State.BUSY,
    (State.BUSY, Event.RESPONSE): State.IDLE,
    (State.IDLE, Event.CLOSE): State.CLOSED,
    (State.BUSY, Event.CLOSE): State.CLOSED,
    (State.CLOSED, Event.CLOSE): State.CLOSED,
}
"""The allowed transitions. All others are forbidden."""

_REQUEST: Final = ttlv.key(tags.REQUEST_MESSAGE, ItemType.STRUCTURE).to_bytes(4, "big")
_RESPONSE: Final = ttlv.key(tags.RESPONSE_MESSAGE, ItemType.STRUCTURE).to_bytes(4, "big")


class Answer(NamedTuple):
    """A response, and its batch items in the order of the request.

    An item that the server did not answer is ``None``.
    """

    message: ResponseMessage
    items: tuple[ResponseBatchItem | None, ...]


class _Connection:
    """The part that both roles share: the state, and the framing of incoming bytes."""

    def __init__(self, incoming: bytes, limits: Limits) -> None:
        self._incoming = incoming
        self._limits = limits
        self._buffer = bytearray()
        self._length: int | None = None
        self.state = State.IDLE

    @property
    def is_receiving(self) -> bool:
        """True if bytes came that were not yet returned as a message."""
        return bool(self._buffer)

    def close(self) -> None:
        """Note that the transport was closed, by either side."""
        self.state = TRANSITIONS[self.state, Event.CLOSE]

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the transport. ``b""`` is the end of the stream and closes the connection.

        Raises LocalProtocolError if the connection is closed already.
        """
        if self.state is State.CLOSED:
            raise LocalProtocolError("the connection is closed")
        if not data:
            self.close()
        self._buffer += data

    def _next_message(self) -> bytes | None:
        """Return the first complete message in the buffer, or ``None`` if there is none yet.

        Raises TTLVError or RemoteProtocolError as soon as the bytes cannot become the expected message, or announce a
        message over the limit.
        """
        if self._length is None:
            self._length = self._announced_length()
        length = self._length
        if length is None or len(self._buffer) < length:
            return None
        message = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._length = None
        return message

    def _announced_length(self) -> int | None:
        """Return the length of the first message, including its header. ``None`` until its header is complete.

        Raises TTLVError or RemoteProtocolError.
        """
        if len(self._buffer) < 8:
            if not any(first.startswith(bytes(self._buffer[:4])) for first in (_REQUEST, _RESPONSE)):
                raise TTLVError("what came is not a KMIP message")
            return None
        first, length = bytes(self._buffer[:4]), int.from_bytes(self._buffer[4:8], "big")
        if first not in {_REQUEST, _RESPONSE}:
            raise TTLVError("what came is not a KMIP message")
        if first != self._incoming:
            raise RemoteProtocolError("a message of the wrong role came")
        if length & 7:
            raise TTLVError(f"a message has length {length}, not a multiple of 8")
        if length + 8 > self._limits.message_bytes:
            raise TTLVError(f"a message of {length + 8} bytes exceeds the limit", limit=True)
        return length + 8

    def _move(self, event: Event) -> None:
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise LocalProtocolError(f"no {event.name} is possible: the connection is {self.state.name}")
        self.state = following


class ClientConnection(_Connection):
    """The client's side: one request, then its answer.

    With ``depth`` above 1, so many requests may wait for answers. The answers must come in the order of the requests.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, depth: int = 1) -> None:
        super().__init__(_RESPONSE, limits)
        self._depth = depth
        self._requests: deque[RequestMessage] = deque()

    def send_request(self, request: RequestMessage) -> bytes:
        """Return the bytes of a request. The caller must now send all of them.

        Raises LocalProtocolError, with the state unchanged, in three cases. The message cannot be encoded; a batch of
        several items lacks distinct Unique Batch Item IDs; or the connection is not IDLE and has no room for a further
        request.
        """
        if self.state is State.IDLE and self._buffer:
            raise LocalProtocolError("unexpected bytes are waiting")
        items = request.batch_item
        if not items or request.request_header.batch_count != len(items):
            raise LocalProtocolError("Batch Count is not the number of batch items")
        if len(items) > 1:
            identifiers = {item.unique_batch_item_id for item in items}
            if None in identifiers or len(identifiers) < len(items):
                raise LocalProtocolError("the items of a batch need distinct Unique Batch Item IDs")
        data = encode_request(request)
        self._move(Event.FURTHER_REQUEST if 0 < len(self._requests) < self._depth else Event.REQUEST)
        self._requests.append(request)
        return data

    def next_answer(self) -> Answer | None:
        """Return the first answer if it is complete, otherwise ``None``.

        Raises TTLVError or RemoteProtocolError for an answer that cannot be read or does not fit the request, and for
        unexpected bytes. The connection is then CLOSED.
        """
        try:
            return self._read_answer()
        except KMIPError:
            self.close()
            raise

    def _read_answer(self) -> Answer | None:
        if not self._requests:
            if self._buffer:
                raise RemoteProtocolError("unexpected bytes came")
            return None
        data = self._next_message()
        if data is None:
            return None
        request = self._requests.popleft()
        if self._buffer and not self._requests:
            raise RemoteProtocolError("bytes follow the answer")
        message = decode_response(data, self._limits)
        answer = Answer(message, match(request, message))
        self._move(Event.EARLIER_RESPONSE if self._requests else Event.RESPONSE)
        return answer


class ServerConnection(_Connection):
    """The server's side: a request, then its response. Further requests wait in the buffer."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(_REQUEST, limits)

    def next_request(self) -> RequestMessage | None:
        """Return the next request if it is complete. Return ``None`` if not, and while a request is not answered.

        Raises TTLVError or RemoteProtocolError. The connection is then CLOSED.
        """
        if self.state is not State.IDLE:
            return None
        try:
            data = self._next_message()
            if data is None:
                return None
            request = decode_request(data, self._limits)
        except KMIPError:
            self.close()
            raise
        self._move(Event.REQUEST)
        return request

    def send_response(self, response: ResponseMessage) -> bytes:
        """Return the bytes of a response.

        Raises LocalProtocolError, with the state unchanged, unless the state is BUSY.
        """
        data = encode_response(response)
        self._move(Event.RESPONSE)
        return data


def match(request: RequestMessage, response: ResponseMessage) -> tuple[ResponseBatchItem | None, ...]:
    """Return the response's items in the request's order, matched by Unique Batch Item ID (KMIP 1.4 section 7.3).

    After a stop, items may be missing: ``None``. If the server could not process the message at all, it answers with
    one item without operation. That item then counts for every item. Raises RemoteProtocolError for an item that
    answers no item of the request.
    """
    asked, items = request.batch_item, response.batch_item
    if response.response_header.batch_count != len(items):
        raise RemoteProtocolError("Batch Count is not the number of batch items")
    sent = request.request_header.client_correlation_value
    if sent is not None and response.response_header.client_correlation_value not in {sent, None}:
        raise RemoteProtocolError("the answer carries another Client Correlation Value")
    if len(items) == 1 and items[0].unique_batch_item_id is None and (len(asked) == 1 or items[0].operation is None):
        matched: tuple[ResponseBatchItem | None, ...] = items * len(asked)
    else:
        by_identifier = {item.unique_batch_item_id: item for item in items}
        matched = tuple([by_identifier.get(item.unique_batch_item_id) for item in asked])
        if sum(item is not None for item in matched) < len(items):
            raise RemoteProtocolError("a batch item answers no item of the request")
    for request_item, item in zip(asked, matched, strict=True):
        if item is not None and item.operation not in {request_item.operation, None}:
            raise RemoteProtocolError("a batch item answers another operation")
    return matched
