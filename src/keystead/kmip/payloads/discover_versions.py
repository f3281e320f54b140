"""Discover Versions (KMIP 1.4 section 4.26); 1.0 does not have it."""

from __future__ import annotations

from keystead.kmip.messages.headers import ProtocolVersion
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure


@structure()
class DiscoverVersionsRequestPayload(Structure):
    """The client's versions, preferred first; none asks for all of the server's."""

    protocol_version: tuple[ProtocolVersion, ...] = field(tags.PROTOCOL_VERSION, ProtocolVersion, default=())


@structure()
class DiscoverVersionsResponsePayload(Structure):
    """Those that the server has too, in its order of preference; none means that none is in common."""

    protocol_version: tuple[ProtocolVersion, ...] = field(tags.PROTOCOL_VERSION, ProtocolVersion, default=())
