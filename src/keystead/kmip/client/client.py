"""The client: typed operations on one connection, one call at a time.

The client does no TLS and no name resolution: it is given a stream. ``payload_client.py`` sends the requests; see also
``pool.py`` and ``pipeline.py``. KMIP 1.4 section 4, KMIP 2.1 section 6.
"""
# ruff: noqa: ASYNC109 - each call promises a time-out for the whole call; a caller's asyncio.timeout() works as well

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from keystead.kmip.client.negotiation import highest_common, offered_versions
from keystead.kmip.client.payload_client import PayloadClient, deadline_error
from keystead.kmip.messages.attributes import (
    TAGS,
    Attribute,
    Attributes,
    RevocationReason,
    TemplateAttribute,
    VendorAttribute,
)
from keystead.kmip.messages.headers import ProtocolVersion
from keystead.kmip.messages.payloads.activate import ActivateRequestPayload, ActivateResponsePayload
from keystead.kmip.messages.payloads.add_attribute import AddAttributeRequestPayload, AddAttributeResponsePayload
from keystead.kmip.messages.payloads.create import CreateRequestPayload, CreateResponsePayload
from keystead.kmip.messages.payloads.destroy import DestroyRequestPayload, DestroyResponsePayload
from keystead.kmip.messages.payloads.discover_versions import (
    DiscoverVersionsRequestPayload,
    DiscoverVersionsResponsePayload,
)
from keystead.kmip.messages.payloads.get import GetRequestPayload, GetResponsePayload
from keystead.kmip.messages.payloads.get_attribute_list import (
    GetAttributeListRequestPayload,
    GetAttributeListResponsePayload,
)
from keystead.kmip.messages.payloads.get_attributes import GetAttributesRequestPayload, GetAttributesResponsePayload
from keystead.kmip.messages.payloads.locate import LocateRequestPayload, LocateResponsePayload
from keystead.kmip.messages.payloads.query import QueryRequestPayload, QueryResponsePayload
from keystead.kmip.messages.payloads.register import RegisterRequestPayload, RegisterResponsePayload
from keystead.kmip.messages.payloads.revoke import RevokeRequestPayload, RevokeResponsePayload
from keystead.kmip.ttlv.enums import BatchErrorContinuationOption, ObjectType, QueryFunction, RevocationReasonCode
from keystead.kmip.ttlv.errors import LocalProtocolError, OperationFailed
from keystead.kmip.ttlv.versions import V1_1, V2_0, VERSIONS, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.kmip.messages.objects import KeyWrappingSpecification, ManagedObject
    from keystead.kmip.ttlv.ttlv import Item


class Client(PayloadClient):
    """The operations of one key server over one stream.

    ``version`` is the version of requests; :meth:`negotiate` sets it. ``response_header`` is the header of the last
    answer. Every operation takes ``timeout``, the seconds for the whole call. It raises OperationFailed,
    RemoteProtocolError, TTLVError or TransportError. LocalProtocolError is a mistake of the caller; then nothing is
    sent. After any other error than OperationFailed and LocalProtocolError the connection is closed. A Unique
    Identifier may be ``None`` only inside a :meth:`batch`.
    """

    offered: tuple[Version, ...] = ()
    """The versions that the server named in :meth:`negotiate`."""

    # --- versions ---

    async def negotiate(self, versions: Sequence[Version] = VERSIONS, *, timeout: float | None = None) -> Version:
        """Choose the highest version that both sides have, use it from now on, and return it.

        Raises NoCommonVersion if there is none. See :mod:`keystead.kmip.client.negotiation`.
        """
        try:
            async with asyncio.timeout(timeout):
                self.offered = await offered_versions(self.discover_versions, versions)
        except TimeoutError as error:  # the time-out cancelled the inner call, which closed the connection
            raise deadline_error() from error
        self.version = highest_common(self.offered, versions)
        return self.version

    async def discover_versions(
        self, versions: Iterable[Version] = (), *, header_version: Version = V1_1, timeout: float | None = None
    ) -> tuple[Version, ...]:
        """Return those of ``versions`` (default: all) that the server has, in its order of preference."""
        request = DiscoverVersionsRequestPayload(tuple(ProtocolVersion(*version) for version in versions))
        answer = await self._call(request, DiscoverVersionsResponsePayload, timeout, header_version)
        return tuple(offered.version for offered in answer.protocol_version)

    # --- the server ---

    async def query(
        self,
        functions: Iterable[int] = (QueryFunction.QUERY_OPERATIONS, QueryFunction.QUERY_SERVER_INFORMATION),
        *,
        timeout: float | None = None,
    ) -> QueryResponsePayload:
        """Ask the server for its properties, such as its operations."""
        return await self._call(QueryRequestPayload(tuple(functions)), QueryResponsePayload, timeout)

    # --- objects ---

    async def create(
        self,
        attributes: Iterable[Attribute],
        *,
        object_type: ObjectType = ObjectType.SYMMETRIC_KEY,
        timeout: float | None = None,
    ) -> CreateResponsePayload:
        """Let the server make a key. Give Cryptographic Algorithm, Length and Usage Mask."""
        request = CreateRequestPayload(object_type, **self._object_attributes(attributes))
        return await self._call(request, CreateResponsePayload, timeout)

    async def register(
        self,
        managed_object: ManagedObject,
        attributes: Iterable[Attribute] = (),
        *,
        object_type: ObjectType,
        timeout: float | None = None,
    ) -> RegisterResponsePayload:
        """Register an object on the server."""
        request = self._registration(managed_object, attributes, object_type)
        return await self._call(request, RegisterResponsePayload, timeout)

    async def register_and_get(
        self,
        managed_object: ManagedObject,
        attributes: Iterable[Attribute] = (),
        *,
        object_type: ObjectType,
        timeout: float | None = None,
    ) -> tuple[RegisterResponsePayload | OperationFailed | None, GetResponsePayload | OperationFailed | None]:
        """Register an object and read it back in one message. Return the two results of :meth:`batch`."""
        request = self._registration(managed_object, attributes, object_type)
        registered, got = await self.batch([request, GetRequestPayload()], timeout=timeout)
        return (
            cast("RegisterResponsePayload | OperationFailed | None", registered),
            cast("GetResponsePayload | OperationFailed | None", got),
        )

    async def locate(
        self,
        attributes: Iterable[Attribute] = (),
        *,
        maximum_items: int | None = None,
        offset_items: int | None = None,
        timeout: float | None = None,
    ) -> LocateResponsePayload:
        """Find the objects that have all these attributes. ``offset_items`` needs version 1.3."""
        request = LocateRequestPayload(maximum_items, offset_items, **self._attributes(attributes))
        return await self._call(request, LocateResponsePayload, timeout)

    async def get(
        self,
        unique_identifier: str | Item,
        *,
        key_format_type: int | None = None,
        key_wrapping_specification: KeyWrappingSpecification | None = None,
        timeout: float | None = None,
    ) -> GetResponsePayload:
        """Read an object with its key material."""
        request = GetRequestPayload(
            unique_identifier, key_format_type, key_wrapping_specification=key_wrapping_specification
        )
        return await self._call(request, GetResponsePayload, timeout)

    async def get_many(
        self, unique_identifiers: Iterable[str | Item], *, timeout: float | None = None
    ) -> list[GetResponsePayload | OperationFailed | None]:
        """Read several objects with their key material in one message. Return the results of :meth:`batch`."""
        payloads = [GetRequestPayload(identifier) for identifier in unique_identifiers]
        results = await self.batch(payloads, on_error=BatchErrorContinuationOption.CONTINUE, timeout=timeout)
        return cast("list[GetResponsePayload | OperationFailed | None]", results)

    # --- attributes ---

    async def get_attributes(
        self, unique_identifier: str | Item, names: Iterable[str] = (), *, timeout: float | None = None
    ) -> GetAttributesResponsePayload:
        """Read attributes by the specification's names. Without names, read all."""
        if self.version < V2_0:
            request = GetAttributesRequestPayload(unique_identifier, attribute_name=tuple(names))
        else:
            references = tuple(_attribute_tag(name) for name in names)
            request = GetAttributesRequestPayload(unique_identifier, attribute_reference=references)
        return await self._call(request, GetAttributesResponsePayload, timeout)

    async def get_attribute_list(
        self, unique_identifier: str | Item, *, timeout: float | None = None
    ) -> GetAttributeListResponsePayload:
        """Read the names of an object's attributes."""
        request = GetAttributeListRequestPayload(unique_identifier)
        return await self._call(request, GetAttributeListResponsePayload, timeout)

    async def add_attribute(
        self, unique_identifier: str | Item, attribute: Attribute | VendorAttribute, *, timeout: float | None = None
    ) -> AddAttributeResponsePayload:
        """Add one attribute to an object. A VendorAttribute needs version 2.0."""
        if self.version >= V2_0:
            request = AddAttributeRequestPayload(unique_identifier, new_attribute=Attributes((attribute,)))
        else:
            request = AddAttributeRequestPayload(unique_identifier, cast("Attribute", attribute))
        return await self._call(request, AddAttributeResponsePayload, timeout)

    # --- life cycle ---

    async def activate(self, unique_identifier: str | Item, *, timeout: float | None = None) -> ActivateResponsePayload:
        """Make a Pre-Active object Active."""
        return await self._call(ActivateRequestPayload(unique_identifier), ActivateResponsePayload, timeout)

    async def revoke(
        self,
        unique_identifier: str | Item,
        reason: RevocationReasonCode,
        message: str | None = None,
        *,
        compromise_occurrence_date: int | None = None,
        timeout: float | None = None,
    ) -> RevokeResponsePayload:
        """Deactivate an object or declare it compromised. The date is in seconds since 1970."""
        request = RevokeRequestPayload(
            unique_identifier,
            revocation_reason=RevocationReason(reason, message),
            compromise_occurrence_date=compromise_occurrence_date,
        )
        return await self._call(request, RevokeResponsePayload, timeout)

    async def destroy(self, unique_identifier: str | Item, *, timeout: float | None = None) -> DestroyResponsePayload:
        """Destroy an object's key material. An Active object must be revoked first."""
        return await self._call(DestroyRequestPayload(unique_identifier), DestroyResponsePayload, timeout)

    # --- attributes in requests, by version ---

    def _attributes(self, attributes: Iterable[Attribute]) -> dict[str, Any]:
        if self.version < V2_0:
            return {"attribute": tuple(attributes)}
        return {"attributes": Attributes(tuple(attributes))}

    def _object_attributes(self, attributes: Iterable[Attribute]) -> dict[str, Any]:
        own = self._attributes(attributes)
        return {"template_attribute": TemplateAttribute(**own)} if self.version < V2_0 else own

    def _registration(
        self, managed_object: ManagedObject, attributes: Iterable[Attribute], object_type: ObjectType
    ) -> RegisterRequestPayload:
        own = self._object_attributes(attributes)
        return RegisterRequestPayload(object_type, managed_object=managed_object, **own)


def _attribute_tag(name: str) -> int:
    if name not in TAGS:
        raise LocalProtocolError("an attribute that KMIP 2.x does not have")
    return TAGS[name]
