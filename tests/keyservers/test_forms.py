"""The objects of each key form, and the material read from returned objects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keystead.core.keys.model import KeyForm
from keystead.core.secret import Secret
from keystead.keyservers.forms import NAMESPACE, material_of, new_objects
from keystead.kmip.messages.attributes import ApplicationSpecificInformation, Name
from keystead.kmip.messages.objects import (
    Certificate,
    KeyBlock,
    KeyValue,
    KeyWrappingData,
    OpaqueObject,
    SecretData,
    SymmetricKey,
)
from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.enums import (
    CryptographicAlgorithm,
    CryptographicUsageMask,
    KeyFormatType,
    ObjectType,
    SecretDataType,
    WrappingMethod,
)
from keystead.kmip.ttlv.ttlv import Item, ItemType

OCTETS = bytes(range(64))
MATERIAL = Secret(OCTETS)
HALVES = OCTETS[:32], OCTETS[32:]


def test_secret_data() -> None:
    """One Secret Data of type Seed in Key Format Raw."""
    (made,) = new_objects("k", MATERIAL, KeyForm.SECRET_DATA)
    assert made.object_type is ObjectType.SECRET_DATA
    assert isinstance(made.managed_object, SecretData)
    assert made.managed_object.secret_data_type == SecretDataType.SEED
    assert made.managed_object.key_block.key_format_type == KeyFormatType.RAW
    assert material_of(made.managed_object) == OCTETS


@pytest.mark.parametrize(
    ("form", "names", "parts"),
    [
        (KeyForm.SYMMETRIC_KEY, ["k"], [OCTETS]),
        (KeyForm.SYMMETRIC_KEY_PAIR, ["k-1", "k-2"], list(HALVES)),
    ],
)
def test_symmetric_keys(form: KeyForm, names: list[str], parts: list[bytes]) -> None:
    """One AES key of all bits, or two of half of them under names of their own."""
    made = new_objects("k", MATERIAL, form)
    assert [new.object_type for new in made] == [ObjectType.SYMMETRIC_KEY] * len(parts)
    for new, name, octets in zip(made, names, parts, strict=True):
        assert isinstance(new.managed_object, SymmetricKey)
        block = new.managed_object.key_block
        assert (block.cryptographic_algorithm, block.cryptographic_length) == (
            CryptographicAlgorithm.AES,
            8 * len(octets),
        )
        assert material_of(new.managed_object) == octets
        assert [entry.attribute_value.name_value for entry in new.attributes if entry.attribute_name == "Name"] == [
            name
        ]


@pytest.mark.parametrize("form", KeyForm)
def test_attributes(form: KeyForm) -> None:
    """A new object has a usage mask, a Name, our information if wanted, and nothing that activates it."""
    mask = CryptographicUsageMask.ENCRYPT | CryptographicUsageMask.DECRYPT
    for information in (None, "of ours"):
        for new in new_objects("k", MATERIAL, form, information):
            values = {entry.attribute_name: entry.attribute_value for entry in new.attributes}
            assert values.pop("Cryptographic Usage Mask") == mask
            assert isinstance(values.pop("Name"), Name)
            told = (
                {}
                if information is None
                else {"Application Specific Information": ApplicationSpecificInformation(NAMESPACE, information)}
            )
            assert values == told


@pytest.mark.parametrize("octets", [b"", bytes(33)])
def test_material_without_two_halves(octets: bytes) -> None:
    """Material of odd length cannot be stored as a pair."""
    with pytest.raises(ValueError, match="cannot be halved"):
        new_objects("k", Secret(octets), KeyForm.SYMMETRIC_KEY_PAIR)


def test_what_is_no_material() -> None:
    """Objects of other types, wrapped keys, split keys, and blocks without a value have no material."""
    seed = SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(OCTETS)))
    wrapped = replace(seed.key_block, key_wrapping_data=KeyWrappingData(WrappingMethod.ENCRYPT))
    for managed_object in (
        OpaqueObject(1, OCTETS),
        Certificate(1, OCTETS),
        replace(seed, key_block=wrapped),
        replace(seed, key_block=replace(seed.key_block, key_value=OCTETS)),
        replace(seed, key_block=replace(seed.key_block, key_value=None)),
        replace(
            seed, key_block=replace(seed.key_block, key_value=KeyValue(Item(tags.KEY_MATERIAL, ItemType.STRUCTURE, ())))
        ),
    ):
        assert material_of(managed_object) is None
    assert material_of(seed) == OCTETS
