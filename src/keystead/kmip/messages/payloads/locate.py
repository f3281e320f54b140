"""Locate (KMIP 1.4 section 4.9, KMIP 2.1 section 6.1.27)."""

from __future__ import annotations

from keystead.kmip.messages.attributes import IDENTIFIER, Attribute, Attributes
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_1, V1_3, V2_0


@structure()
class LocateRequestPayload(Structure):
    """The search: objects that have all the attributes. 2.x requires Attributes, which may be empty."""

    maximum_items: int | None = field(tags.MAXIMUM_ITEMS, ItemType.INTEGER, default=None)
    offset_items: int | None = field(tags.OFFSET_ITEMS, ItemType.INTEGER, default=None, since=V1_3)
    storage_status_mask: int | None = field(tags.STORAGE_STATUS_MASK, ItemType.INTEGER, default=None)
    object_group_member: int | None = field(tags.OBJECT_GROUP_MEMBER, ItemType.ENUMERATION, default=None, since=V1_1)
    attribute: tuple[Attribute, ...] = field(tags.ATTRIBUTE, Attribute, default=(), until=V2_0)
    attributes: Attributes | None = field(tags.ATTRIBUTES, Attributes, default=None, since=V2_0)


@structure()
class LocateResponsePayload(Structure):
    """The identifiers that were found, and the total number of matching objects (1.3)."""

    located_items: int | None = field(tags.LOCATED_ITEMS, ItemType.INTEGER, default=None, since=V1_3)
    unique_identifier: tuple[str | Item, ...] = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=())
