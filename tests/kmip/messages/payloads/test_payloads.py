"""Each operation's request and response payload against bytes: the 1.x form and, where it differs, the 2.x form.

The bytes of 1.x follow the OASIS test cases 1.2, those of 2.0 were written by PyKMIP or by hand from the specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.kmip.messages.attributes import (
    Attribute,
    AttributeReference,
    Attributes,
    Link,
    RevocationReason,
    TemplateAttribute,
    VendorAttribute,
    attribute,
    name_attribute,
)
from keystead.kmip.messages.headers import ProtocolVersion
from keystead.kmip.messages.messages import decode_request, decode_response, encode_request, encode_response
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData, raw_key
from keystead.kmip.messages.payloads import (
    activate,
    add_attribute,
    create,
    destroy,
    discover_versions,
    get,
    get_attribute_list,
    get_attributes,
    locate,
    query,
    register,
    revoke,
)
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.enums import Operation
from keystead.kmip.ttlv.errors import RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_1, V1_2, V1_4, V2_0, V2_1, Version
from tests.kmip import feeding, wire

if TYPE_CHECKING:
    from collections.abc import Callable

AES128 = raw_key(bytes(range(16)), enums.CryptographicAlgorithm.AES)
CUSTOM = Attribute("x-ID", attribute_value=Item(tags.ATTRIBUTE_VALUE, ItemType.TEXT_STRING, "TC-315-12"))
FOR_AES128 = (
    attribute("Cryptographic Algorithm", enums.CryptographicAlgorithm.AES),
    attribute("Cryptographic Length", 128),
    attribute("Cryptographic Usage Mask", 12),
)

REQUESTS: list[tuple[Version, Operation, Any, str]] = [
    (V1_1, Operation.DISCOVER_VERSIONS, discover_versions.DiscoverVersionsRequestPayload(), "420079 01 00000000"),
    (
        V1_2,
        Operation.DISCOVER_VERSIONS,
        discover_versions.DiscoverVersionsRequestPayload((ProtocolVersion(9, 31),)),
        """
        420079 01 00000028
          420069 01 00000020
            42006A 02 00000004 0000000900000000
            42006B 02 00000004 0000001F00000000
        """,
    ),
    (
        V1_2,
        Operation.QUERY,
        query.QueryRequestPayload((enums.QueryFunction.QUERY_OPERATIONS, enums.QueryFunction.QUERY_EXTENSION_LIST)),
        """
        420079 01 00000020
          420074 05 00000004 0000000100000000
          420074 05 00000004 0000000500000000
        """,
    ),
    (
        V1_2,
        Operation.CREATE,
        create.CreateRequestPayload(enums.ObjectType.SYMMETRIC_KEY, TemplateAttribute(attribute=FOR_AES128)),
        """
        420079 01 000000C0
          420057 05 00000004 0000000200000000
          420091 01 000000A8
            420008 01 00000030
              42000A 07 00000017 43727970746F6772617068696320416C676F726974686D00
              42000B 05 00000004 0000000300000000
            420008 01 00000030
              42000A 07 00000014 43727970746F67726170686963204C656E67746800000000
              42000B 02 00000004 0000008000000000
            420008 01 00000030
              42000A 07 00000018 43727970746F67726170686963205573616765204D61736B
              42000B 02 00000004 0000000C00000000
        """,
    ),
    (
        V2_0,
        Operation.CREATE,
        create.CreateRequestPayload(
            enums.ObjectType.SYMMETRIC_KEY, attributes=Attributes((*FOR_AES128, name_attribute("disk-1")))
        ),
        """
        420079 01 00000070
          420057 05 00000004 0000000200000000
          420125 01 00000058
            420028 05 00000004 0000000300000000
            42002A 02 00000004 0000008000000000
            42002C 02 00000004 0000000C00000000
            420053 01 00000020
              420055 07 00000006 6469736B2D310000
              420054 05 00000004 0000000100000000
        """,
    ),
    (
        V1_2,
        Operation.REGISTER,
        register.RegisterRequestPayload(
            enums.ObjectType.SECRET_DATA,
            TemplateAttribute(attribute=(attribute("Cryptographic Usage Mask", 2), CUSTOM)),
            managed_object=SecretData(
                enums.SecretDataType.PASSWORD,
                KeyBlock(enums.KeyFormatType.OPAQUE, key_value=KeyValue(b"SecretPassword")),
            ),
        ),
        """
        420079 01 000000D0
          420057 05 00000004 0000000700000000
          420091 01 00000068
            420008 01 00000030
              42000A 07 00000018 43727970746F67726170686963205573616765204D61736B
              42000B 02 00000004 0000000200000000
            420008 01 00000028
              42000A 07 00000004 782D494400000000
              42000B 07 00000009 54432D3331352D313200000000000000
          420085 01 00000048
            420086 05 00000004 0000000100000000
            420040 01 00000030
              420042 05 00000004 0000000200000000
              420045 01 00000018
                420043 08 0000000E 53656372657450617373776F72640000
        """,
    ),
    (
        V2_0,
        Operation.REGISTER,
        register.RegisterRequestPayload(
            enums.ObjectType.SYMMETRIC_KEY,
            attributes=Attributes((attribute("Cryptographic Usage Mask", 12),)),
            managed_object=AES128,
        ),
        """
        420079 01 00000088
          420057 05 00000004 0000000200000000
          420125 01 00000010
            42002C 02 00000004 0000000C00000000
          42008F 01 00000058
            420040 01 00000050
              420042 05 00000004 0000000100000000
              420045 01 00000018
                420043 08 00000010 000102030405060708090A0B0C0D0E0F
              420028 05 00000004 0000000300000000
              42002A 02 00000004 0000008000000000
        """,
    ),
    (
        V1_2,
        Operation.LOCATE,
        locate.LocateRequestPayload(
            attribute=(attribute("State", enums.State.PRE_ACTIVE), attribute("Unique Identifier", "DEADBEEFCAFE"))
        ),
        """
        420079 01 00000068
          420008 01 00000020
            42000A 07 00000005 5374617465000000
            42000B 05 00000004 0000000100000000
          420008 01 00000038
            42000A 07 00000011 556E69717565204964656E74696669657200000000000000
            42000B 07 0000000C 44454144424545464341464500000000
        """,
    ),
    (
        V2_0,
        Operation.LOCATE,
        locate.LocateRequestPayload(1, attributes=Attributes((name_attribute("disk-1"),))),
        """
        420079 01 00000040
          42004F 02 00000004 0000000100000000
          420125 01 00000028
            420053 01 00000020
              420055 07 00000006 6469736B2D310000
              420054 05 00000004 0000000100000000
        """,
    ),
    (
        V2_0,
        Operation.GET,
        get.GetRequestPayload("7", enums.KeyFormatType.RAW),
        """
        420079 01 00000020
          420094 07 00000001 3700000000000000
          420042 05 00000004 0000000100000000
        """,
    ),
    (
        V2_1,  # the ID Placeholder as the enumeration Unique Identifier
        Operation.GET,
        get.GetRequestPayload(Item(tags.UNIQUE_IDENTIFIER, ItemType.ENUMERATION, 1)),
        "420079 01 00000010 420094 05 00000004 0000000100000000",
    ),
    (
        V1_2,
        Operation.GET_ATTRIBUTES,
        get_attributes.GetAttributesRequestPayload("7", ("State",)),
        """
        420079 01 00000020
          420094 07 00000001 3700000000000000
          42000A 07 00000005 5374617465000000
        """,
    ),
    (
        V2_0,
        Operation.GET_ATTRIBUTES,
        get_attributes.GetAttributesRequestPayload(
            "7", attribute_reference=(tags.STATE, AttributeReference("x", "ID"), tags.NAME)
        ),
        """
        420079 01 00000058
          420094 07 00000001 3700000000000000
          42013B 05 00000004 0042008D00000000
          42013B 01 00000020
            42009D 07 00000001 7800000000000000
            42000A 07 00000002 4944000000000000
          42013B 05 00000004 0042005300000000
        """,
    ),
    (
        V1_2,
        Operation.GET_ATTRIBUTE_LIST,
        get_attribute_list.GetAttributeListRequestPayload("7"),
        "420079 01 00000010 420094 07 00000001 3700000000000000",
    ),
    (
        V1_2,
        Operation.ADD_ATTRIBUTE,
        add_attribute.AddAttributeRequestPayload("7", attribute("Contact Information", "me")),
        """
        420079 01 00000048
          420094 07 00000001 3700000000000000
          420008 01 00000030
            42000A 07 00000013 436F6E7461637420496E666F726D6174696F6E0000000000
            42000B 07 00000002 6D65000000000000
        """,
    ),
    (
        V2_0,
        Operation.ADD_ATTRIBUTE,
        add_attribute.AddAttributeRequestPayload(
            "7", new_attribute=Attributes((attribute("Link", Link(enums.LinkType.NEXT_LINK, "8")),))
        ),
        """
        420079 01 00000040
          420094 07 00000001 3700000000000000
          42013D 01 00000028
            42004A 01 00000020
              42004B 05 00000004 0000010B00000000
              42004C 07 00000001 3800000000000000
        """,
    ),
    (
        V2_0,
        Operation.ADD_ATTRIBUTE,
        add_attribute.AddAttributeRequestPayload(
            "7",
            new_attribute=Attributes(
                (VendorAttribute("x", "ID", Item(tags.ATTRIBUTE_VALUE, ItemType.INTEGER, 5)),),
            ),
        ),
        """
        420079 01 00000050
          420094 07 00000001 3700000000000000
          42013D 01 00000038
            420008 01 00000030
              42009D 07 00000001 7800000000000000
              42000A 07 00000002 4944000000000000
              42000B 02 00000004 0000000500000000
        """,
    ),
    (
        V1_4,
        Operation.ACTIVATE,
        activate.ActivateRequestPayload("7"),
        "420079 01 00000010 420094 07 00000001 3700000000000000",
    ),
    (V1_4, Operation.ACTIVATE, activate.ActivateRequestPayload(), "420079 01 00000000"),
    (
        V1_4,
        Operation.REVOKE,
        revoke.RevokeRequestPayload(
            "7",
            revocation_reason=RevocationReason(enums.RevocationReasonCode.KEY_COMPROMISE, "lost"),
            compromise_occurrence_date=6,
        ),
        """
        420079 01 00000048
          420094 07 00000001 3700000000000000
          420081 01 00000020
            420082 05 00000004 0000000200000000
            420080 07 00000004 6C6F737400000000
          420021 09 00000008 0000000000000006
        """,
    ),
    (
        V1_4,
        Operation.DESTROY,
        destroy.DestroyRequestPayload("7"),
        "420079 01 00000010 420094 07 00000001 3700000000000000",
    ),
]

UID = "420094 07 00000001 3700000000000000"
RESPONSES: list[tuple[Version, Operation, Any, str]] = [
    (
        V1_1,
        Operation.DISCOVER_VERSIONS,
        discover_versions.DiscoverVersionsResponsePayload((ProtocolVersion(1, 4), ProtocolVersion(1, 0))),
        """
        42007C 01 00000050
          420069 01 00000020
            42006A 02 00000004 0000000100000000
            42006B 02 00000004 0000000400000000
          420069 01 00000020
            42006A 02 00000004 0000000100000000
            42006B 02 00000004 0000000000000000
        """,
    ),
    (
        V1_4,
        Operation.QUERY,
        query.QueryResponsePayload(
            (Operation.CREATE, 0x8000_0001),
            (enums.ObjectType.SYMMETRIC_KEY,),
            "Vendor",
            Item(tags.SERVER_INFORMATION, ItemType.STRUCTURE, (Item(0x540001, ItemType.TEXT_STRING, "x"),)),
        ),
        """
        42007C 01 00000058
          42005C 05 00000004 0000000100000000
          42005C 05 00000004 8000000100000000
          420057 05 00000004 0000000200000000
          42009D 07 00000006 56656E646F720000
          420088 01 00000010
            540001 07 00000001 7800000000000000
        """,
    ),
    (
        V1_2,
        Operation.CREATE,
        create.CreateResponsePayload(enums.ObjectType.SYMMETRIC_KEY, "7"),
        f"42007C 01 00000020 420057 05 00000004 0000000200000000 {UID}",
    ),
    (
        V1_2,
        Operation.REGISTER,
        register.RegisterResponsePayload("7", TemplateAttribute(attribute=(attribute("State", 1),))),
        f"""
        42007C 01 00000040 {UID}
          420091 01 00000028
            420008 01 00000020
              42000A 07 00000005 5374617465000000
              42000B 05 00000004 0000000100000000
        """,
    ),
    (V2_0, Operation.REGISTER, register.RegisterResponsePayload("7"), f"42007C 01 00000010 {UID}"),
    (
        V1_4,
        Operation.LOCATE,
        locate.LocateResponsePayload(2, ("7", "7")),
        f"42007C 01 00000030 4200D5 02 00000004 0000000200000000 {UID} {UID}",
    ),
    (V1_2, Operation.LOCATE, locate.LocateResponsePayload(), "42007C 01 00000000"),
    (
        V2_0,
        Operation.GET,
        get.GetResponsePayload(enums.ObjectType.SYMMETRIC_KEY, "7", AES128),
        f"""
        42007C 01 00000080
          420057 05 00000004 0000000200000000 {UID}
          42008F 01 00000058
            420040 01 00000050
              420042 05 00000004 0000000100000000
              420045 01 00000018
                420043 08 00000010 000102030405060708090A0B0C0D0E0F
              420028 05 00000004 0000000300000000
              42002A 02 00000004 0000008000000000
        """,
    ),
    (
        V1_2,
        Operation.GET_ATTRIBUTES,
        get_attributes.GetAttributesResponsePayload("7", (Attribute("State", 0, enums.State.ACTIVE),)),
        f"""
        42007C 01 00000048 {UID}
          420008 01 00000030
            42000A 07 00000005 5374617465000000
            420009 02 00000004 0000000000000000
            42000B 05 00000004 0000000200000000
        """,
    ),
    (
        V2_0,
        Operation.GET_ATTRIBUTES,
        get_attributes.GetAttributesResponsePayload(
            "7", attributes=Attributes((attribute("State", enums.State.ACTIVE), name_attribute("disk-1")))
        ),
        f"""
        42007C 01 00000050 {UID}
          420125 01 00000038
            42008D 05 00000004 0000000200000000
            420053 01 00000020
              420055 07 00000006 6469736B2D310000
              420054 05 00000004 0000000100000000
        """,
    ),
    (
        V1_2,
        Operation.GET_ATTRIBUTE_LIST,
        get_attribute_list.GetAttributeListResponsePayload("7", ("State", "x-ID")),
        f"42007C 01 00000030 {UID} 42000A 07 00000005 5374617465000000 42000A 07 00000004 782D494400000000",
    ),
    (
        V2_0,
        Operation.GET_ATTRIBUTE_LIST,
        get_attribute_list.GetAttributeListResponsePayload("7", attribute_reference=(tags.STATE, tags.NAME)),
        f"42007C 01 00000030 {UID} 42013B 05 00000004 0042008D00000000 42013B 05 00000004 0042005300000000",
    ),
    (
        V1_2,
        Operation.ADD_ATTRIBUTE,
        add_attribute.AddAttributeResponsePayload("7", attribute("State", enums.State.ACTIVE)),
        f"""
        42007C 01 00000038 {UID}
          420008 01 00000020
            42000A 07 00000005 5374617465000000
            42000B 05 00000004 0000000200000000
        """,
    ),
    (V2_0, Operation.ADD_ATTRIBUTE, add_attribute.AddAttributeResponsePayload("7"), f"42007C 01 00000010 {UID}"),
    (V1_4, Operation.ACTIVATE, activate.ActivateResponsePayload("7"), f"42007C 01 00000010 {UID}"),
    (V1_4, Operation.REVOKE, revoke.RevokeResponsePayload("7"), f"42007C 01 00000010 {UID}"),
    (V1_4, Operation.DESTROY, destroy.DestroyResponsePayload("7"), f"42007C 01 00000010 {UID}"),
]


@pytest.mark.parametrize(("version", "operation", "payload", "text"), REQUESTS)
def test_request_payloads(version: Version, operation: Operation, payload: Any, text: str) -> None:
    """The payload decodes from its bytes, however they come, and encodes to them."""
    data = wire.request(operation, wire.unhex(text), version)
    message = feeding.request(data)
    assert message.batch_item[0].request_payload == payload
    assert encode_request(message) == data


@pytest.mark.parametrize(("version", "operation", "payload", "text"), RESPONSES)
def test_response_payloads(version: Version, operation: Operation, payload: Any, text: str) -> None:
    """The payload decodes from its bytes, however they come, and encodes to them."""
    data = wire.response(operation, wire.unhex(text), version)
    message = feeding.response(data, operation)
    assert message.batch_item[0].response_payload == payload
    assert encode_response(message) == data


CODECS: dict[int, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    tags.REQUEST_MESSAGE & 0xFF: (decode_request, encode_request),
    tags.RESPONSE_MESSAGE & 0xFF: (decode_response, encode_response),
}

SAMPLES = [
    *(wire.request(operation, wire.unhex(text), version) for version, operation, _, text in REQUESTS),
    *(wire.response(operation, wire.unhex(text), version) for version, operation, _, text in RESPONSES),
]


@given(st.sampled_from(SAMPLES), st.data())
def test_mutated_messages(sample: bytes, data: st.DataObject) -> None:
    """With bytes changed, cut out or doubled a message is read, and then encodes, or raises one of the two errors."""
    mutated = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        change = data.draw(st.sampled_from(["byte", "cut", "double", "length"]))
        if change == "byte":
            mutated[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del mutated[at : min(at + 8, len(mutated) - 1)]
        elif change == "double":
            mutated[at:at] = mutated[at : at + 16]
        else:
            mutated[at // 8 * 8 + 4 : at // 8 * 8 + 8] = data.draw(
                st.sampled_from([b"\xff" * 4, b"\0\0\0\x08", b"\0" * 4])
            )
    read, write = CODECS[sample[2]]
    try:
        message = read(bytes(mutated))
    except (TTLVError, RemoteProtocolError):
        return
    assert read(write(message)) == message


def test_attributes_in_either_form() -> None:
    """Get Attributes gives the attributes whichever form they came in."""
    state = attribute("State", enums.State.ACTIVE)
    assert get_attributes.GetAttributesResponsePayload("7", (state,)).all() == (state,)
    assert get_attributes.GetAttributesResponsePayload("7", attributes=Attributes((state,))).all() == (state,)


def test_attribute_names_in_either_form() -> None:
    """Get Attribute List gives names whichever form they came in, and shows a tag that is not known."""
    references = (tags.STATE, AttributeReference("x", "ID"), 0x54FFFF)
    assert get_attribute_list.GetAttributeListResponsePayload("7", ("State",)).names() == ("State",)
    payload = get_attribute_list.GetAttributeListResponsePayload("7", attribute_reference=references)
    assert payload.names() == ("State", "ID", "0x54FFFF")
