"""The operations of the KMIP service, by Keystead's own client, in every protocol version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.messages.attributes import attribute, name_attribute
from keystead.kmip.messages.objects import KeyBlock, KeyValue, OpaqueObject, SecretData, SymmetricKey
from keystead.kmip.ttlv.enums import (
    CryptographicAlgorithm,
    KeyFormatType,
    ObjectType,
    Operation,
    QueryFunction,
    ResultReason,
    RevocationReasonCode,
    SecretDataType,
    State,
)
from keystead.kmip.ttlv.errors import OperationFailed
from keystead.kmip.ttlv.versions import V2_0, VERSIONS, Version

if TYPE_CHECKING:
    from keystead.kmip.client.client import Client
    from tests.peers.kmip_service import KmipSite

AES_256 = (
    attribute("Cryptographic Algorithm", CryptographicAlgorithm.AES),
    attribute("Cryptographic Length", 256),
    attribute("Cryptographic Usage Mask", 12),
)

every_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: f"{version[0]}.{version[1]}")


def secret(material: bytes) -> SecretData:
    """Return Secret Data."""
    return SecretData(SecretDataType.PASSWORD, KeyBlock(KeyFormatType.OPAQUE, key_value=KeyValue(material)))


async def shown(client: Client, identifier: Any) -> dict[str, Any]:
    """Return an object's attributes by name."""
    found = (await client.get_attributes(identifier)).all()
    return {each.attribute_name: each.attribute_value for each in found}


async def refused(work: Any) -> tuple[int | None, str]:
    """Return the Result Reason and the message of a refusal."""
    with pytest.raises(OperationFailed) as raised:
        await work
    return raised.value.reason, raised.value.result_message or ""


@every_version
async def test_a_symmetric_key(kmip: KmipSite, version: Version) -> None:
    """It is created, found, read, activated, revoked and destroyed."""
    name = f"key {version}"
    async with kmip.one.client(version) as client:
        made = await client.create([*AES_256, name_attribute(name)])
        identifier = made.unique_identifier
        assert (await client.locate([name_attribute(name)])).unique_identifier == (identifier,)
        assert await shown(client, identifier) | {"Last Change Date": 0, "Initial Date": 0} == {
            "Unique Identifier": identifier,
            "Object Type": ObjectType.SYMMETRIC_KEY,
            "State": State.PRE_ACTIVE,
            "Initial Date": 0,
            "Last Change Date": 0,
            **{each.attribute_name: each.attribute_value for each in (*AES_256, name_attribute(name))},
        }
        first = (await client.get(identifier)).managed_object
        assert isinstance(first, SymmetricKey)
        assert len(first.key_block.key_value.key_material) == 32  # type: ignore[union-attr]
        await client.activate(identifier)
        reason, _ = await refused(client.destroy(identifier))
        assert reason == ResultReason.PERMISSION_DENIED
        await client.revoke(identifier, RevocationReasonCode.CESSATION_OF_OPERATION)
        assert (await shown(client, identifier))["State"] == State.DEACTIVATED
        assert (await client.get(identifier)).managed_object == first
        await client.destroy(identifier)
        assert (await shown(client, identifier))["State"] == State.DESTROYED
        reason, _ = await refused(client.get(identifier))
        assert reason == (ResultReason.PERMISSION_DENIED if version < V2_0 else ResultReason.OBJECT_DESTROYED)
        assert (await client.locate([name_attribute(name)])).unique_identifier == ()


@every_version
@pytest.mark.parametrize(
    ("object_type", "given"),
    [
        (ObjectType.SECRET_DATA, secret(b"hunter2")),
        (ObjectType.SECRET_DATA, secret(bytes(96))),
        (ObjectType.SECRET_DATA, secret(bytes(16 * 1024))),
        (ObjectType.OPAQUE_OBJECT, OpaqueObject(0x80000001, b"opaque")),
        (
            ObjectType.SYMMETRIC_KEY,
            SymmetricKey(
                KeyBlock(
                    KeyFormatType.RAW,
                    key_value=KeyValue(b"0123456789abcdef"),
                    cryptographic_algorithm=CryptographicAlgorithm.AES,
                    cryptographic_length=128,
                )
            ),
        ),
    ],
    ids=["password", "96 bytes", "16 KiB", "opaque", "key"],
)
async def test_an_object_comes_back_as_it_was_registered(
    kmip: KmipSite, version: Version, object_type: ObjectType, given: Any
) -> None:
    """Without a name and without a usage mask, as some clients register it."""
    async with kmip.one.client(version) as client:
        made = await client.register(given, object_type=object_type)
        found = await client.get(made.unique_identifier)
        assert (found.object_type, found.managed_object) == (object_type, given)


@every_version
async def test_query(kmip: KmipSite, version: Version) -> None:
    """It names what works in this version."""
    async with kmip.one.client(version) as client:
        found = await client.query([QueryFunction.QUERY_OPERATIONS, QueryFunction.QUERY_OBJECTS])
    assert (Operation.SET_ATTRIBUTE in found.operation) == (version >= V2_0)
    assert Operation.GET in found.operation
    assert set(found.object_type) == {ObjectType.SYMMETRIC_KEY, ObjectType.SECRET_DATA, ObjectType.OPAQUE_OBJECT}


async def test_discover_versions(kmip: KmipSite) -> None:
    """Those asked for, in the client's order."""
    async with kmip.one.client() as client:
        assert await client.negotiate() == VERSIONS[0]
        found = await client.discover_versions([(1, 2), (9, 9), (1, 0)])
    assert list(found) == [(1, 2), (1, 0)]


@every_version
async def test_applications_do_not_see_each_other(kmip: KmipSite, version: Version) -> None:
    """What belongs to another application is not found, whatever is asked."""
    other = kmip.application()
    async with kmip.one.client(version) as client, other.client(version) as stranger:
        made = await client.create([*AES_256, name_attribute(f"mine {version}")])
        identifier = made.unique_identifier
        assert (await stranger.locate([])).unique_identifier == ()
        for work in (
            stranger.get(identifier),
            stranger.get_attributes(identifier),
            stranger.get_attribute_list(identifier),
            stranger.activate(identifier),
            stranger.revoke(identifier, RevocationReasonCode.KEY_COMPROMISE),
            stranger.destroy(identifier),
            stranger.add_attribute(identifier, attribute("Contact Information", "x")),
        ):
            assert (await refused(work))[0] == ResultReason.ITEM_NOT_FOUND
        assert (await shown(client, identifier))["State"] == State.PRE_ACTIVE


@every_version
async def test_a_name_is_held_once(kmip: KmipSite, version: Version) -> None:
    """Until its object is destroyed."""
    names = [*AES_256, name_attribute(f"once {version}")]
    async with kmip.one.client(version) as client:
        made = await client.create(names)
        reason, message = await refused(client.create(names))
        assert reason == (ResultReason.INVALID_FIELD if version < V2_0 else ResultReason.NON_UNIQUE_NAME_ATTRIBUTE)
        assert "once" in message
        await client.destroy(made.unique_identifier)
        await client.create(names)
