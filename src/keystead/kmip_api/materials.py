"""Managed Objects as the material of a key, and back.

Plain bytes of a key, a secret or an opaque object are the material as they are, so that every key server can hold it.
Any other object (wrapped, or with a structured Key Value) is encoded as a whole. KMIP 1.4 section 2.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.core.secret import Secret
from keystead.kmip.messages.attributes import Attribute
from keystead.kmip.messages.objects import KeyBlock, KeyValue, ManagedObject, OpaqueObject, SecretData, SymmetricKey
from keystead.kmip.ttlv import schema
from keystead.kmip.ttlv.enums import CryptographicAlgorithm, KeyFormatType, ObjectType
from keystead.kmip.ttlv.errors import KMIPError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.kmip.ttlv.versions import Version

CLASSES: Final[Mapping[int, type[SymmetricKey | SecretData | OpaqueObject]]] = {
    ObjectType.SYMMETRIC_KEY: SymmetricKey,
    ObjectType.SECRET_DATA: SecretData,
    ObjectType.OPAQUE_OBJECT: OpaqueObject,
}
"""The object types that are kept, with their structures."""

_AES: Final = (128, 192, 256)
_LENGTHS: Final[Mapping[int, tuple[int, ...]]] = {
    CryptographicAlgorithm.AES: _AES,
    CryptographicAlgorithm.TRIPLE_DES: (128, 192),
    CryptographicAlgorithm.HMAC_SHA1: (160, *_AES),
    CryptographicAlgorithm.HMAC_SHA224: (224,),
    CryptographicAlgorithm.HMAC_SHA256: (*_AES, 512),
    CryptographicAlgorithm.HMAC_SHA384: (256, 384),
    CryptographicAlgorithm.HMAC_SHA512: (256, 512),
}
"""The algorithms for which keys are made, and their lengths in bits."""

_ENCODED: Final = "encoded"
_FORMAT, _ALGORITHM, _LENGTH, _TYPE = "format", "algorithm", "length", "type"


def made(algorithm: int | None, length: int | None) -> SymmetricKey:
    """Return a new symmetric key of random bytes. Raises ObjectRefusal."""
    if algorithm is None or length is None:
        raise ObjectRefusal(
            RefusalReason.INVALID_FIELD, "A key is made from a Cryptographic Algorithm and a Cryptographic Length."
        )
    if length not in _LENGTHS.get(algorithm, ()):
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "No key of this algorithm and length is made here.")
    block = KeyBlock(
        KeyFormatType.RAW,
        key_value=KeyValue(os.urandom(length // 8)),
        cryptographic_algorithm=algorithm,
        cryptographic_length=length,
    )
    return SymmetricKey(block)


def kept(object_type: int, given: ManagedObject | None, version: Version) -> tuple[dict[str, int], Secret]:
    """Return the form and the material of an object that a client registers. Raises ObjectRefusal."""
    expected = CLASSES.get(object_type)
    if expected is None:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "Symmetric Key, Secret Data and Opaque Object are kept here.")
    if given is None:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "The request has no object.")
    if not isinstance(given, expected):
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "The object is not of the Object Type of the request.")
    if isinstance(given, OpaqueObject):
        return {_TYPE: given.opaque_data_type}, Secret(given.opaque_data_value)
    block = given.key_block
    if block.key_value is None:
        raise ObjectRefusal(RefusalReason.INVALID_FIELD, "The object has no Key Value.")
    plain = _plain_bytes(block)
    if plain is None:
        major, minor = version
        return {_ENCODED: major * 10 + minor}, Secret(schema.encode(given, version))
    form = {_FORMAT: block.key_format_type}
    if block.cryptographic_algorithm is not None:
        form[_ALGORITHM] = block.cryptographic_algorithm
    if block.cryptographic_length is not None:
        form[_LENGTH] = block.cryptographic_length
    if isinstance(given, SecretData):
        form[_TYPE] = given.secret_data_type
    return form, Secret(plain)


def restored(object_type: int, form: Mapping[str, int], material: Secret) -> ManagedObject:
    """Return the object as it was registered. Raises ObjectRefusal if the material is not that of such an object."""
    if _ENCODED in form:
        version = divmod(form[_ENCODED], 10)
        try:
            return schema.decode(CLASSES[object_type], material.reveal(), version, DEFAULT_LIMITS)
        except KMIPError:
            raise ObjectRefusal(RefusalReason.GENERAL_FAILURE, "The stored object cannot be decoded.") from None
    if object_type == ObjectType.OPAQUE_OBJECT:
        return OpaqueObject(form[_TYPE], material.reveal())
    block = KeyBlock(
        form[_FORMAT],
        key_value=KeyValue(material.reveal()),
        cryptographic_algorithm=form.get(_ALGORITHM),
        cryptographic_length=form.get(_LENGTH),
    )
    return SecretData(form[_TYPE], block) if object_type == ObjectType.SECRET_DATA else SymmetricKey(block)


def own_attributes(given: ManagedObject | None) -> list[Attribute]:
    """Return the attributes that the server takes from the object itself."""
    block = getattr(given, "key_block", None)
    if not isinstance(block, KeyBlock):
        return []
    found = {
        "Cryptographic Algorithm": block.cryptographic_algorithm,
        "Cryptographic Length": block.cryptographic_length,
    }
    return [Attribute(name, None, value) for name, value in found.items() if value is not None]


def _plain_bytes(block: KeyBlock) -> bytes | None:
    """Return the bytes of a key, or None if they alone are not the whole Key Value."""
    value = block.key_value
    if not isinstance(value, KeyValue) or value.attribute or value.attributes is not None:
        return None
    if block.key_wrapping_data is not None or block.key_compression_type is not None:
        return None
    return value.key_material if isinstance(value.key_material, bytes) else None
