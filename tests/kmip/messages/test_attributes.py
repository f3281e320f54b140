"""Attributes: the same objects in the 1.x and the 2.x form."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.kmip.messages.attributes import (
    ATTRIBUTES,
    TAGS,
    AlternativeName,
    ApplicationSpecificInformation,
    Attribute,
    Attributes,
    CryptographicDomainParameters,
    CryptographicParameters,
    Digest,
    Link,
    Name,
    RevocationReason,
    TemplateAttribute,
    UsageLimits,
    VendorAttribute,
    attribute,
    name_attribute,
)
from keystead.kmip.ttlv import enums, schema, tags
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError
from keystead.kmip.ttlv.kinds import Raw
from keystead.kmip.ttlv.schema import Enumeration, Nested, Primitive, as_kind
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_2, V1_4, V2_1
from tests.kmip import wire

STRUCTURES: dict[type, Any] = {
    Name: Name("disk-1", enums.NameType.URI),
    CryptographicParameters: CryptographicParameters(enums.BlockCipherMode.GCM, iv_length=96, trailer_field=1),
    CryptographicDomainParameters: CryptographicDomainParameters(256, 6),
    Digest: Digest(enums.HashingAlgorithm.SHA_256, b"digest", enums.KeyFormatType.RAW),
    UsageLimits: UsageLimits(100, 5, usage_limits_unit=1),
    RevocationReason: RevocationReason(enums.RevocationReasonCode.SUPERSEDED, "why"),
    Link: Link(enums.LinkType.NEXT_LINK, "7"),
    ApplicationSpecificInformation: ApplicationSpecificInformation("ssl", "www"),
    AlternativeName: AlternativeName("disk", 1),
}
PRIMITIVES = {
    ItemType.INTEGER: 5,
    ItemType.BOOLEAN: True,
    ItemType.TEXT_STRING: "text",
    ItemType.DATE_TIME: 1_700_000_000,
    ItemType.INTERVAL: 60,
    ItemType.ENUMERATION: 1,
    ItemType.BYTE_STRING: b"bytes",
}


def sample(name: str, raw_tag: int) -> Any:
    """Return a value of an attribute; a raw one under the tag that its form wants."""
    match as_kind(ATTRIBUTES[name]):
        case Raw():
            return Item(raw_tag, ItemType.STRUCTURE, (Item(0x540001, ItemType.INTEGER, 1),))
        case Primitive(item_type):
            return PRIMITIVES[item_type]
        case Enumeration(members):
            return next(iter(members))
        case Nested(cls):
            return STRUCTURES[cls]
        case _:
            return "identifier"


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_in_both_forms(name: str) -> None:
    """An attribute survives Attribute {name, value} of 1.4 and its own tag inside Attributes of 2.1."""
    one = attribute(name, sample(name, tags.ATTRIBUTE_VALUE))
    template = TemplateAttribute(attribute=(one,))
    assert schema.decode(TemplateAttribute, schema.encode(template, V1_4), V1_4) == template
    attributes = Attributes((attribute(name, sample(name, TAGS[name])),))
    data = schema.encode(attributes, V2_1)
    assert data[8:11] == TAGS[name].to_bytes(3, "big")
    assert schema.decode(Attributes, data, V2_1) == attributes


def test_every_attribute_has_a_tag() -> None:
    """The names in the table are the specification's: each is a tag's name."""
    assert set(TAGS) == set(ATTRIBUTES)


def test_order_in_attributes_is_kept() -> None:
    """Attributes of the 2.x form stay in the order in which they came, vendor attributes among them."""
    vendor = VendorAttribute("x", "ID", Item(tags.ATTRIBUTE_VALUE, ItemType.TEXT_STRING, "a"))
    attributes = Attributes((name_attribute("b"), vendor, attribute("Comment", "c"), name_attribute("a")))
    data = schema.encode(attributes, V2_1)
    assert schema.decode(Attributes, data, V2_1) == attributes


def test_unknown_attributes() -> None:
    """A name or tag that is not in the table keeps its value raw, and is encoded again."""
    data = wire.structure(
        tags.ATTRIBUTE, wire.text(tags.ATTRIBUTE_NAME, "y-new"), wire.integer(tags.ATTRIBUTE_VALUE, 3)
    )
    one = schema.decode(Attribute, data, V1_4)
    assert one == Attribute("y-new", attribute_value=Item(tags.ATTRIBUTE_VALUE, ItemType.INTEGER, 3))
    assert schema.encode(one, V1_4) == data
    data = wire.structure(tags.ATTRIBUTES, wire.integer(0x42FFFF, 3))
    many = schema.decode(Attributes, data, V2_1)
    assert many.extra == (Item(0x42FFFF, ItemType.INTEGER, 3),)
    assert schema.encode(many, V2_1) == data


def test_an_attribute_without_value() -> None:
    """A Notify names attributes without a value."""
    data = wire.structure(tags.ATTRIBUTE, wire.text(tags.ATTRIBUTE_NAME, "State"))
    assert schema.decode(Attribute, data, V1_4) == Attribute("State")


def test_an_attribute_of_the_wrong_type() -> None:
    """A known name with a value of another item type is an error of the peer, in both forms."""
    data = wire.structure(
        tags.ATTRIBUTE, wire.text(tags.ATTRIBUTE_NAME, "State"), wire.integer(tags.ATTRIBUTE_VALUE, 1)
    )
    with pytest.raises(RemoteProtocolError):
        schema.decode(Attribute, data, V1_4)
    with pytest.raises(RemoteProtocolError):
        schema.decode(Attributes, wire.structure(tags.ATTRIBUTES, wire.integer(tags.STATE, 1)), V2_1)


@pytest.mark.parametrize("value", [attribute("x-ID", "a"), attribute("State", "a"), attribute("State", None), "State"])
def test_attributes_that_2_x_cannot_encode(value: Any) -> None:
    """A name without a tag, or a value of another kind, is an error of the caller."""
    with pytest.raises(LocalProtocolError):
        schema.encode(Attributes((value,)), V2_1)


def test_cryptographic_parameters_grew() -> None:
    """Fields of 1.4 in a 1.2 message stay raw and cannot be sent in one."""
    data = wire.structure(tags.CRYPTOGRAPHIC_PARAMETERS, wire.integer(tags.TRAILER_FIELD, 1))
    assert schema.decode(CryptographicParameters, data, V1_2).extra
    assert schema.decode(CryptographicParameters, data, V1_4).trailer_field == 1
    with pytest.raises(LocalProtocolError):
        schema.encode(CryptographicParameters(trailer_field=1), V1_2)
