"""Add Attribute (KMIP 1.4 section 4.14, KMIP 2.1 section 6.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import IDENTIFIER, Attribute, Attributes
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.versions import V2_0

if TYPE_CHECKING:
    from keystead.kmip.ttlv.ttlv import Item


@structure()
class AddAttributeRequestPayload(Structure):
    """The attribute to add: Attribute in 1.x, New Attribute with one attribute in it in 2.x."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    attribute: Attribute | None = field(tags.ATTRIBUTE, Attribute, default=None, until=V2_0)
    new_attribute: Attributes | None = field(tags.NEW_ATTRIBUTE, Attributes, default=None, since=V2_0)


@structure()
class AddAttributeResponsePayload(Structure):
    """The attribute as the server has it (1.x)."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    attribute: Attribute | None = field(tags.ATTRIBUTE, Attribute, default=None, until=V2_0)
