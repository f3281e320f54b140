"""Get Attribute List (KMIP 1.4 section 4.13, KMIP 2.1 section 6.1.21)."""

from __future__ import annotations

from keystead.kmip.messages.attributes import IDENTIFIER, REFERENCE, AttributeReference
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V2_0


@structure()
class GetAttributeListRequestPayload(Structure):
    """The object whose attributes are listed."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)


@structure()
class GetAttributeListResponsePayload(Structure):
    """The names of the object's attributes. In 2.x they are references."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    attribute_name: tuple[str, ...] = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING, default=(), until=V2_0)
    attribute_reference: tuple[int | AttributeReference, ...] = field(
        tags.ATTRIBUTE_REFERENCE, REFERENCE, default=(), since=V2_0
    )

    def names(self) -> tuple[str, ...]:
        """Return the names of both forms. A tag that is not known is shown in hexadecimal."""
        references = (
            reference.attribute_name
            if isinstance(reference, AttributeReference)
            else tags.NAMES.get(reference, f"0x{reference:06X}")
            for reference in self.attribute_reference
        )
        return (*self.attribute_name, *references)
