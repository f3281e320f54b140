"""Modify Attribute (KMIP 1.4 section 4.15, KMIP 2.1 section 6.1.30)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import IDENTIFIER, Attribute, Attributes
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.versions import V2_0

if TYPE_CHECKING:
    from keystead.kmip.ttlv.ttlv import Item


@structure()
class ModifyAttributeRequestPayload(Structure):
    """The new value: Attribute with its index in 1.x. In 2.x, Current Attribute tells which of several values."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    attribute: Attribute | None = field(tags.ATTRIBUTE, Attribute, default=None, until=V2_0)
    current_attribute: Attributes | None = field(tags.CURRENT_ATTRIBUTE, Attributes, default=None, since=V2_0)
    new_attribute: Attributes | None = field(tags.NEW_ATTRIBUTE, Attributes, default=None, since=V2_0)


@structure()
class ModifyAttributeResponsePayload(Structure):
    """The attribute as the server has it (1.x)."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    attribute: Attribute | None = field(tags.ATTRIBUTE, Attribute, default=None, until=V2_0)
