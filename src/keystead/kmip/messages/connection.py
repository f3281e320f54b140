"""The protocol on one connection without any I/O: messages to bytes, and bytes to messages.

It never waits, reads a clock or opens a socket. One request is in flight at a time, since nothing in the specification
says that a server must answer several in order; a client may be told to have more. The caller's duty is to send what
``send_*`` returned, to feed what came, ``b""`` at the end of the stream, and to close the transport when ``state`` is
CLOSED. A connection whose answers were not all read to the end is BUSY or CLOSED, never IDLE: only an IDLE one may be
used by somebody else. KMIP 1.4 sections 7 and 9.1.
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
    """What may happen next."""

    IDLE = auto()
    """A request may come."""
    BUSY = auto()
    """A request is there and not answered yet (several, of a client that pipelines)."""
    CLOSED = auto()
    """Nothing more: close the transport."""


class Event(IntEnum):
    """What happens, the same in both roles: a client sends the request, a server the response."""

    REQUEST = auto()
    RESPONSE = auto()
    FURTHER_REQUEST = auto()
    """A client that pipelines sends a request while others are not answered yet."""
    EARLIER_RESPONSE = auto()
    """A response came that leaves others to come."""
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
"""What is not here is not allowed."""

_REQUEST: Final = ttlv.key(tags.REQUEST_MESSAGE, ItemType.STRUCTURE).to_bytes(4, "big")
_RESPONSE: Final = ttlv.key(tags.RESPONSE_MESSAGE, ItemType.STRUCTURE).to_bytes(4, "big")


class Answer(NamedTuple):
    """A response, and its batch items in the order of the request; ``None`` for one that the server did not answer."""

    message: ResponseMessage
    items: tuple[ResponseBatchItem | None, ...]


class _Connection:
    """What both roles share: the state, and the framing of what comes in."""

    def __init__(self, incoming: bytes, limits: Limits) -> None:
        self._incoming = incoming
        self._limits = limits
        self._buffer = bytearray()
        self._length: int | None = None
        self.state = State.IDLE

    def close(self) -> None:
        """Note that the transport was closed, by whichever side."""
        self.state = TRANSITIONS[self.state, Event.CLOSE]

    def receive_data(self, data: bytes) -> None:
        """Take what the transport brought; ``b""`` is the end of the stream and closes the connection.

        Raises LocalProtocolError when it is closed already.
        """
        if self.state is State.CLOSED:
            raise LocalProtocolError("the connection is closed")
        if not data:
            self.close()
        self._buffer += data

    def _next_message(self) -> bytes | None:
        """Return the first complete message in the buffer, or ``None`` until there is one.

        Raises TTLVError or RemoteProtocolError as soon as the bytes cannot become the message expected, or announce
        more of them than the limit allows.
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
        """Return the length of the message that has begun, header included; ``None`` until its header is there."""
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

    With ``depth`` above 1 so many requests may await their answers, which must come in the order of the requests.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, depth: int = 1) -> None:
        super().__init__(_RESPONSE, limits)
        self._depth = depth
        self._requests: deque[RequestMessage] = deque()

    def send_request(self, request: RequestMessage) -> bytes:
        """Return the bytes of a request, all of which must now be sent.

        Raises LocalProtocolError, the state unchanged, for a message that cannot be encoded, for a batch of several
        items without distinct Unique Batch Item IDs, and unless the connection is IDLE or has room for a further one.
        """
        if self.state is State.IDLE and self._buffer:
            raise LocalProtocolError("bytes are waiting that nobody asked for")
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
        """Return the first answer once all of it is there, else ``None``.

        Raises TTLVError or RemoteProtocolError, the connection then being CLOSED, for an answer that cannot be read or
        is not one to the request, and for bytes that nobody asked for.
        """
        try:
            return self._read_answer()
        except KMIPError:
            self.close()
            raise

    def _read_answer(self) -> Answer | None:
        if not self._requests:
            if self._buffer:
                raise RemoteProtocolError("bytes came that nobody asked for")
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
    """The server's side: a request, then its response; further requests wait in the buffer."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(_REQUEST, limits)

    def next_request(self) -> RequestMessage | None:
        """Return the next request once all of it is there, else ``None``; also while one is not answered yet.

        Raises TTLVError or RemoteProtocolError, the connection then being CLOSED.
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
        """Return the bytes of a response; raises LocalProtocolError, the state unchanged, unless it is BUSY."""
        data = encode_response(response)
        self._move(Event.RESPONSE)
        return data


def match(request: RequestMessage, response: ResponseMessage) -> tuple[ResponseBatchItem | None, ...]:
    """Return the response's items in the request's order, found by Unique Batch Item ID (KMIP 1.4 section 7.3).

    A batch that stopped may lack some: ``None``. When the server could not take the message at all it answers with one
    item that names no operation, which then stands for every item. Raises RemoteProtocolError for items that answer
    nothing.
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
            raise RemoteProtocolError("a batch item answers none of the request's")
    for request_item, item in zip(asked, matched, strict=True):
        if item is not None and item.operation not in {request_item.operation, None}:
            raise RemoteProtocolError("a batch item answers another operation")
    return matched
