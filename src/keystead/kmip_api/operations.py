"""KMIP operations of applications: from request payloads to use cases, and to response payloads.

KMIP 1.4 section 4 and KMIP 2.1 section 6 for the operations. Each may raise ObjectRefusal; then nothing was changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from keystead.core.applications.attributes import Action, AttributeChange, at_creation
from keystead.core.applications.model import NewObject
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.kmip.messages.headers import ProtocolVersion
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload, ActivateResponsePayload
from keystead.kmip.messages.payloads.add_attribute import AddAttributeRequestPayload, AddAttributeResponsePayload
from keystead.kmip.messages.payloads.create import CreateRequestPayload, CreateResponsePayload
from keystead.kmip.messages.payloads.delete_attribute import (
    DeleteAttributeRequestPayload,
    DeleteAttributeResponsePayload,
)
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
from keystead.kmip.messages.payloads.modify_attribute import (
    ModifyAttributeRequestPayload,
    ModifyAttributeResponsePayload,
)
from keystead.kmip.messages.payloads.query import QueryRequestPayload, QueryResponsePayload
from keystead.kmip.messages.payloads.register import RegisterRequestPayload, RegisterResponsePayload
from keystead.kmip.messages.payloads.revoke import RevokeRequestPayload, RevokeResponsePayload
from keystead.kmip.messages.payloads.set_attribute import SetAttributeRequestPayload, SetAttributeResponsePayload
from keystead.kmip.ttlv.enums import Operation, QueryFunction, RevocationReasonCode
from keystead.kmip.ttlv.versions import V1_1, V1_3, V2_0, VERSIONS, Version
from keystead.kmip_api import attributes as convert
from keystead.kmip_api import materials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from keystead.kmip.messages.attributes import Attribute
    from keystead.kmip.messages.objects import ManagedObject
    from keystead.kmip.ttlv.schema import Structure
    from keystead.service.applications.callers import ApplicationCaller
    from keystead.service.applications.objects import ApplicationObjects

VENDOR: Final = "Keystead"
ONLINE: Final = 1
"""The bit of the Storage Status Mask for objects that are not archived."""

_COMPROMISED: Final = frozenset({RevocationReasonCode.KEY_COMPROMISE, RevocationReasonCode.CA_COMPROMISE})


class Batch:
    """The operations of one batch. They share the ID Placeholder (KMIP 1.4 section 4).

    ``now`` is the time in seconds since 1970.
    """

    def __init__(self, objects: ApplicationObjects, caller: ApplicationCaller, version: Version, now: int) -> None:
        self._objects = objects
        self._caller = caller
        self._version = version
        self._now = now
        self._placeholder: str | None = None

    async def perform(self, operation: int, request: Any) -> Structure:
        """Do one operation and return the response payload.

        Raises ObjectRefusal, OntapError, StoreError.
        """
        known = handled(self._version).get(operation)
        if known is None:
            raise ObjectRefusal(RefusalReason.OPERATION_NOT_SUPPORTED, "This operation is not served.")
        self._caller = self._caller.asking(Operation(operation).name.replace("_", " ").title())
        return await known(self, request)

    # --- the server ---

    async def discover_versions(self, request: DiscoverVersionsRequestPayload) -> DiscoverVersionsResponsePayload:
        """Return those of the requested versions that are served, in the client's order."""
        asked = [entry.version for entry in request.protocol_version] or VERSIONS
        return DiscoverVersionsResponsePayload(tuple(ProtocolVersion(*each) for each in asked if each in VERSIONS))

    async def query(self, request: QueryRequestPayload) -> QueryResponsePayload:
        """Return the properties that were asked for: exactly what is served."""
        asked = request.query_function
        operations = tuple(Operation(each) for each in handled(self._version))
        return QueryResponsePayload(
            operation=operations if QueryFunction.QUERY_OPERATIONS in asked else (),
            object_type=tuple(materials.CLASSES) if QueryFunction.QUERY_OBJECTS in asked else (),
            vendor_identification=VENDOR if QueryFunction.QUERY_SERVER_INFORMATION in asked else None,
        )

    # --- objects ---

    async def create(self, request: CreateRequestPayload) -> CreateResponsePayload:
        """Make a symmetric key of random bytes."""
        given = convert.given(request.template_attribute, request.attributes)
        wanted = {each.attribute_name: each.attribute_value for each in given}
        if request.object_type not in materials.CLASSES:
            raise ObjectRefusal(RefusalReason.INVALID_FIELD, "Symmetric keys are made here, and no other objects.")
        key = materials.made(wanted.get("Cryptographic Algorithm"), wanted.get("Cryptographic Length"))
        return CreateResponsePayload(request.object_type, await self._keep(request.object_type, key, given))

    async def register(self, request: RegisterRequestPayload) -> RegisterResponsePayload:
        """Keep the client's object."""
        given = convert.given(request.template_attribute, request.attributes)
        names = {each.attribute_name for each in given}
        own = [each for each in materials.own_attributes(request.managed_object) if each.attribute_name not in names]
        return RegisterResponsePayload(await self._keep(request.object_type, request.managed_object, [*given, *own]))

    async def get(self, request: GetRequestPayload) -> GetResponsePayload:
        """Return the object as it was registered."""
        if request.key_wrapping_specification is not None:
            raise ObjectRefusal(RefusalReason.FEATURE_NOT_SUPPORTED, "Keys are not wrapped here.")
        found, material = await self._objects.get(self._caller, self._named(request.unique_identifier))
        shown = materials.restored(found.object_type, found.form, material)
        block = getattr(shown, "key_block", None)
        wanted = request.key_format_type
        if wanted is not None and (block is None or block.key_format_type != wanted):
            raise ObjectRefusal(
                RefusalReason.KEY_FORMAT_TYPE_NOT_SUPPORTED,
                "The object is returned in the format of its registration.",
            )
        return GetResponsePayload(found.object_type, found.identifier, shown)

    async def locate(self, request: LocateRequestPayload) -> LocateResponsePayload:
        """Return the objects that have all the attributes, in pages."""
        wanted = [*request.attribute, *map(convert.named, request.attributes.attributes if request.attributes else ())]
        maximum, offset = request.maximum_items, request.offset_items or 0
        if offset < 0 or (maximum is not None and maximum < 0):
            raise ObjectRefusal(RefusalReason.INVALID_FIELD, "Offset Items and Maximum Items are not negative.")
        if request.storage_status_mask is not None and not request.storage_status_mask & ONLINE:
            return LocateResponsePayload(0 if self._version >= V1_3 else None)
        names = [each.attribute_value.name_value for each in wanted if each.attribute_name == convert.NAME]
        found, total = await self._objects.locate(
            self._caller,
            lambda each: convert.matches(each, wanted, self._version),
            name=names[0] if names else None,
            offset=offset,
            maximum=maximum,
        )
        self._placeholder = found[0] if len(found) == 1 else None
        return LocateResponsePayload(total if self._version >= V1_3 else None, found)

    async def activate(self, request: ActivateRequestPayload) -> ActivateResponsePayload:
        """Change an object from Pre-Active to Active."""
        found = await self._objects.activate(self._caller, self._named(request.unique_identifier))
        return ActivateResponsePayload(found.identifier)

    async def revoke(self, request: RevokeRequestPayload) -> RevokeResponsePayload:
        """Deactivate an object, or mark it as compromised."""
        code = request.revocation_reason.revocation_reason_code
        compromised = code in _COMPROMISED
        facts = {convert.REVOCATION_REASON: code}
        if compromised:
            facts["Compromise Occurrence Date"] = request.compromise_occurrence_date or self._now
        identifier = self._named(request.unique_identifier)
        found = await self._objects.revoke(self._caller, identifier, compromised=compromised, facts=facts)
        return RevokeResponsePayload(found.identifier)

    async def destroy(self, request: DestroyRequestPayload) -> DestroyResponsePayload:
        """Destroy an object. Its attributes stay."""
        found = await self._objects.destroy(self._caller, self._named(request.unique_identifier))
        return DestroyResponsePayload(found.identifier)

    # --- attributes ---

    async def get_attributes(self, request: GetAttributesRequestPayload) -> GetAttributesResponsePayload:
        """Return the attributes that were asked for, or all. What the object has not is left out."""
        found = await self._objects.find(self._caller, self._named(request.unique_identifier))
        names = [*request.attribute_name, *map(convert.referred, request.attribute_reference)]
        shown = convert.chosen(convert.shown(found, self._version), names)
        if self._version < V2_0:
            return GetAttributesResponsePayload(found.identifier, shown)
        return GetAttributesResponsePayload(found.identifier, attributes=convert.in_two(shown))

    async def get_attribute_list(self, request: GetAttributeListRequestPayload) -> GetAttributeListResponsePayload:
        """Return the names of the attributes."""
        found = await self._objects.find(self._caller, self._named(request.unique_identifier))
        names = tuple(dict.fromkeys(each.attribute_name for each in convert.shown(found, self._version)))
        if self._version < V2_0:
            return GetAttributeListResponsePayload(found.identifier, names)
        return GetAttributeListResponsePayload(found.identifier, attribute_reference=convert.references(names))

    async def add_attribute(self, request: AddAttributeRequestPayload) -> AddAttributeResponsePayload:
        """Add a value."""
        given = self._given(request.attribute, request.new_attribute)
        identifier = await self._change(request.unique_identifier, self._changing(Action.ADD, given))
        return AddAttributeResponsePayload(identifier, request.attribute)

    async def modify_attribute(self, request: ModifyAttributeRequestPayload) -> ModifyAttributeResponsePayload:
        """Replace a value."""
        change = self._changing(Action.MODIFY, self._given(request.attribute, request.new_attribute))
        if request.current_attribute is not None:
            current = convert.stored(convert.the_one(request.current_attribute), self._version)
            change = replace(change, current=current.value)
        identifier = await self._change(request.unique_identifier, change)
        return ModifyAttributeResponsePayload(identifier, request.attribute)

    async def set_attribute(self, request: SetAttributeRequestPayload) -> SetAttributeResponsePayload:
        """Add or replace the only value of an attribute."""
        change = self._changing(Action.SET, convert.the_one(request.new_attribute))
        return SetAttributeResponsePayload(await self._change(request.unique_identifier, change))

    async def delete_attribute(self, request: DeleteAttributeRequestPayload) -> DeleteAttributeResponsePayload:
        """Delete a value."""
        if request.attribute_name is not None:
            change = AttributeChange(Action.DELETE, request.attribute_name, request.attribute_index)
        elif request.current_attribute is not None:
            current = convert.stored(convert.the_one(request.current_attribute), self._version)
            change = AttributeChange(Action.DELETE, current.name, current=current.value)
        elif request.attribute_reference is not None:
            change = AttributeChange(Action.DELETE, convert.referred(request.attribute_reference))
        else:
            raise ObjectRefusal(RefusalReason.INVALID_FIELD, "The request names no attribute.")
        return DeleteAttributeResponsePayload(await self._change(request.unique_identifier, change))

    # --- helpers of the operations ---

    async def _keep(self, object_type: int, given: ManagedObject | None, attributes: Iterable[Attribute]) -> str:
        attributes = list(attributes)
        form, material = materials.kept(object_type, given, self._version)
        begins = [each.attribute_value for each in attributes if each.attribute_name == convert.ACTIVATION_DATE]
        stored = at_creation(convert.stored(each, self._version) for each in attributes)
        active = bool(begins) and begins[0] <= self._now
        made = await self._objects.create(self._caller, NewObject(object_type, form, material, stored, active))
        self._placeholder = made.identifier
        return made.identifier

    async def _change(self, identifier: Any, change: AttributeChange) -> str:
        found = await self._objects.change_attributes(self._caller, self._named(identifier), [change])
        return found.identifier

    def _changing(self, action: Action, given: Attribute) -> AttributeChange:
        stored = convert.stored(given, self._version)
        return AttributeChange(action, stored.name, given.attribute_index, stored.value, stored.text)

    def _given(self, one: Attribute | None, two: Any) -> Attribute:
        """Return the attribute of a request in either form. Raises ObjectRefusal."""
        if self._version >= V2_0:
            return convert.the_one(two)
        if one is None:
            raise ObjectRefusal(RefusalReason.INVALID_FIELD, "The request has no attribute.")
        return one

    def _named(self, identifier: Any) -> str:
        """Return the Unique Identifier of a request, or the ID Placeholder. Raises ObjectRefusal."""
        found = identifier if isinstance(identifier, str) else self._placeholder
        if found is None:
            raise ObjectRefusal(RefusalReason.ITEM_NOT_FOUND, "The request names no object, and none was named before.")
        return found


if TYPE_CHECKING:
    Handler = Callable[[Batch, Any], Awaitable[Structure]]

_HANDLERS: Final[Mapping[int, Handler]] = {
    Operation.DISCOVER_VERSIONS: Batch.discover_versions,
    Operation.QUERY: Batch.query,
    Operation.CREATE: Batch.create,
    Operation.REGISTER: Batch.register,
    Operation.LOCATE: Batch.locate,
    Operation.GET: Batch.get,
    Operation.GET_ATTRIBUTES: Batch.get_attributes,
    Operation.GET_ATTRIBUTE_LIST: Batch.get_attribute_list,
    Operation.ADD_ATTRIBUTE: Batch.add_attribute,
    Operation.MODIFY_ATTRIBUTE: Batch.modify_attribute,
    Operation.DELETE_ATTRIBUTE: Batch.delete_attribute,
    Operation.SET_ATTRIBUTE: Batch.set_attribute,
    Operation.ACTIVATE: Batch.activate,
    Operation.REVOKE: Batch.revoke,
    Operation.DESTROY: Batch.destroy,
}
"""The operations that are served, in the order in which Query names them."""

_SINCE: Final = {Operation.DISCOVER_VERSIONS: V1_1, Operation.SET_ATTRIBUTE: V2_0}


def handled(version: Version) -> dict[int, Handler]:
    """Return the operations that a version has, with what does them."""
    return {each: handler for each, handler in _HANDLERS.items() if _SINCE.get(Operation(each), version) <= version}
