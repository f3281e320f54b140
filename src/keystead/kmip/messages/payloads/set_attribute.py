"""Set Attribute (KMIP 2.1 section 6.1.47): it adds or replaces the only value of an attribute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import IDENTIFIER, Attributes
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure

if TYPE_CHECKING:
    from keystead.kmip.ttlv.ttlv import Item


@structure()
class SetAttributeRequestPayload(Structure):
    """New Attribute has one attribute."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    new_attribute: Attributes | None = field(tags.NEW_ATTRIBUTE, Attributes, default=None)


@structure()
class SetAttributeResponsePayload(Structure):
    """The object that was changed."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
