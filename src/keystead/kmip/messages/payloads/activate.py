"""Activate (KMIP 1.4 section 4.19, KMIP 2.1 section 6.1.1): the object may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.kmip.messages.attributes import IDENTIFIER
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure

if TYPE_CHECKING:
    from keystead.kmip.ttlv.ttlv import Item


@structure()
class ActivateRequestPayload(Structure):
    """The object to activate. Without an identifier, it is that of the ID Placeholder."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)


@structure()
class ActivateResponsePayload(Structure):
    """The object that was activated."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
