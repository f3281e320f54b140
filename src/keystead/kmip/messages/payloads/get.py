"""Get (KMIP 1.4 section 4.11, KMIP 2.1 section 6.1.19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import IDENTIFIER
from keystead.kmip.messages.objects import OBJECT, KeyWrappingSpecification, ManagedObject
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.versions import V1_4

if TYPE_CHECKING:
    from keystead.kmip.ttlv.ttlv import Item


@structure()
class GetRequestPayload(Structure):
    """The object to get, and in which form. Without an identifier, it is that of the ID Placeholder."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    key_format_type: int | None = field(tags.KEY_FORMAT_TYPE, enums.KeyFormatType, default=None)
    key_wrap_type: int | None = field(tags.KEY_WRAP_TYPE, enums.KeyWrapType, default=None, since=V1_4)
    key_compression_type: int | None = field(tags.KEY_COMPRESSION_TYPE, enums.KeyCompressionType, default=None)
    key_wrapping_specification: KeyWrappingSpecification | None = field(
        tags.KEY_WRAPPING_SPECIFICATION, KeyWrappingSpecification, default=None
    )


@structure()
class GetResponsePayload(Structure):
    """The object that was asked for."""

    object_type: int = field(tags.OBJECT_TYPE, enums.ObjectType)
    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    managed_object: ManagedObject = field(tags.SYMMETRIC_KEY, OBJECT)
