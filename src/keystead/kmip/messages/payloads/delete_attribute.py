"""Delete Attribute (KMIP 1.4 section 4.16, KMIP 2.1 section 6.1.11)."""

from __future__ import annotations

from keystead.kmip.messages.attributes import IDENTIFIER, REFERENCE, Attribute, AttributeReference, Attributes
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V2_0


@structure()
class DeleteAttributeRequestPayload(Structure):
    """The value to delete: by name and index in 1.x. In 2.x by itself, or all values by a reference."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    attribute_name: str | None = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING, default=None, until=V2_0)
    attribute_index: int | None = field(tags.ATTRIBUTE_INDEX, ItemType.INTEGER, default=None, until=V2_0)
    current_attribute: Attributes | None = field(tags.CURRENT_ATTRIBUTE, Attributes, default=None, since=V2_0)
    attribute_reference: int | AttributeReference | None = field(
        tags.ATTRIBUTE_REFERENCE, REFERENCE, default=None, since=V2_0
    )


@structure()
class DeleteAttributeResponsePayload(Structure):
    """The attribute that was deleted (1.x)."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    attribute: Attribute | None = field(tags.ATTRIBUTE, Attribute, default=None, until=V2_0)
