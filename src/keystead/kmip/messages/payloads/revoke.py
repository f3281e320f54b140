"""Revoke (KMIP 1.4 section 4.20, KMIP 2.1 section 6.1.48): the object may no longer protect data, or is compromised."""

from __future__ import annotations

from keystead.kmip.messages.attributes import IDENTIFIER, RevocationReason
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType


@structure()
class RevokeRequestPayload(Structure):
    """The object and the reason. The occurrence date (seconds since 1970) is for a compromise only."""

    unique_identifier: str | Item | None = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER, default=None)
    revocation_reason: RevocationReason = field(tags.REVOCATION_REASON, RevocationReason, kw_only=True)
    compromise_occurrence_date: int | None = field(tags.COMPROMISE_OCCURRENCE_DATE, ItemType.DATE_TIME, default=None)


@structure()
class RevokeResponsePayload(Structure):
    """The object that was revoked."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
