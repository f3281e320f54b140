"""Create (KMIP 1.4 section 4.1, KMIP 2.1 section 6.1.8): the server makes a symmetric key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import IDENTIFIER, Attributes, TemplateAttribute
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.kinds import Raw
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.versions import V2_0

if TYPE_CHECKING:
    from keystead.kmip.ttlv.ttlv import Item


@structure()
class CreateRequestPayload(Structure):
    """The object to make: Template-Attribute in 1.x, Attributes in 2.x."""

    object_type: int = field(tags.OBJECT_TYPE, enums.ObjectType)
    template_attribute: TemplateAttribute | None = field(
        tags.TEMPLATE_ATTRIBUTE, TemplateAttribute, default=None, until=V2_0
    )
    attributes: Attributes | None = field(tags.ATTRIBUTES, Attributes, default=None, since=V2_0)
    protection_storage_masks: Item | None = field(tags.PROTECTION_STORAGE_MASKS, Raw(), default=None, since=V2_0)


@structure()
class CreateResponsePayload(Structure):
    """The new object, and attributes that the server set by itself (1.x)."""

    object_type: int = field(tags.OBJECT_TYPE, enums.ObjectType)
    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    template_attribute: TemplateAttribute | None = field(
        tags.TEMPLATE_ATTRIBUTE, TemplateAttribute, default=None, until=V2_0
    )
