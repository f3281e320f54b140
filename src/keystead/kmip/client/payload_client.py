"""A client that sends request payloads over one stream and returns their response payloads, one message at a time.

The deadline is for the whole call, even if bytes arrive one by one. If the answer of a call that was sent is not read
to the end, the connection is closed. Nothing is repeated, because a lost Create or Register may have been carried out.
KMIP 1.4 sections 6 and 7.
"""
# ruff: noqa: ASYNC109 - as in client.py

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from keystead.kmip.messages.connection import Answer, ClientConnection, State
from keystead.kmip.messages.headers import Authentication, Credential, ProtocolVersion, RequestHeader, ResponseHeader
from keystead.kmip.messages.messages import OPERATIONS, PAYLOADS, RequestBatchItem, RequestMessage, ResponseBatchItem
from keystead.kmip.ttlv.enums import BatchErrorContinuationOption, ResultStatus
from keystead.kmip.ttlv.errors import OperationFailed, RemoteProtocolError, TransportError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Limits
from keystead.kmip.ttlv.versions import V1_4, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keystead.kmip.ttlv.schema import Structure

ResponseT = TypeVar("ResponseT", bound="Structure")

if TYPE_CHECKING:
    BatchResult = Structure | OperationFailed | None
    """The result of one item of a batch: its response payload, its failure, or None without an answer."""


class ByteStream(Protocol):
    """The methods that the client needs of a connection, such as :class:`keystead.kmip.transport.tls.Stream`."""

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""

    async def receive(self) -> bytes:
        """Wait for bytes and return them. ``b""`` is the end of the stream."""

    def silent(self) -> bool:
        """Return True if the peer has neither closed nor sent data. Do not wait."""

    def close(self) -> None:
        """Close at once. It may be called twice."""


class PayloadClient:
    """The exchange of messages with one key server over one stream.

    ``version`` is the version of requests. ``response_header`` is the header of the last answer. ``on_request`` is
    called with the number of operations of each request message when it is sent.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        credential: Credential | None = None,
        version: Version = V1_4,
        limits: Limits = DEFAULT_LIMITS,
        on_request: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._on_request = on_request
        self._authentication = Authentication((credential,)) if credential else None
        self._connection = ClientConnection(limits)
        self._headers: dict[tuple[Version, int, int | None], RequestHeader] = {}
        self.version = version
        self.response_header: ResponseHeader | None = None

    @property
    def usable(self) -> bool:
        """True if another call may be made on this connection."""
        return self._connection.state is State.IDLE

    @property
    def alive(self) -> bool:
        """True if the connection is usable and the server has neither closed it nor sent data, as far as is known."""
        return self.usable and self._stream.silent()

    def close(self) -> None:
        """Close the connection at once. It may be called twice."""
        self._connection.close()
        self._stream.close()

    async def batch(
        self,
        payloads: Sequence[Structure],
        *,
        on_error: BatchErrorContinuationOption = BatchErrorContinuationOption.STOP,
        timeout: float | None = None,
    ) -> list[BatchResult]:
        """Send several operations in one message. The server does them in this order (KMIP 1.4 section 6.13).

        ``payloads`` are request payloads. From the second on, a payload without Unique Identifier means the ID
        Placeholder. Return for each payload its response payload, its OperationFailed, or ``None`` without an answer,
        as after a failure with Stop. If the server refused the whole message, each payload gets that failure.
        """
        if not payloads:
            return []
        answer = await self._exchange(self._request(self.version, payloads, on_error), timeout)
        return [self._result(answer, *pair) for pair in zip(payloads, answer.items, strict=True)]

    # --- requests ---

    def _header(self, version: Version, count: int, on_error: int | None) -> RequestHeader:
        key = version, count, on_error
        if key not in self._headers:
            self._headers[key] = RequestHeader(
                ProtocolVersion(*version),
                authentication=self._authentication,
                batch_error_continuation_option=on_error,
                batch_order_option=True,
                batch_count=count,
            )
        return self._headers[key]

    def _identifiers(self, count: int) -> Iterable[bytes | None]:
        """Return Unique Batch Item IDs that are distinct within the message. A single item needs none."""
        return [number.to_bytes(8, "big") for number in range(count)] if count > 1 else [None]

    def _request(self, version: Version, payloads: Sequence[Structure], on_error: int | None = None) -> RequestMessage:
        items = [
            RequestBatchItem(OPERATIONS[type(payload)], unique_batch_item_id=identifier, request_payload=payload)
            for payload, identifier in zip(payloads, self._identifiers(len(payloads)), strict=True)
        ]
        return RequestMessage(self._header(version, len(items), on_error), tuple(items))

    # --- one exchange ---

    async def _call(
        self,
        payload: Structure,
        response: type[ResponseT],
        timeout: float | None,
        header_version: Version | None = None,
    ) -> ResponseT:
        answer = await self._exchange(self._request(header_version or self.version, (payload,)), timeout)
        result = self._result(answer, payload, answer.items[0])
        if isinstance(result, OperationFailed):
            raise result
        if not isinstance(result, response):
            raise self._no_payload()
        return result

    def _result(self, answer: Answer, payload: Structure, item: ResponseBatchItem | None) -> BatchResult:
        self.response_header = answer.message.response_header
        if item is None:
            return None
        operation = OPERATIONS[type(payload)]
        if item.result_status != ResultStatus.SUCCESS:
            version = self.response_header.protocol_version.version
            return OperationFailed(operation, item.result_status, item.result_reason, item.result_message, version)
        if not isinstance(item.response_payload, PAYLOADS[operation][1]):
            raise self._no_payload()
        return item.response_payload

    def _no_payload(self) -> RemoteProtocolError:
        self.close()
        return RemoteProtocolError("the answer lacks its payload")

    async def _exchange(self, request: RequestMessage, timeout: float | None) -> Answer:
        data = self._connection.send_request(request)
        self._on_request(len(request.batch_item))
        try:
            async with asyncio.timeout(timeout):
                await self._stream.send(data)
                while received := await self._stream.receive():
                    self._connection.receive_data(received)
                    answer = self._connection.next_answer()
                    if answer is not None:
                        return answer
                raise TransportError("exchange", "the server closed the connection before it had answered")
        except TimeoutError as error:
            self.close()
            raise deadline_error() from error
        except BaseException:
            self.close()
            raise


def deadline_error() -> TransportError:
    """Return the error for a deadline that passed after sending. Raise it from the TimeoutError."""
    return TransportError("exchange", "no complete answer came in time")
