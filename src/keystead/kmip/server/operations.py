"""The operations of a small key server on its objects. Each takes a request payload and returns a response payload.

An operation may raise Refusal instead. This module is a part of :mod:`keystead.kmip.server.responder`, which handles
messages and batches. Here is the effect of each operation on the :class:`~keystead.kmip.server.storage.Store`, as the
:class:`~keystead.kmip.server.profile.Profile` says. No I/O. KMIP 1.4 section 4 for the operations, 3.22 for the life
cycle, 11 for the Result Reasons.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol

from keystead.kmip.messages.attributes import TAGS, Attribute, Attributes, TemplateAttribute, attribute
from keystead.kmip.messages.headers import ProtocolVersion
from keystead.kmip.messages.objects import KeyBlock, raw_key
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
from keystead.kmip.server.profile import OPERATIONS, Offset
from keystead.kmip.server.refusal import Refusal
from keystead.kmip.server.storage import Stored, spoiled
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.enums import (
    CryptographicAlgorithm,
    Operation,
    QueryFunction,
    ResultReason,
    RevocationReasonCode,
    State,
)
from keystead.kmip.ttlv.versions import V1_0, V1_3, V2_0, Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.kmip.messages.objects import ManagedObject
    from keystead.kmip.server.profile import Profile
    from keystead.kmip.server.storage import Store
    from keystead.kmip.ttlv.schema import Structure


COMPROMISED: Final = {RevocationReasonCode.KEY_COMPROMISE, RevocationReasonCode.CA_COMPROMISE}
DATES: Final = {
    State.ACTIVE: "Activation Date",
    State.DEACTIVATED: "Deactivation Date",
    State.COMPROMISED: "Compromise Date",
    State.DESTROYED: "Destroy Date",
    State.DESTROYED_COMPROMISED: "Destroy Date",
}
"""The attribute with the time at which a state began."""


class KeyServerState(Protocol):
    """The state of the server that operations read and change; see :class:`.responder.Responder`."""

    versions: tuple[Version, ...]
    profile: Profile
    store: Store
    refusals: dict[Operation, ResultReason]
    capacity: int | None
    capacity_reason: ResultReason
    lying: bool

    def now(self) -> int:
        """Return the seconds since 1970."""

    def vendor(self) -> str:
        """Return the Vendor Identification."""


class Batch:
    """The operations of one batch for one client. They share the ID Placeholder (KMIP 1.4 section 4)."""

    def __init__(self, server: KeyServerState, version: Version, client: str | None) -> None:
        self._server = server
        self._profile = server.profile
        self._store = server.store
        self._version = version
        self._client = client
        self._placeholder: str | None = None

    def perform(self, operation: int, request: Any) -> Structure:
        """Do one operation and return the response payload. Raises Refusal; then nothing was changed."""
        known = Operation(operation) if operation in _HANDLERS else None
        if known is None:
            raise Refusal(ResultReason.OPERATION_NOT_SUPPORTED)
        reason = self._server.refusals.get(known) or self._profile.refusals.get(known)
        if reason is not None:
            raise Refusal(reason)
        if known not in self.operations():
            raise Refusal(ResultReason.OPERATION_NOT_SUPPORTED)
        payload: Structure = _HANDLERS[known](self, request)
        return payload

    def operations(self) -> tuple[Operation, ...]:
        """Return the operations of the profile. With version 1.0 only, Discover Versions is left out."""
        absent = {Operation.DISCOVER_VERSIONS} if max(self._server.versions) == V1_0 else set()
        return tuple(entry for entry in OPERATIONS if entry in self._profile.operations - absent)

    # --- the server ---

    def discover_versions(self, request: DiscoverVersionsRequestPayload) -> DiscoverVersionsResponsePayload:
        """Return those of the requested versions that the server has."""
        asked = [entry.version for entry in request.protocol_version] or self._server.versions
        common = [version for version in self._server.versions if version in asked]
        return DiscoverVersionsResponsePayload(tuple(ProtocolVersion(*version) for version in common))

    def query(self, request: QueryRequestPayload) -> QueryResponsePayload:
        """Return the properties of the server that were asked for."""
        asked = request.query_function
        return QueryResponsePayload(
            operation=self.operations() if QueryFunction.QUERY_OPERATIONS in asked else (),
            object_type=tuple(sorted(self._profile.object_types)) if QueryFunction.QUERY_OBJECTS in asked else (),
            vendor_identification=(self._server.vendor() if QueryFunction.QUERY_SERVER_INFORMATION in asked else None),
        )

    # --- objects ---

    def create(self, request: CreateRequestPayload) -> CreateResponsePayload:
        """Make a key of random bytes."""
        attributes = self._taken(_attributes(request.template_attribute, request.attributes))
        wanted = {entry.attribute_name: entry.attribute_value for entry in attributes}
        try:
            length = wanted["Cryptographic Length"]
            key = raw_key(os.urandom(length // 8), CryptographicAlgorithm(wanted["Cryptographic Algorithm"]))
        except (KeyError, ValueError):
            raise Refusal(ResultReason.INVALID_FIELD) from None
        return CreateResponsePayload(request.object_type, self._keep(request.object_type, key, attributes))

    def register(self, request: RegisterRequestPayload) -> RegisterResponsePayload:
        """Store the client's object."""
        if request.managed_object is None:
            raise Refusal(ResultReason.MISSING_DATA)
        attributes = self._taken(_attributes(request.template_attribute, request.attributes))
        names = {entry.attribute_name for entry in attributes}
        attributes += [
            entry for entry in _attributes_of_key(request.managed_object) if entry.attribute_name not in names
        ]
        return RegisterResponsePayload(self._keep(request.object_type, request.managed_object, attributes))

    def locate(self, request: LocateRequestPayload) -> LocateResponsePayload:
        """Return the objects that have all the attributes, in pages."""
        wanted = [*request.attribute, *(request.attributes.attributes if request.attributes else ())]
        for entry in wanted:
            self._refuse_attribute(entry.attribute_name)
        if not self._profile.locates_by_attributes:
            wanted = []
        found = [
            identifier
            for identifier, stored in self._store.objects.items()
            if self._located(stored) and all(isinstance(entry, Attribute) and stored.has(entry) for entry in wanted)
        ]
        limits = [limit for limit in (request.maximum_items, self._profile.page_limit) if limit is not None]
        start = self._offset(request.offset_items)
        page = found[start : start + min(limits) if limits else None]
        self._placeholder = page[0] if len(page) == 1 and (request.maximum_items == 1 or len(found) == 1) else None
        return LocateResponsePayload(len(found) if self._version >= V1_3 else None, tuple(page))

    def get(self, request: GetRequestPayload) -> GetResponsePayload:
        """Return the object."""
        identifier, stored = self._find_live(request.unique_identifier)
        if request.key_wrapping_specification:
            raise Refusal(ResultReason.FEATURE_NOT_SUPPORTED)
        block = getattr(stored.managed_object, "key_block", None)
        if request.key_format_type is not None and (block is None or block.key_format_type != request.key_format_type):
            raise Refusal(ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED)
        shown = spoiled(stored.managed_object) if self._server.lying else stored.managed_object
        return GetResponsePayload(stored.object_type, identifier, shown)

    def destroy(self, request: DestroyRequestPayload) -> DestroyResponsePayload:
        """Destroy an object. Its attributes stay if the profile says so."""
        identifier, stored = self._find_live(request.unique_identifier)
        if stored.state == State.ACTIVE and self._profile.destroy_of_active is not None:
            raise Refusal(self._profile.destroy_of_active)
        if self._profile.keeps_destroyed:
            compromised = stored.state == State.COMPROMISED
            self._change(identifier, stored, State.DESTROYED_COMPROMISED if compromised else State.DESTROYED)
        else:
            self._store.remove(identifier)
        return DestroyResponsePayload(identifier)

    # --- attributes and life cycle ---

    def get_attributes(self, request: GetAttributesRequestPayload) -> GetAttributesResponsePayload:
        """Return the attributes that were asked for, or all."""
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
        """Return the names of the attributes."""
        identifier, stored = self._find(request.unique_identifier)
        names = tuple(dict.fromkeys(entry.attribute_name for entry in stored.attributes))
        if self._version < V2_0:
            return GetAttributeListResponsePayload(identifier, names)
        references = tuple(TAGS[name] for name in names if name in TAGS)
        return GetAttributeListResponsePayload(identifier, attribute_reference=references)

    def add_attribute(self, request: AddAttributeRequestPayload) -> AddAttributeResponsePayload:
        """Add one attribute."""
        identifier, stored = self._find_live(request.unique_identifier)
        added = [request.attribute, *(request.new_attribute.attributes if request.new_attribute else ())]
        known = [entry for entry in added if isinstance(entry, Attribute)]
        if len(known) != 1:
            raise Refusal(ResultReason.INVALID_FIELD)
        stored.attributes += self._acceptable(known)
        self._store.put(identifier, stored)
        return AddAttributeResponsePayload(identifier, request.attribute)

    def activate(self, request: ActivateRequestPayload) -> ActivateResponsePayload:
        """Change an object from Pre-Active to Active."""
        identifier, stored = self._find_live(request.unique_identifier)
        if stored.state != State.PRE_ACTIVE:
            raise Refusal(ResultReason.ILLEGAL_OPERATION)
        self._change(identifier, stored, State.ACTIVE)
        return ActivateResponsePayload(identifier)

    def revoke(self, request: RevokeRequestPayload) -> RevokeResponsePayload:
        """Change an object from Active to Deactivated, or from any state to Compromised."""
        identifier, stored = self._find_live(request.unique_identifier)
        compromised = request.revocation_reason.revocation_reason_code in COMPROMISED
        if not compromised and stored.state != State.ACTIVE:
            raise Refusal(ResultReason.ILLEGAL_OPERATION)
        stored.attributes.append(attribute("Revocation Reason", request.revocation_reason))
        self._change(identifier, stored, State.COMPROMISED if compromised else State.DEACTIVATED)
        return RevokeResponsePayload(identifier)

    # --- helpers of the operations ---

    def _taken(self, attributes: list[Attribute]) -> list[Attribute]:
        """Return the attributes of a new object that the server keeps. Raises Refusal."""
        masked = any(entry.attribute_name == "Cryptographic Usage Mask" for entry in attributes)
        if self._profile.usage_mask_required and not masked:
            raise Refusal(ResultReason.INVALID_MESSAGE)
        return self._acceptable(attributes)

    def _acceptable(self, attributes: list[Attribute]) -> list[Attribute]:
        for entry in attributes:
            self._refuse_attribute(entry.attribute_name)
            if entry.attribute_name == "Cryptographic Usage Mask" and entry.attribute_value & ~self._profile.usage_mask:
                raise Refusal(ResultReason.INVALID_FIELD)
            if entry.attribute_name == "Name" and entry.attribute_value.name_value in self._names():
                older = self._version < V2_0
                raise Refusal(ResultReason.INVALID_FIELD if older else ResultReason.NON_UNIQUE_NAME_ATTRIBUTE)
        return [entry for entry in attributes if entry.attribute_name not in self._profile.ignored_attributes]

    def _refuse_attribute(self, name: str) -> None:
        reason = self._profile.refused_attributes.get(name)
        if reason is not None:
            raise Refusal(reason)

    def _names(self) -> set[str]:
        """Return the names that a new object must not have."""
        if not self._profile.unique_names:
            return set()
        if self._profile.names_outlive_objects:
            return self._store.names_taken
        return {name for stored in self._store.objects.values() if not stored.destroyed for name in stored.names}

    def _offset(self, asked: int | None) -> int:
        if asked is not None and self._profile.offset_items is Offset.REFUSED:
            raise Refusal(ResultReason.INVALID_FIELD)
        return asked or 0 if self._profile.offset_items is Offset.HONOURED else 0

    def _keep(self, object_type: int, managed_object: ManagedObject, attributes: list[Attribute]) -> str:
        if object_type not in self._profile.object_types:
            raise Refusal(ResultReason.INVALID_FIELD)
        if self._server.capacity is not None and len(self._store.objects) >= self._server.capacity:
            raise Refusal(self._server.capacity_reason)
        identifier = str(uuid.uuid4())
        own = [
            attribute("Unique Identifier", identifier),
            attribute("Object Type", object_type),
            *attributes,
            attribute("Initial Date", self._server.now()),
        ]
        stored = Stored(object_type, managed_object, own, self._client)
        if self._profile.initial_state is not None:
            stored.change_state(self._initial_state(stored, self._profile.initial_state))
        self._store.put(identifier, stored)
        self._placeholder = identifier
        return identifier

    def _initial_state(self, stored: Stored, usual: State) -> State:
        """Return Active if the object's Activation Date has come, otherwise ``usual`` (KMIP 1.4 section 3.22)."""
        begins = stored.values("Activation Date")
        return State.ACTIVE if begins and begins[0] <= self._server.now() else usual

    def _change(self, identifier: str, stored: Stored, state: State) -> None:
        stored.change_state(state)
        stored.attributes.append(attribute(DATES[state], self._server.now()))
        self._store.put(identifier, stored)

    def _owned(self, stored: Stored) -> bool:
        return self._profile.others_objects is None or stored.owner == self._client

    def _located(self, stored: Stored) -> bool:
        return self._owned(stored) and (self._profile.locates_destroyed or not stored.destroyed)

    def _find(self, identifier: Any) -> tuple[str, Stored]:
        name = self._placeholder if identifier is None else identifier
        stored = self._store.objects.get(name) if isinstance(name, str) else None
        if stored is None:
            raise Refusal(ResultReason.ITEM_NOT_FOUND)
        if self._profile.others_objects is not None and not self._owned(stored):
            raise Refusal(self._profile.others_objects)
        return str(name), stored

    def _find_live(self, identifier: Any) -> tuple[str, Stored]:
        name, stored = self._find(identifier)
        if stored.destroyed:
            raise Refusal(self._profile.destroyed)
        return name, stored


_HANDLERS: Final[dict[Operation, Callable[[Batch, Any], Structure]]] = {
    Operation.DISCOVER_VERSIONS: Batch.discover_versions,
    Operation.QUERY: Batch.query,
    Operation.CREATE: Batch.create,
    Operation.REGISTER: Batch.register,
    Operation.LOCATE: Batch.locate,
    Operation.GET: Batch.get,
    Operation.GET_ATTRIBUTES: Batch.get_attributes,
    Operation.GET_ATTRIBUTE_LIST: Batch.get_attribute_list,
    Operation.ADD_ATTRIBUTE: Batch.add_attribute,
    Operation.ACTIVATE: Batch.activate,
    Operation.REVOKE: Batch.revoke,
    Operation.DESTROY: Batch.destroy,
}


def _attributes(template: TemplateAttribute | None, attributes: Attributes | None) -> list[Attribute]:
    """Return the attributes of a request in either form. Vendor attributes are left out."""
    given = [*(template.attribute if template else ()), *(attributes.attributes if attributes else ())]
    return [entry for entry in given if isinstance(entry, Attribute)]


def _attributes_of_key(managed_object: ManagedObject) -> list[Attribute]:
    """Return the attributes that the server takes from the object itself."""
    block = getattr(managed_object, "key_block", None)
    if not isinstance(block, KeyBlock):
        return []
    found = {
        "Cryptographic Algorithm": block.cryptographic_algorithm,
        "Cryptographic Length": block.cryptographic_length,
    }
    return [attribute(name, value) for name, value in found.items() if value is not None]
