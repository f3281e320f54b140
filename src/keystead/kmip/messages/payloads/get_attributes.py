"""Get Attributes (KMIP 1.4 section 4.12, KMIP 2.1 section 6.1.20)."""

from __future__ import annotations

from keystead.kmip.messages.attributes import (
    IDENTIFIER,
    REFERENCE,
    Attribute,
    AttributeReference,
    Attributes,
    VendorAttribute,
)
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V2_0


@structure()
class GetAttributesRequestPayload(Structure):
    """The attributes to read: names in 1.x, references in 2.x. Without any, all are read."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    attribute_name: tuple[str, ...] = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING, default=(), until=V2_0)
    attribute_reference: tuple[int | AttributeReference, ...] = field(
        tags.ATTRIBUTE_REFERENCE, REFERENCE, default=(), since=V2_0
    )


@structure()
class GetAttributesResponsePayload(Structure):
    """The attributes that the object has."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    attribute: tuple[Attribute, ...] = field(tags.ATTRIBUTE, Attribute, default=(), until=V2_0)
    attributes: Attributes | None = field(tags.ATTRIBUTES, Attributes, default=None, since=V2_0)

    def all(self) -> tuple[Attribute | VendorAttribute, ...]:
        """Return the attributes of either form."""
        return self.attributes.attributes if self.attributes else self.attribute
