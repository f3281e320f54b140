"""Managed Objects and the Key Block inside them (KMIP 1.4 sections 2.1.3 to 2.1.10 and 2.2).

Key material in any form is a secret field: it is never in a ``repr``. Object types without a structure here (other
kinds of keys, templates) are kept as raw items.
"""

from __future__ import annotations

from typing import Final

from keystead.kmip.messages.attributes import IDENTIFIER, Attribute, Attributes, CryptographicParameters
from keystead.kmip.ttlv import enums, tags
from keystead.kmip.ttlv.kinds import Either, OneOf, Raw
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType
from keystead.kmip.ttlv.versions import V1_1, V2_0


@structure(tags.ENCRYPTION_KEY_INFORMATION)
class EncryptionKeyInformation(Structure):
    """The key that wraps, and its parameters (KMIP 1.4 section 2.1.5)."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    cryptographic_parameters: CryptographicParameters | None = field(
        tags.CRYPTOGRAPHIC_PARAMETERS, CryptographicParameters, default=None
    )


@structure(tags.MAC_SIGNATURE_KEY_INFORMATION)
class MACSignatureKeyInformation(Structure):
    """The key that authenticates a wrapped key, and its parameters (KMIP 1.4 section 2.1.5)."""

    unique_identifier: str | Item = field(tags.UNIQUE_IDENTIFIER, IDENTIFIER)
    cryptographic_parameters: CryptographicParameters | None = field(
        tags.CRYPTOGRAPHIC_PARAMETERS, CryptographicParameters, default=None
    )


@structure(tags.KEY_WRAPPING_DATA)
class KeyWrappingData(Structure):
    """How the Key Value of the same Key Block was wrapped (KMIP 1.4 section 2.1.5)."""

    wrapping_method: int = field(tags.WRAPPING_METHOD, enums.WrappingMethod)
    encryption_key_information: EncryptionKeyInformation | None = field(
        tags.ENCRYPTION_KEY_INFORMATION, EncryptionKeyInformation, default=None
    )
    mac_signature_key_information: MACSignatureKeyInformation | None = field(
        tags.MAC_SIGNATURE_KEY_INFORMATION, MACSignatureKeyInformation, default=None
    )
    mac_signature: bytes | None = field(tags.MAC_SIGNATURE, ItemType.BYTE_STRING, default=None)
    iv_counter_nonce: bytes | None = field(tags.IV_COUNTER_NONCE, ItemType.BYTE_STRING, default=None)
    encoding_option: int | None = field(tags.ENCODING_OPTION, enums.EncodingOption, default=None, since=V1_1)


@structure(tags.KEY_WRAPPING_SPECIFICATION)
class KeyWrappingSpecification(Structure):
    """How a Get wants the key to be wrapped (KMIP 1.4 section 2.1.6)."""

    wrapping_method: int = field(tags.WRAPPING_METHOD, enums.WrappingMethod)
    encryption_key_information: EncryptionKeyInformation | None = field(
        tags.ENCRYPTION_KEY_INFORMATION, EncryptionKeyInformation, default=None
    )
    mac_signature_key_information: MACSignatureKeyInformation | None = field(
        tags.MAC_SIGNATURE_KEY_INFORMATION, MACSignatureKeyInformation, default=None
    )
    attribute_name: tuple[str, ...] = field(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING, default=())
    encoding_option: int | None = field(tags.ENCODING_OPTION, enums.EncodingOption, default=None, since=V1_1)


@structure(tags.KEY_VALUE)
class KeyValue(Structure):
    """Key Value in clear (KMIP 1.4 section 2.1.4): bytes, or a raw structure for the transparent key formats."""

    key_material: bytes | Item = field(tags.KEY_MATERIAL, Either(ItemType.BYTE_STRING, Raw()), secret=True)
    attribute: tuple[Attribute, ...] = field(tags.ATTRIBUTE, Attribute, default=(), until=V2_0)
    attributes: Attributes | None = field(tags.ATTRIBUTES, Attributes, default=None, since=V2_0)


@structure(tags.KEY_BLOCK)
class KeyBlock(Structure):
    """Key Block (KMIP 1.4 section 2.1.3). A wrapped Key Value is ``bytes`` and needs Key Wrapping Data.

    The item type, not the version, decides which form the Key Value has. Without a Key Value, the server has only the
    key's attributes (Key Value Present, 1.2).
    """

    key_format_type: int = field(tags.KEY_FORMAT_TYPE, enums.KeyFormatType)
    key_compression_type: int | None = field(tags.KEY_COMPRESSION_TYPE, enums.KeyCompressionType, default=None)
    key_value: KeyValue | bytes | None = field(
        tags.KEY_VALUE, Either(KeyValue, ItemType.BYTE_STRING), default=None, secret=True
    )
    cryptographic_algorithm: int | None = field(
        tags.CRYPTOGRAPHIC_ALGORITHM, enums.CryptographicAlgorithm, default=None
    )
    cryptographic_length: int | None = field(tags.CRYPTOGRAPHIC_LENGTH, ItemType.INTEGER, default=None)
    key_wrapping_data: KeyWrappingData | None = field(tags.KEY_WRAPPING_DATA, KeyWrappingData, default=None)


@structure(tags.SYMMETRIC_KEY)
class SymmetricKey(Structure):
    """Symmetric Key (KMIP 1.4 section 2.2.2)."""

    key_block: KeyBlock = field(tags.KEY_BLOCK, KeyBlock)


@structure(tags.SECRET_DATA)
class SecretData(Structure):
    """Secret Data: a password or a seed (KMIP 1.4 section 2.2.7)."""

    secret_data_type: int = field(tags.SECRET_DATA_TYPE, enums.SecretDataType)
    key_block: KeyBlock = field(tags.KEY_BLOCK, KeyBlock)


@structure(tags.OPAQUE_OBJECT)
class OpaqueObject(Structure):
    """Opaque Object: bytes that the server cannot interpret (KMIP 1.4 section 2.2.8)."""

    opaque_data_type: int = field(tags.OPAQUE_DATA_TYPE, ItemType.ENUMERATION)
    opaque_data_value: bytes = field(tags.OPAQUE_DATA_VALUE, ItemType.BYTE_STRING, secret=True)


@structure(tags.CERTIFICATE)
class Certificate(Structure):
    """Certificate, DER bytes for X.509 (KMIP 1.4 section 2.2.1)."""

    certificate_type: int = field(tags.CERTIFICATE_TYPE, enums.CertificateType)
    certificate_value: bytes = field(tags.CERTIFICATE_VALUE, ItemType.BYTE_STRING)


ManagedObject = SymmetricKey | SecretData | OpaqueObject | Certificate | Item

OBJECT: Final = OneOf(
    SymmetricKey,
    SecretData,
    OpaqueObject,
    Certificate,
    raw=(tags.PRIVATE_KEY, tags.PUBLIC_KEY, tags.SPLIT_KEY, tags.PGP_KEY, tags.TEMPLATE),
)
"""The kind of a field that holds a Managed Object."""


def raw_key(material: bytes, algorithm: enums.CryptographicAlgorithm, length: int | None = None) -> SymmetricKey:
    """Return a Symmetric Key in clear. ``length`` is in bits; the default is the length of the material."""
    return SymmetricKey(
        KeyBlock(
            enums.KeyFormatType.RAW,
            key_value=KeyValue(material),
            cryptographic_algorithm=algorithm,
            cryptographic_length=8 * len(material) if length is None else length,
        )
    )
