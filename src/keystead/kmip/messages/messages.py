"""Request and Response Messages: headers, batch items and the table of payloads (KMIP 1.4 section 7).

A message is decoded by the rules of the version in its own header. The payload of an operation that is not in the table
stays a raw item. So does the payload of an answer other than Success.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from keystead.kmip.messages.headers import RequestHeader, ResponseHeader
from keystead.kmip.messages.payloads import (
    activate,
    add_attribute,
    create,
    delete_attribute,
    destroy,
    discover_versions,
    get,
    get_attribute_list,
    get_attributes,
    locate,
    modify_attribute,
    query,
    register,
    revoke,
    set_attribute,
)
from keystead.kmip.ttlv import enums, schema, tags, ttlv
from keystead.kmip.ttlv.enums import Operation, ResultStatus
from keystead.kmip.ttlv.errors import RemoteProtocolError
from keystead.kmip.ttlv.kinds import Raw, Select
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Item, ItemType, Limits
from keystead.kmip.ttlv.versions import V2_0, Version

PAYLOADS: Final[dict[Operation, tuple[type[Structure], type[Structure]]]] = {
    Operation.CREATE: (create.CreateRequestPayload, create.CreateResponsePayload),
    Operation.REGISTER: (register.RegisterRequestPayload, register.RegisterResponsePayload),
    Operation.LOCATE: (locate.LocateRequestPayload, locate.LocateResponsePayload),
    Operation.GET: (get.GetRequestPayload, get.GetResponsePayload),
    Operation.GET_ATTRIBUTES: (
        get_attributes.GetAttributesRequestPayload,
        get_attributes.GetAttributesResponsePayload,
    ),
    Operation.GET_ATTRIBUTE_LIST: (
        get_attribute_list.GetAttributeListRequestPayload,
        get_attribute_list.GetAttributeListResponsePayload,
    ),
    Operation.ADD_ATTRIBUTE: (add_attribute.AddAttributeRequestPayload, add_attribute.AddAttributeResponsePayload),
    Operation.MODIFY_ATTRIBUTE: (
        modify_attribute.ModifyAttributeRequestPayload,
        modify_attribute.ModifyAttributeResponsePayload,
    ),
    Operation.DELETE_ATTRIBUTE: (
        delete_attribute.DeleteAttributeRequestPayload,
        delete_attribute.DeleteAttributeResponsePayload,
    ),
    Operation.SET_ATTRIBUTE: (set_attribute.SetAttributeRequestPayload, set_attribute.SetAttributeResponsePayload),
    Operation.ACTIVATE: (activate.ActivateRequestPayload, activate.ActivateResponsePayload),
    Operation.REVOKE: (revoke.RevokeRequestPayload, revoke.RevokeResponsePayload),
    Operation.DESTROY: (destroy.DestroyRequestPayload, destroy.DestroyResponsePayload),
    Operation.QUERY: (query.QueryRequestPayload, query.QueryResponsePayload),
    Operation.DISCOVER_VERSIONS: (
        discover_versions.DiscoverVersionsRequestPayload,
        discover_versions.DiscoverVersionsResponsePayload,
    ),
}
"""The request payload and the response payload of each operation."""

OPERATIONS: Final = {request: operation for operation, (request, _) in PAYLOADS.items()}
"""The operation of each request payload."""

_REQUESTS: Final = {operation: request for operation, (request, _) in PAYLOADS.items()}
_RESPONSES: Final = {(operation, ResultStatus.SUCCESS): response for operation, (_, response) in PAYLOADS.items()}


@structure(tags.BATCH_ITEM)
class RequestBatchItem(Structure):
    """One request of a batch. Unique Batch Item ID is needed if there is more than one request."""

    operation: int = field(tags.OPERATION, enums.Operation)
    ephemeral: Item | None = field(tags.EPHEMERAL, Raw(), default=None, since=V2_0)
    unique_batch_item_id: bytes | None = field(tags.UNIQUE_BATCH_ITEM_ID, ItemType.BYTE_STRING, default=None)
    request_payload: Any = field(tags.REQUEST_PAYLOAD, Select(_REQUESTS, "operation"), kw_only=True)
    message_extension: tuple[Item, ...] = field(tags.MESSAGE_EXTENSION, Raw(), default=())


@structure(tags.BATCH_ITEM)
class ResponseBatchItem(Structure):
    """One answer of a batch. The operation is absent if the whole message failed."""

    operation: int | None = field(tags.OPERATION, enums.Operation, default=None)
    unique_batch_item_id: bytes | None = field(tags.UNIQUE_BATCH_ITEM_ID, ItemType.BYTE_STRING, default=None)
    result_status: int = field(tags.RESULT_STATUS, enums.ResultStatus, kw_only=True)
    result_reason: int | None = field(tags.RESULT_REASON, enums.ResultReason, default=None)
    result_message: str | None = field(tags.RESULT_MESSAGE, ItemType.TEXT_STRING, default=None)
    asynchronous_correlation_value: bytes | None = field(
        tags.ASYNCHRONOUS_CORRELATION_VALUE, ItemType.BYTE_STRING, default=None
    )
    response_payload: Any = field(tags.RESPONSE_PAYLOAD, Select(_RESPONSES, "operation", "result_status"), default=None)
    message_extension: tuple[Item, ...] = field(tags.MESSAGE_EXTENSION, Raw(), default=())


@structure(tags.REQUEST_MESSAGE)
class RequestMessage(Structure):
    """A Request Message."""

    request_header: RequestHeader = field(tags.REQUEST_HEADER, RequestHeader)
    batch_item: tuple[RequestBatchItem, ...] = field(tags.BATCH_ITEM, RequestBatchItem, default=())


@structure(tags.RESPONSE_MESSAGE)
class ResponseMessage(Structure):
    """A Response Message."""

    response_header: ResponseHeader = field(tags.RESPONSE_HEADER, ResponseHeader)
    batch_item: tuple[ResponseBatchItem, ...] = field(tags.BATCH_ITEM, ResponseBatchItem, default=())


def encode_request(message: RequestMessage) -> bytes:
    """Return the bytes of a request, in the version of its header. Raises LocalProtocolError."""
    return schema.encode(message, message.request_header.protocol_version.version)


def encode_response(message: ResponseMessage) -> bytes:
    """Return the bytes of a response, in the version of its header. Raises LocalProtocolError."""
    return schema.encode(message, message.response_header.protocol_version.version)


def decode_request(data: bytes, limits: Limits = DEFAULT_LIMITS) -> RequestMessage:
    """Return the request in ``data``. Raises TTLVError or RemoteProtocolError."""
    return schema.decode(RequestMessage, data, _header_version(data), limits)


def decode_response(data: bytes, limits: Limits = DEFAULT_LIMITS) -> ResponseMessage:
    """Return the response in ``data``. Raises TTLVError or RemoteProtocolError."""
    return schema.decode(ResponseMessage, data, _header_version(data), limits)


# The headers of message, header and Protocol Version, then two Integers: all have fixed positions.
_FIRST_ITEMS: Final = struct.Struct(">16xIIIIiIIIiI").unpack_from
_VERSION_KEYS: Final = (
    (ttlv.key(tags.PROTOCOL_VERSION, ItemType.STRUCTURE), 32),
    (ttlv.key(tags.PROTOCOL_VERSION_MAJOR, ItemType.INTEGER), 4),
    (ttlv.key(tags.PROTOCOL_VERSION_MINOR, ItemType.INTEGER), 4),
)


def _header_version(data: bytes) -> Version:
    """Return the protocol version, which decides how to read the rest. It must be the header's first field.

    Raises RemoteProtocolError.
    """
    try:
        structure_key, length, major_key, n, major, _, minor_key, m, minor, _ = _FIRST_ITEMS(data)
    except struct.error:
        raise RemoteProtocolError("a message is too short to hold a Protocol Version") from None
    if ((structure_key, length), (major_key, n), (minor_key, m)) != _VERSION_KEYS:
        raise RemoteProtocolError("a message does not begin with its Protocol Version")
    return major, minor
