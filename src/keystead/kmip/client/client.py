"""The client: typed operations on one connection, one call at a time.

The deadline is for the whole call, even if bytes arrive one by one. If the answer of a call that was sent is not read
to the end, the connection is closed. Nothing is repeated, because a lost Create or Register may have been carried out.
The client does no TLS and no name resolution: it is given a stream. See also ``pool.py`` and ``pipeline.py``. KMIP 1.4
section 4, KMIP 2.1 section 6.
"""
# ruff: noqa: ASYNC109 - each call promises a time-out for the whole call; a caller's asyncio.timeout() works as well

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from keystead.kmip.messages.attributes import (
    TAGS,
    Attribute,
    Attributes,
    RevocationReason,
    TemplateAttribute,
    VendorAttribute,
)
from keystead.kmip.messages.connection import Answer, ClientConnection, State
from keystead.kmip.messages.headers import Authentication, Credential, ProtocolVersion, RequestHeader, ResponseHeader
from keystead.kmip.messages.messages import OPERATIONS, PAYLOADS, RequestBatchItem, RequestMessage, ResponseBatchItem
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload, ActivateResponsePayload
from keystead.kmip.messages.payloads.add_attribute import AddAttributeRequestPayload, AddAttributeResponsePayload
from keystead.kmip.messages.payloads.create import CreateRequestPayload, CreateResponsePayload
from keystead.kmip.messages.payloads.destroy import DestroyRequestPayload, DestroyResponsePayload
from keystead.kmip.messages.payloads.discover_versions import (
    DiscoverVersionsRequestPayload,
    DiscoverVersionsResponsePayload,
)
from keystead.kmip.messages.payloads.get import GetRequestPayload, GetResponsePayload
from keystead.kmip.messages.payloads.get_attribute_list import (
    GetAttributeListRequestPayload,
    GetAttributeListResponsePayload,
)
from keystead.kmip.messages.payloads.get_attributes import GetAttributesRequestPayload, GetAttributesResponsePayload
from keystead.kmip.messages.payloads.locate import LocateRequestPayload, LocateResponsePayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload, QueryResponsePayload
from keystead.kmip.messages.payloads.register import RegisterRequestPayload, RegisterResponsePayload
from keystead.kmip.messages.payloads.revoke import RevokeRequestPayload, RevokeResponsePayload
from keystead.kmip.ttlv.enums import (
    BatchErrorContinuationOption,
    ObjectType,
    QueryFunction,
    ResultReason,
    ResultStatus,
    RevocationReasonCode,
)
from keystead.kmip.ttlv.errors import (
    LocalProtocolError,
    NoCommonVersion,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
)
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Item, Limits
from keystead.kmip.ttlv.versions import V1_0, V1_1, V1_4, V2_0, VERSIONS, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.kmip.messages.objects import KeyWrappingSpecification, ManagedObject
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


class Client:
    """The operations of one key server over one stream.

    ``version`` is the version of requests; :meth:`negotiate` sets it. ``response_header`` is the header of the last
    answer. Every operation takes ``timeout``, the seconds for the whole call. It raises OperationFailed,
    RemoteProtocolError, TTLVError or TransportError. LocalProtocolError is a mistake of the caller; then nothing is
    sent. After any other error than OperationFailed and LocalProtocolError the connection is closed. A Unique
    Identifier may be ``None`` only inside a :meth:`batch`.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        credential: Credential | None = None,
        version: Version = V1_4,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._stream = stream
        self._authentication = Authentication((credential,)) if credential else None
        self._connection = ClientConnection(limits)
        self._headers: dict[tuple[Version, int, int | None], RequestHeader] = {}
        self.version = version
        self.offered: tuple[Version, ...] = ()
        """The versions that the server named in :meth:`negotiate`."""
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

    # --- versions ---

    async def negotiate(self, versions: Sequence[Version] = VERSIONS, *, timeout: float | None = None) -> Version:
        """Choose the highest version that both sides have, use it from now on, and return it.

        A server without Discover Versions has only 1.0 (KMIP 1.4 section 4.26). A server that rejects the message's
        version names another in its header, and is asked once more with that. Raises NoCommonVersion if there is none.
        """
        try:
            async with asyncio.timeout(timeout):
                self.offered = await self._offered(versions)
        except TimeoutError as error:  # the time-out cancelled the inner call, which closed the connection
            raise deadline_error() from error
        common = [version for version in self.offered if version in versions]
        if not common:
            raise NoCommonVersion(self.offered)
        self.version = max(common)
        return self.version

    async def _offered(self, versions: Sequence[Version]) -> tuple[Version, ...]:
        header_version = V1_1
        while True:
            try:
                return await self.discover_versions(versions, header_version=header_version)
            except OperationFailed as failure:
                if failure.reason == ResultReason.OPERATION_NOT_SUPPORTED:
                    return (V1_0,)
                retry = failure.reason == ResultReason.INVALID_MESSAGE and header_version == V1_1
                if not retry or failure.version in {V1_1, None} or failure.version not in versions:
                    raise
                header_version = failure.version

    async def discover_versions(
        self, versions: Iterable[Version] = (), *, header_version: Version = V1_1, timeout: float | None = None
    ) -> tuple[Version, ...]:
        """Return those of ``versions`` (default: all) that the server has, in its order of preference."""
        request = DiscoverVersionsRequestPayload(tuple(ProtocolVersion(*version) for version in versions))
        answer = await self._call(request, DiscoverVersionsResponsePayload, timeout, header_version)
        return tuple(offered.version for offered in answer.protocol_version)

    # --- the server ---

    async def query(
        self,
        functions: Iterable[int] = (QueryFunction.QUERY_OPERATIONS, QueryFunction.QUERY_SERVER_INFORMATION),
        *,
        timeout: float | None = None,
    ) -> QueryResponsePayload:
        """Ask the server for its properties, such as its operations."""
        return await self._call(QueryRequestPayload(tuple(functions)), QueryResponsePayload, timeout)

    # --- objects ---

    async def create(
        self,
        attributes: Iterable[Attribute],
        *,
        object_type: ObjectType = ObjectType.SYMMETRIC_KEY,
        timeout: float | None = None,
    ) -> CreateResponsePayload:
        """Let the server make a key. Give Cryptographic Algorithm, Length and Usage Mask."""
        request = CreateRequestPayload(object_type, **self._object_attributes(attributes))
        return await self._call(request, CreateResponsePayload, timeout)

    async def register(
        self,
        managed_object: ManagedObject,
        attributes: Iterable[Attribute] = (),
        *,
        object_type: ObjectType,
        timeout: float | None = None,
    ) -> RegisterResponsePayload:
        """Register an object on the server."""
        request = self._registration(managed_object, attributes, object_type)
        return await self._call(request, RegisterResponsePayload, timeout)

    async def register_and_get(
        self,
        managed_object: ManagedObject,
        attributes: Iterable[Attribute] = (),
        *,
        object_type: ObjectType,
        timeout: float | None = None,
    ) -> tuple[RegisterResponsePayload | OperationFailed | None, GetResponsePayload | OperationFailed | None]:
        """Register an object and read it back in one message. Return the two results of :meth:`batch`."""
        request = self._registration(managed_object, attributes, object_type)
        registered, got = await self.batch([request, GetRequestPayload()], timeout=timeout)
        return (
            cast("RegisterResponsePayload | OperationFailed | None", registered),
            cast("GetResponsePayload | OperationFailed | None", got),
        )

    async def locate(
        self,
        attributes: Iterable[Attribute] = (),
        *,
        maximum_items: int | None = None,
        offset_items: int | None = None,
        timeout: float | None = None,
    ) -> LocateResponsePayload:
        """Find the objects that have all these attributes. ``offset_items`` needs version 1.3."""
        request = LocateRequestPayload(maximum_items, offset_items, **self._attributes(attributes))
        return await self._call(request, LocateResponsePayload, timeout)

    async def get(
        self,
        unique_identifier: str | Item,
        *,
        key_format_type: int | None = None,
        key_wrapping_specification: KeyWrappingSpecification | None = None,
        timeout: float | None = None,
    ) -> GetResponsePayload:
        """Read an object with its key material."""
        request = GetRequestPayload(
            unique_identifier, key_format_type, key_wrapping_specification=key_wrapping_specification
        )
        return await self._call(request, GetResponsePayload, timeout)

    # --- attributes ---

    async def get_attributes(
        self, unique_identifier: str | Item, names: Iterable[str] = (), *, timeout: float | None = None
    ) -> GetAttributesResponsePayload:
        """Read attributes by the specification's names. Without names, read all."""
        if self.version < V2_0:
            request = GetAttributesRequestPayload(unique_identifier, attribute_name=tuple(names))
        else:
            references = tuple(_attribute_tag(name) for name in names)
            request = GetAttributesRequestPayload(unique_identifier, attribute_reference=references)
        return await self._call(request, GetAttributesResponsePayload, timeout)

    async def get_attribute_list(
        self, unique_identifier: str | Item, *, timeout: float | None = None
    ) -> GetAttributeListResponsePayload:
        """Read the names of an object's attributes."""
        request = GetAttributeListRequestPayload(unique_identifier)
        return await self._call(request, GetAttributeListResponsePayload, timeout)

    async def add_attribute(
        self, unique_identifier: str | Item, attribute: Attribute | VendorAttribute, *, timeout: float | None = None
    ) -> AddAttributeResponsePayload:
        """Add one attribute to an object. A VendorAttribute needs version 2.0."""
        if self.version >= V2_0:
            request = AddAttributeRequestPayload(unique_identifier, new_attribute=Attributes((attribute,)))
        else:
            request = AddAttributeRequestPayload(unique_identifier, cast("Attribute", attribute))
        return await self._call(request, AddAttributeResponsePayload, timeout)

    # --- life cycle ---

    async def activate(self, unique_identifier: str | Item, *, timeout: float | None = None) -> ActivateResponsePayload:
        """Make a Pre-Active object Active."""
        return await self._call(ActivateRequestPayload(unique_identifier), ActivateResponsePayload, timeout)

    async def revoke(
        self,
        unique_identifier: str | Item,
        reason: RevocationReasonCode,
        message: str | None = None,
        *,
        compromise_occurrence_date: int | None = None,
        timeout: float | None = None,
    ) -> RevokeResponsePayload:
        """Deactivate an object or declare it compromised. The date is in seconds since 1970."""
        request = RevokeRequestPayload(
            unique_identifier,
            revocation_reason=RevocationReason(reason, message),
            compromise_occurrence_date=compromise_occurrence_date,
        )
        return await self._call(request, RevokeResponsePayload, timeout)

    async def destroy(self, unique_identifier: str | Item, *, timeout: float | None = None) -> DestroyResponsePayload:
        """Destroy an object's key material. An Active object must be revoked first."""
        return await self._call(DestroyRequestPayload(unique_identifier), DestroyResponsePayload, timeout)

    # --- several at once ---

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

    async def get_many(
        self, unique_identifiers: Iterable[str | Item], *, timeout: float | None = None
    ) -> list[GetResponsePayload | OperationFailed | None]:
        """Read several objects with their key material in one message. Return the results of :meth:`batch`."""
        payloads = [GetRequestPayload(identifier) for identifier in unique_identifiers]
        results = await self.batch(payloads, on_error=BatchErrorContinuationOption.CONTINUE, timeout=timeout)
        return cast("list[GetResponsePayload | OperationFailed | None]", results)

    # --- one exchange ---

    def _attributes(self, attributes: Iterable[Attribute]) -> dict[str, Any]:
        if self.version < V2_0:
            return {"attribute": tuple(attributes)}
        return {"attributes": Attributes(tuple(attributes))}

    def _object_attributes(self, attributes: Iterable[Attribute]) -> dict[str, Any]:
        own = self._attributes(attributes)
        return {"template_attribute": TemplateAttribute(**own)} if self.version < V2_0 else own

    def _registration(
        self, managed_object: ManagedObject, attributes: Iterable[Attribute], object_type: ObjectType
    ) -> RegisterRequestPayload:
        own = self._object_attributes(attributes)
        return RegisterRequestPayload(object_type, managed_object=managed_object, **own)

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


def _attribute_tag(name: str) -> int:
    if name not in TAGS:
        raise LocalProtocolError("an attribute that KMIP 2.x does not have")
    return TAGS[name]
