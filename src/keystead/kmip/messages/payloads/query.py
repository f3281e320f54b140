"""Query (KMIP 1.4 section 4.25, KMIP 2.1 section 6.1.37)."""

from __future__ import annotations

from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.kinds import Raw
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_1, V1_2, V1_3, V2_0


@structure()
class QueryRequestPayload(Structure):
    """The functions: what the client wants to know."""

    query_function: tuple[int, ...] = field(tags.QUERY_FUNCTION, enums.QueryFunction, default=())


@structure()
class QueryResponsePayload(Structure):
    """The properties of the server. Server Information and fields with many inner fields are raw."""

    operation: tuple[int, ...] = field(tags.OPERATION, enums.Operation, default=())
    object_type: tuple[int, ...] = field(tags.OBJECT_TYPE, enums.ObjectType, default=())
    vendor_identification: str | None = field(tags.VENDOR_IDENTIFICATION, ItemType.TEXT_STRING, default=None)
    server_information: Item | None = field(tags.SERVER_INFORMATION, Raw(), default=None)
    application_namespace: tuple[str, ...] = field(tags.APPLICATION_NAMESPACE, ItemType.TEXT_STRING, default=())
    extension_information: tuple[Item, ...] = field(tags.EXTENSION_INFORMATION, Raw(), default=(), since=V1_1)
    attestation_type: tuple[int, ...] = field(tags.ATTESTATION_TYPE, ItemType.ENUMERATION, default=(), since=V1_2)
    rng_parameters: tuple[Item, ...] = field(tags.RNG_PARAMETERS, Raw(), default=(), since=V1_3)
    profile_information: tuple[Item, ...] = field(tags.PROFILE_INFORMATION, Raw(), default=(), since=V1_3)
    validation_information: tuple[Item, ...] = field(tags.VALIDATION_INFORMATION, Raw(), default=(), since=V1_3)
    capability_information: tuple[Item, ...] = field(tags.CAPABILITY_INFORMATION, Raw(), default=(), since=V1_3)
    client_registration_method: tuple[int, ...] = field(
        tags.CLIENT_REGISTRATION_METHOD, ItemType.ENUMERATION, default=(), since=V1_3
    )
    defaults_information: Item | None = field(tags.DEFAULTS_INFORMATION, Raw(), default=None, since=V2_0)
    protection_storage_masks: Item | None = field(tags.PROTECTION_STORAGE_MASKS, Raw(), default=None, since=V2_0)
