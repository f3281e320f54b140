"""Discover Versions (KMIP 1.4 section 4.26). Version 1.0 does not have this operation."""

from __future__ import annotations

from keystead.kmip.messages.headers import ProtocolVersion
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.schema import Structure, field, structure


@structure()
class DiscoverVersionsRequestPayload(Structure):
    """The client's versions, preferred first. An empty list asks for all versions of the server."""

    protocol_version: tuple[ProtocolVersion, ...] = field(tags.PROTOCOL_VERSION, ProtocolVersion, default=())


@structure()
class DiscoverVersionsResponsePayload(Structure):
    """The versions that the server has too, in its order of preference. Empty if there is no common version."""

    protocol_version: tuple[ProtocolVersion, ...] = field(tags.PROTOCOL_VERSION, ProtocolVersion, default=())
