"""What a small key server answers: requests in, responses out, objects in memory.

For tests (see :mod:`keystead.kmip.testing`): it keeps keys in clear and checks nothing but what a client can notice. No
I/O; the clock is an argument. It knows the operations that :mod:`keystead.kmip.messages` has payloads for.
KMIP 1.4 section 4, and section 3.22 for the life cycle.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keystead.kmip import tags
from keystead.kmip.attributes import TAGS, Attribute, Attributes, TemplateAttribute, attribute
from keystead.kmip.enums import (
    CryptographicAlgorithm,
    Operation,
    QueryFunction,
    ResultReason,
    ResultStatus,
    RevocationReasonCode,
    State,
)
from keystead.kmip.headers import ProtocolVersion, ResponseHeader, UsernameAndPassword
from keystead.kmip.messages import RequestBatchItem, RequestMessage, ResponseBatchItem, ResponseMessage
from keystead.kmip.objects import KeyBlock, raw_key
from keystead.kmip.payloads.activate import ActivateRequestPayload, ActivateResponsePayload
from keystead.kmip.payloads.add_attribute import AddAttributeRequestPayload, AddAttributeResponsePayload
from keystead.kmip.payloads.create import CreateRequestPayload, CreateResponsePayload
from keystead.kmip.payloads.destroy import DestroyRequestPayload, DestroyResponsePayload
from keystead.kmip.payloads.discover_versions import DiscoverVersionsRequestPayload, DiscoverVersionsResponsePayload
from keystead.kmip.payloads.get import GetRequestPayload, GetResponsePayload
from keystead.kmip.payloads.get_attribute_list import GetAttributeListRequestPayload, GetAttributeListResponsePayload
from keystead.kmip.payloads.get_attributes import GetAttributesRequestPayload, GetAttributesResponsePayload
from keystead.kmip.payloads.locate import LocateRequestPayload, LocateResponsePayload
from keystead.kmip.payloads.query import QueryRequestPayload, QueryResponsePayload
from keystead.kmip.payloads.register import RegisterRequestPayload, RegisterResponsePayload
from keystead.kmip.payloads.revoke import RevokeRequestPayload, RevokeResponsePayload
from keystead.kmip.versions import V1_0, V2_0, VERSIONS, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from keystead.kmip.objects import ManagedObject
    from keystead.kmip.schema import Structure

COMPROMISED: Final = {RevocationReasonCode.KEY_COMPROMISE, RevocationReasonCode.CA_COMPROMISE}


class Refusal(Exception):  # noqa: N818 - becomes a Result Reason, never an error of Python
    """A request is answered with Operation Failed and this reason."""

    def __init__(self, reason: ResultReason) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass
class Stored:
    """One Managed Object: what it is, and its attributes in the order in which they were set."""

    object_type: int
    managed_object: ManagedObject = field(repr=False)
    attributes: list[Attribute]

    @property
    def state(self) -> State:
        """The State attribute."""
        return next(State(entry.attribute_value) for entry in self.attributes if entry.attribute_name == "State")

    def change_state(self, state: State) -> None:
        """Replace the State attribute."""
        self.attributes = [entry for entry in self.attributes if entry.attribute_name != "State"]
        self.attributes.append(attribute("State", state))

    def has(self, wanted: Attribute) -> bool:
        """Whether the object has that attribute with that value, whatever its index."""
        return any(
            (entry.attribute_name, entry.attribute_value) == (wanted.attribute_name, wanted.attribute_value)
            for entry in self.attributes
        )


class Responder:
    """A key server's mind. ``versions`` are those it speaks; without 1.1 or later it has no Discover Versions.

    ``users`` (user name to password), when given, must be met by every request. ``refusals`` (operation to Result
    Reason) makes operations fail. Both may be changed at any time.
    """

    def __init__(
        self,
        versions: Iterable[Version] = VERSIONS,
        *,
        users: Mapping[str, str] | None = None,
        vendor: str = "Keystead test key server",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.versions = tuple(versions)
        self.users = users
        self.refusals: dict[Operation, ResultReason] = {}
        self.objects: dict[str, Stored] = {}
        self._vendor = vendor
        self._clock = clock

    def respond(self, request: RequestMessage) -> ResponseMessage:
        """Return the answer to a request, whatever it is; a failure of one item stops the batch."""
        header = request.request_header
        version = header.protocol_version.version
        if version not in self.versions:
            return self._message(max(self.versions), [_failed(ResultReason.INVALID_MESSAGE)])
        if self.users is not None and not self._known_user(request):
            return self._message(version, [_failed(ResultReason.AUTHENTICATION_NOT_SUCCESSFUL)])
        items = []
        batch = _Batch(self, version)
        for item in request.batch_item:
            items.append(batch.answer(item))
            if items[-1].result_status != ResultStatus.SUCCESS:
                break
        return self._message(version, items)

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._clock())

    def vendor(self) -> str:
        """The Vendor Identification."""
        return self._vendor

    def _known_user(self, request: RequestMessage) -> bool:
        authentication = request.request_header.authentication
        values = [entry.credential_value for entry in authentication.credential] if authentication else []
        return any(
            isinstance(value, UsernameAndPassword) and (self.users or {}).get(value.username) == value.password
            for value in values
        )

    def _message(self, version: Version, items: list[ResponseBatchItem]) -> ResponseMessage:
        header = ResponseHeader(ProtocolVersion(*version), self.now(), batch_count=len(items))
        return ResponseMessage(header, tuple(items))


class _Batch:
    """The operations, in one batch: they share the ID Placeholder (KMIP 1.4 section 4)."""

    def __init__(self, server: Responder, version: Version) -> None:
        self._server = server
        self._version = version
        self._placeholder: str | None = None

    def answer(self, item: RequestBatchItem) -> ResponseBatchItem:
        try:
            payload = self._payload(item)
        except Refusal as refusal:
            return _failed(refusal.reason, item)
        return ResponseBatchItem(
            item.operation, item.unique_batch_item_id, result_status=ResultStatus.SUCCESS, response_payload=payload
        )

    def _payload(self, item: RequestBatchItem) -> Structure:
        refusal = self._server.refusals.get(Operation(item.operation)) if item.operation in _HANDLERS else None
        if refusal is not None:
            raise Refusal(refusal)
        if item.operation not in self.operations():
            raise Refusal(ResultReason.OPERATION_NOT_SUPPORTED)
        payload: Structure = _HANDLERS[Operation(item.operation)](self, item.request_payload)
        return payload

    def operations(self) -> tuple[Operation, ...]:
        if max(self._server.versions) == V1_0:
            return tuple(operation for operation in _HANDLERS if operation != Operation.DISCOVER_VERSIONS)
        return tuple(_HANDLERS)

    # --- the server ---

    def discover_versions(self, request: DiscoverVersionsRequestPayload) -> DiscoverVersionsResponsePayload:
        asked = [entry.version for entry in request.protocol_version] or self._server.versions
        common = [version for version in self._server.versions if version in asked]
        return DiscoverVersionsResponsePayload(tuple(ProtocolVersion(*version) for version in common))

    def query(self, request: QueryRequestPayload) -> QueryResponsePayload:
        asked = request.query_function
        return QueryResponsePayload(
            operation=self.operations() if QueryFunction.QUERY_OPERATIONS in asked else (),
            vendor_identification=(self._server.vendor() if QueryFunction.QUERY_SERVER_INFORMATION in asked else None),
        )

    # --- objects ---

    def create(self, request: CreateRequestPayload) -> CreateResponsePayload:
        attributes = _attributes(request.template_attribute, request.attributes)
        wanted = {entry.attribute_name: entry.attribute_value for entry in attributes}
        try:
            length = wanted["Cryptographic Length"]
            key = raw_key(os.urandom(length // 8), CryptographicAlgorithm(wanted["Cryptographic Algorithm"]))
        except (KeyError, ValueError):
            raise Refusal(ResultReason.INVALID_FIELD) from None
        return CreateResponsePayload(request.object_type, self._store(request.object_type, key, attributes))

    def register(self, request: RegisterRequestPayload) -> RegisterResponsePayload:
        if request.managed_object is None:
            raise Refusal(ResultReason.MISSING_DATA)
        attributes = _attributes(request.template_attribute, request.attributes)
        names = {entry.attribute_name for entry in attributes}
        attributes += [entry for entry in _of_key(request.managed_object) if entry.attribute_name not in names]
        return RegisterResponsePayload(self._store(request.object_type, request.managed_object, attributes))

    def locate(self, request: LocateRequestPayload) -> LocateResponsePayload:
        wanted = [*request.attribute, *(request.attributes.attributes if request.attributes else ())]
        found = [
            identifier
            for identifier, stored in self._server.objects.items()
            if all(isinstance(entry, Attribute) and stored.has(entry) for entry in wanted)
        ]
        start = request.offset_items or 0
        stop = None if request.maximum_items is None else start + request.maximum_items
        self._placeholder = found[0] if len(found) == 1 else None
        return LocateResponsePayload(unique_identifier=tuple(found[start:stop]))

    def get(self, request: GetRequestPayload) -> GetResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        if request.key_wrapping_specification:
            raise Refusal(ResultReason.FEATURE_NOT_SUPPORTED)
        block = getattr(stored.managed_object, "key_block", None)
        if request.key_format_type is not None and (block is None or block.key_format_type != request.key_format_type):
            raise Refusal(ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED)
        return GetResponsePayload(stored.object_type, identifier, stored.managed_object)

    def destroy(self, request: DestroyRequestPayload) -> DestroyResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        if stored.state == State.ACTIVE:
            raise Refusal(ResultReason.ILLEGAL_OPERATION)
        del self._server.objects[identifier]
        return DestroyResponsePayload(identifier)

    # --- attributes and life cycle ---

    def get_attributes(self, request: GetAttributesRequestPayload) -> GetAttributesResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        references = [tags.NAMES.get(entry) for entry in request.attribute_reference if isinstance(entry, int)]
        names = [*request.attribute_name, *references]
        chosen = tuple(entry for entry in stored.attributes if not names or entry.attribute_name in names)
        if self._version < V2_0:
            return GetAttributesResponsePayload(identifier, chosen)
        known = tuple(
            Attribute(entry.attribute_name, None, entry.attribute_value)
            for entry in chosen
            if entry.attribute_name in TAGS
        )
        return GetAttributesResponsePayload(identifier, attributes=Attributes(known))

    def get_attribute_list(self, request: GetAttributeListRequestPayload) -> GetAttributeListResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        names = tuple(dict.fromkeys(entry.attribute_name for entry in stored.attributes))
        if self._version < V2_0:
            return GetAttributeListResponsePayload(identifier, names)
        references = tuple(TAGS[name] for name in names if name in TAGS)
        return GetAttributeListResponsePayload(identifier, attribute_reference=references)

    def add_attribute(self, request: AddAttributeRequestPayload) -> AddAttributeResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        added = [request.attribute, *(request.new_attribute.attributes if request.new_attribute else ())]
        known = [entry for entry in added if isinstance(entry, Attribute)]
        if len(known) != 1:
            raise Refusal(ResultReason.INVALID_FIELD)
        stored.attributes += known
        return AddAttributeResponsePayload(identifier, request.attribute)

    def activate(self, request: ActivateRequestPayload) -> ActivateResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        if stored.state != State.PRE_ACTIVE:
            raise Refusal(ResultReason.ILLEGAL_OPERATION)
        stored.change_state(State.ACTIVE)
        stored.attributes.append(attribute("Activation Date", self._server.now()))
        return ActivateResponsePayload(identifier)

    def revoke(self, request: RevokeRequestPayload) -> RevokeResponsePayload:
        identifier, stored = self._find(request.unique_identifier)
        compromised = request.revocation_reason.revocation_reason_code in COMPROMISED
        if not compromised and stored.state != State.ACTIVE:
            raise Refusal(ResultReason.ILLEGAL_OPERATION)
        stored.change_state(State.COMPROMISED if compromised else State.DEACTIVATED)
        stored.attributes.append(attribute("Revocation Reason", request.revocation_reason))
        return RevokeResponsePayload(identifier)

    def _store(self, object_type: int, managed_object: ManagedObject, attributes: list[Attribute]) -> str:
        identifier = str(uuid.uuid4())
        own = [
            attribute("Unique Identifier", identifier),
            attribute("Object Type", object_type),
            *attributes,
            attribute("State", State.PRE_ACTIVE),
            attribute("Initial Date", self._server.now()),
        ]
        self._server.objects[identifier] = Stored(object_type, managed_object, own)
        self._placeholder = identifier
        return identifier

    def _find(self, identifier: Any) -> tuple[str, Stored]:
        name = self._placeholder if identifier is None else identifier
        stored = self._server.objects.get(name) if isinstance(name, str) else None
        if stored is None:
            raise Refusal(ResultReason.ITEM_NOT_FOUND)
        return str(name), stored


_HANDLERS: Final[dict[Operation, Callable[[_Batch, Any], Structure]]] = {
    Operation.DISCOVER_VERSIONS: _Batch.discover_versions,
    Operation.QUERY: _Batch.query,
    Operation.CREATE: _Batch.create,
    Operation.REGISTER: _Batch.register,
    Operation.LOCATE: _Batch.locate,
    Operation.GET: _Batch.get,
    Operation.GET_ATTRIBUTES: _Batch.get_attributes,
    Operation.GET_ATTRIBUTE_LIST: _Batch.get_attribute_list,
    Operation.ADD_ATTRIBUTE: _Batch.add_attribute,
    Operation.ACTIVATE: _Batch.activate,
    Operation.REVOKE: _Batch.revoke,
    Operation.DESTROY: _Batch.destroy,
}


def _failed(reason: ResultReason, item: RequestBatchItem | None = None) -> ResponseBatchItem:
    """The failure of one item; without it, of the whole message, which then names no operation."""
    return ResponseBatchItem(
        item.operation if item else None,
        item.unique_batch_item_id if item else None,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=reason,
        result_message=reason.name.replace("_", " ").capitalize(),
    )


def _attributes(template: TemplateAttribute | None, attributes: Attributes | None) -> list[Attribute]:
    """The attributes of a request, whichever form they came in; vendor attributes are left out."""
    given = [*(template.attribute if template else ()), *(attributes.attributes if attributes else ())]
    return [entry for entry in given if isinstance(entry, Attribute)]


def _of_key(managed_object: ManagedObject) -> list[Attribute]:
    """The attributes that the server reads off the object itself."""
    block = getattr(managed_object, "key_block", None)
    if not isinstance(block, KeyBlock):
        return []
    found = {
        "Cryptographic Algorithm": block.cryptographic_algorithm,
        "Cryptographic Length": block.cryptographic_length,
    }
    return [attribute(name, value) for name, value in found.items() if value is not None]
