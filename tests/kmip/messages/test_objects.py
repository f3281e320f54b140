"""Managed Objects: plain and wrapped keys, and what is never shown of them."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.kmip.messages.attributes import Attributes, CryptographicParameters, attribute
from keystead.kmip.messages.objects import (
    Certificate,
    EncryptionKeyInformation,
    KeyBlock,
    KeyValue,
    KeyWrappingData,
    KeyWrappingSpecification,
    MACSignatureKeyInformation,
    OpaqueObject,
    SecretData,
    SymmetricKey,
    raw_key,
)
from keystead.kmip.ttlv import enums, schema, tags
from keystead.kmip.ttlv.errors import RemoteProtocolError
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_0, V1_4, V2_1
from tests.kmip import wire

SECRET = b"correct horse battery staple 32b"
WRAPPING = KeyWrappingData(
    enums.WrappingMethod.ENCRYPT_THEN_MAC_SIGN,
    EncryptionKeyInformation("7", CryptographicParameters(enums.BlockCipherMode.NISTKEYWRAP)),
    MACSignatureKeyInformation("8"),
    b"mac",
    b"nonce",
    enums.EncodingOption.NO_ENCODING,
)
TRANSPARENT = Item(
    tags.KEY_MATERIAL, ItemType.STRUCTURE, (Item(tags.KEY, ItemType.BYTE_STRING, b"correct horse battery staple"),)
)

OBJECTS: dict[str, Any] = {
    "symmetric key": raw_key(SECRET, enums.CryptographicAlgorithm.AES),
    "wrapped key": SymmetricKey(KeyBlock(enums.KeyFormatType.RAW, key_value=SECRET, key_wrapping_data=WRAPPING)),
    "transparent key": SymmetricKey(
        KeyBlock(enums.KeyFormatType.TRANSPARENT_SYMMETRIC_KEY, key_value=KeyValue(TRANSPARENT))
    ),
    "key without its value": SymmetricKey(KeyBlock(enums.KeyFormatType.RAW)),
    "secret data": SecretData(
        enums.SecretDataType.PASSWORD, KeyBlock(enums.KeyFormatType.OPAQUE, key_value=KeyValue(SECRET))
    ),
    "opaque object": OpaqueObject(0x8000_0001, SECRET),
    "certificate": Certificate(enums.CertificateType.X_509, b"DER"),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("version", [V1_4, V2_1])
def test_every_object_survives(name: str, version: tuple[int, int]) -> None:
    """What is encoded decodes to itself, in 1.x and in 2.x."""
    value = OBJECTS[name]
    assert schema.decode(type(value), schema.encode(value, version), version) == value


@pytest.mark.parametrize("name", OBJECTS)
def test_no_object_shows_its_secret(name: str) -> None:
    """Neither plain nor wrapped key material is in the repr of anything that holds it."""
    shown = repr(OBJECTS[name])
    assert "horse" not in shown
    assert SECRET.hex() not in shown


def test_symmetric_key_bytes() -> None:
    """An AES key in clear, against bytes."""
    data = wire.unhex("""
        42008F 01 00000058
          420040 01 00000050
            420042 05 00000004 0000000100000000
            420045 01 00000018
              420043 08 00000010 000102030405060708090A0B0C0D0E0F
            420028 05 00000004 0000000300000000
            42002A 02 00000004 0000008000000000
    """)
    assert schema.encode(raw_key(bytes(range(16)), enums.CryptographicAlgorithm.AES), V1_0) == data
    assert raw_key(bytes(24), enums.CryptographicAlgorithm.TRIPLE_DES, 168).key_block.cryptographic_length == 168


def test_wrapped_key_bytes() -> None:
    """A wrapped Key Value is told by its item type (OASIS test case TC-141-12)."""
    data = wire.unhex("""
        42008F 01 00000098
          420040 01 00000090
            420042 05 00000004 0000000100000000
            420045 08 00000018 1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5
            420028 05 00000004 0000000300000000
            42002A 02 00000004 0000008000000000
            420046 01 00000038
              42009E 05 00000004 0000000100000000
              420036 01 00000010
                420094 07 00000001 3700000000000000
              4200A3 05 00000004 0000000100000000
    """)
    key = schema.decode(SymmetricKey, data, V1_4)
    wrapping = key.key_block.key_wrapping_data
    assert isinstance(key.key_block.key_value, bytes)
    assert wrapping
    assert wrapping.encryption_key_information == EncryptionKeyInformation("7")
    assert wrapping.encoding_option is enums.EncodingOption.NO_ENCODING
    assert schema.encode(key, V1_4) == data


def test_attributes_of_a_key_value() -> None:
    """Attributes wrapped with a key stand as Attribute in 1.x and as Attributes in 2.x."""
    state = attribute("Cryptographic Usage Mask", 12)
    for value, version in ((KeyValue(b"k", (state,)), V1_4), (KeyValue(b"k", attributes=Attributes((state,))), V2_1)):
        assert schema.decode(KeyValue, schema.encode(value, version), version) == value


def test_key_wrapping_specification() -> None:
    """The wish for a wrapped key survives."""
    wish = KeyWrappingSpecification(
        enums.WrappingMethod.ENCRYPT,
        EncryptionKeyInformation("7"),
        attribute_name=("State", "Name"),
        encoding_option=enums.EncodingOption.NO_ENCODING,
    )
    assert schema.decode(KeyWrappingSpecification, schema.encode(wish, V1_4), V1_4) == wish


def test_a_key_block_of_no_sense() -> None:
    """A Key Value that is a number is refused."""
    block = wire.structure(tags.KEY_BLOCK, wire.enumeration(tags.KEY_FORMAT_TYPE, 1), wire.integer(tags.KEY_VALUE, 1))
    with pytest.raises(RemoteProtocolError):
        schema.decode(KeyBlock, block, V1_4)
