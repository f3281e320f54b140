"""The Managed Objects that hold a key on a key server, and how to get the material out of a returned object.

Objects are registered Pre-Active: no Activation Date is given. No I/O here. KMIP 1.4 sections 2.2.2, 2.2.7 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.core.keys.model import KeyForm
from keystead.kmip.messages.attributes import ApplicationSpecificInformation, attribute, name_attribute
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData, SymmetricKey, raw_key
from keystead.kmip.ttlv.enums import (
    CryptographicAlgorithm,
    CryptographicUsageMask,
    KeyFormatType,
    ObjectType,
    SecretDataType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.core.secret import Secret
    from keystead.kmip.messages.attributes import Attribute
    from keystead.kmip.messages.objects import ManagedObject

NAMESPACE: Final = "keystead"
"""The Application Namespace of our Application Specific Information."""

# Every server knows these two bits. Keystead never encrypts or decrypts on a key server.
_USAGE_MASK: Final = int(CryptographicUsageMask.ENCRYPT | CryptographicUsageMask.DECRYPT)


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to register."""

    object_type: ObjectType
    managed_object: ManagedObject
    attributes: tuple[Attribute, ...]


def new_objects(
    name: str, material: Secret, form: KeyForm, application_information: str | None = None
) -> tuple[NewObject, ...]:
    """Return the object or objects that hold the material under this name. Objects of a pair end in ``-1`` and ``-2``.

    Raises ValueError if a pair is asked for and the material cannot be halved.
    """
    octets = material.reveal()
    if form is not KeyForm.SYMMETRIC_KEY_PAIR:
        return (_new_object(name, octets, form, application_information),)
    middle, odd = divmod(len(octets), 2)
    if odd or not middle:
        raise ValueError("the material cannot be halved")
    halves = (f"{name}-1", octets[:middle]), (f"{name}-2", octets[middle:])
    return tuple(_new_object(part, half, form, application_information) for part, half in halves)


def material_of(managed_object: ManagedObject) -> bytes | None:
    """Return the material of an object that a server returned. None unless the material is unwrapped, plain bytes."""
    if not isinstance(managed_object, SecretData | SymmetricKey):
        return None
    block = managed_object.key_block
    if block.key_wrapping_data is not None or not isinstance(block.key_value, KeyValue):
        return None
    material = block.key_value.key_material
    return material if isinstance(material, bytes) else None


def _new_object(name: str, octets: bytes, form: KeyForm, application_information: str | None) -> NewObject:
    object_type, make = _OBJECTS[form]
    attributes = [attribute("Cryptographic Usage Mask", _USAGE_MASK), name_attribute(name)]
    if application_information is not None:
        value = ApplicationSpecificInformation(NAMESPACE, application_information)
        attributes.append(attribute("Application Specific Information", value))
    return NewObject(object_type, make(octets), tuple(attributes))


def _seed(octets: bytes) -> SecretData:
    return SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(octets)))


def _aes(octets: bytes) -> SymmetricKey:
    return raw_key(octets, CryptographicAlgorithm.AES)


_OBJECTS: Final[Mapping[KeyForm, tuple[ObjectType, Callable[[bytes], ManagedObject]]]] = {
    KeyForm.SECRET_DATA: (ObjectType.SECRET_DATA, _seed),
    KeyForm.SYMMETRIC_KEY: (ObjectType.SYMMETRIC_KEY, _aes),
    KeyForm.SYMMETRIC_KEY_PAIR: (ObjectType.SYMMETRIC_KEY, _aes),
}
