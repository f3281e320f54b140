"""The structure codec on structures made for the tests: gates, tolerance, strictness, secrets."""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from typing import Any

import pytest

from keystead.kmip.ttlv import schema, tags
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.kinds import Either, OneOf, Raw, Select
from keystead.kmip.ttlv.schema import Structure, field, structure
from keystead.kmip.ttlv.ttlv import Item, ItemType, Limits
from keystead.kmip.ttlv.versions import V1_0, V1_2, V1_4, V2_0, V2_1, nearest
from tests.kmip import wire


class Colour(IntEnum):
    """An enumeration of the tests."""

    RED = 1
    BLUE = 2


@structure(tags.NAME)
class Inner(Structure):
    """A structure inside another."""

    number: int = field(tags.ATTRIBUTE_INDEX, ItemType.INTEGER)


@structure(tags.CREDENTIAL)
class Outer(Structure):
    """One field of each sort."""

    number: int = field(tags.BATCH_COUNT, ItemType.INTEGER)
    colour: int | None = field(tags.STATE, Colour, default=None)
    inner: Inner | None = field(tags.NAME, Inner, default=None)
    texts: tuple[str, ...] = field(tags.COMMENT, ItemType.TEXT_STRING, default=())
    password: str | None = field(tags.PASSWORD, ItemType.TEXT_STRING, default=None, secret=True)
    newer: int | None = field(tags.OFFSET_ITEMS, ItemType.INTEGER, default=None, since=V1_2)
    older: int | None = field(tags.LEASE_TIME, ItemType.INTERVAL, default=None, until=V2_0)
    last: bool = field(tags.FRESH, ItemType.BOOLEAN, kw_only=True)


NUMBER = wire.integer(tags.BATCH_COUNT, 7)
FRESH = wire.item(tags.FRESH, 6, bytes(7) + b"\1")
SHORT = Outer(7, last=True)


def outer(*children: bytes) -> bytes:
    """Return the bytes of an Outer."""
    return wire.structure(tags.CREDENTIAL, *children)


def read(*children: bytes, version: tuple[int, int] = V1_4) -> Outer:
    """Decode an Outer."""
    return schema.decode(Outer, outer(*children), version)


def test_fields_of_every_sort() -> None:
    """All fields present: decoded to their types, encoded in the declared order."""
    data = outer(
        NUMBER,
        wire.enumeration(tags.STATE, 2),
        wire.structure(tags.NAME, wire.integer(tags.ATTRIBUTE_INDEX, 3)),
        wire.text(tags.COMMENT, "a"),
        wire.text(tags.COMMENT, "b"),
        wire.text(tags.PASSWORD, "hunter2"),
        wire.integer(tags.OFFSET_ITEMS, 5),
        wire.item(tags.LEASE_TIME, 10, bytes([0, 0, 0, 9])),
        FRESH,
    )
    value = Outer(7, Colour.BLUE, Inner(3), ("a", "b"), "hunter2", 5, 9, last=True)
    assert schema.decode(Outer, data, V1_4) == value
    assert schema.encode(value, V1_4) == data


def test_absent_fields() -> None:
    """Optional fields that do not come are None, or an empty tuple, and stay away."""
    value = read(NUMBER, FRESH)
    assert (value.colour, value.inner, value.texts, value.extra) == (None, None, (), ())
    assert value == SHORT
    assert schema.encode(value, V1_4) == outer(NUMBER, FRESH)


def test_decoded_structures_are_frozen_and_hash() -> None:
    """A decoded structure is like one that was constructed."""
    value = read(NUMBER, FRESH)
    assert hash(value) == hash(SHORT)
    assert dataclasses.replace(value, number=8) == Outer(8, last=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.number = 8  # type: ignore[misc]


def test_unknown_enumeration_value_is_an_int() -> None:
    """A value that the enumeration does not know is kept as a number."""
    value = read(NUMBER, wire.enumeration(tags.STATE, 0x8000_0001), FRESH)
    assert value.colour == 0x8000_0001
    assert not isinstance(value.colour, Colour)
    assert isinstance(read(NUMBER, wire.enumeration(tags.STATE, 1), FRESH).colour, Colour)
    assert schema.encode(value, V1_4) == outer(NUMBER, wire.enumeration(tags.STATE, 0x8000_0001), FRESH)


def test_unknown_tags_are_kept() -> None:
    """Items that nobody declared are kept raw, in their order, and encoded after the known fields."""
    first, second = wire.text(0x54FF01, "vendor"), wire.structure(tags.NONCE, wire.integer(0x54FF02, 1))
    value = read(first, NUMBER, second, FRESH)
    assert [item.tag for item in value.extra] == [0x54FF01, tags.NONCE]
    assert value.extra[1].value == (Item(0x54FF02, ItemType.INTEGER, 1),)
    assert schema.encode(value, V1_4) == outer(NUMBER, FRESH, first, second)


def test_many_unknown_tags_take_linear_time() -> None:
    """Ten thousand unknown items between ten thousand known ones are decoded in linear time."""
    value = read(NUMBER, FRESH, *[wire.text(tags.COMMENT, "a"), wire.text(0x54FF01, "b")] * 10_000)
    assert (len(value.texts), len(value.extra)) == (10_000, 10_000)


def test_fields_out_of_order_are_read() -> None:
    """The specification's order is kept when encoding, and not insisted on when decoding."""
    comment = wire.text(tags.COMMENT, "a")
    value = read(FRESH, comment, NUMBER, comment)
    assert value == Outer(7, texts=("a", "a"), last=True)
    assert schema.encode(value, V1_4) == outer(NUMBER, comment, comment, FRESH)


def test_fields_of_other_versions() -> None:
    """A field that the message's version does not have is kept raw, and refused when the caller sets it."""
    newer, older = wire.integer(tags.OFFSET_ITEMS, 5), wire.item(tags.LEASE_TIME, 10, bytes([0, 0, 0, 9]))
    value = read(NUMBER, newer, FRESH, version=V1_0)
    assert (value.newer, value.extra) == (None, (Item(tags.OFFSET_ITEMS, ItemType.INTEGER, 5),))
    assert schema.encode(value, V1_0) == outer(NUMBER, FRESH, newer)
    assert read(NUMBER, newer, FRESH, version=V1_2).newer == 5
    assert read(NUMBER, older, FRESH, version=V2_0).extra == (Item(tags.LEASE_TIME, ItemType.INTERVAL, 9),)
    with pytest.raises(LocalProtocolError, match="newer does not exist"):
        schema.encode(Outer(7, newer=5, last=True), V1_0)
    with pytest.raises(LocalProtocolError, match="older does not exist"):
        schema.encode(Outer(7, older=5, last=True), V2_1)


@pytest.mark.parametrize(
    ("version", "expected"),
    [((1, 3), (1, 3)), ((1, 9), V1_4), ((2, 9), V2_1), ((3, 0), V2_1), ((0, 9), V1_0), ((-1, 0), V1_0)],
)
def test_versions_that_nobody_knows(version: tuple[int, int], expected: tuple[int, int]) -> None:
    """An unknown version is read by the rules of the nearest older one."""
    assert nearest(version) == expected


REFUSED: dict[str, tuple[bytes, ...]] = {
    "number missing": (FRESH,),
    "last, number missing": (),
    "number is there twice": (NUMBER, NUMBER, FRESH),
    "last is there twice": (FRESH, NUMBER, FRESH),
    "colour is there twice": (NUMBER, wire.enumeration(tags.STATE, 1), FRESH, wire.enumeration(tags.STATE, 1)),
    "Batch Count has another item type": (wire.text(tags.BATCH_COUNT, "7"), FRESH),
    "State has another item type": (NUMBER, wire.integer(tags.STATE, 1), FRESH),
    "Inner: number missing": (NUMBER, wire.structure(tags.NAME), FRESH),
}


@pytest.mark.parametrize("words", REFUSED)
def test_structures_that_make_no_sense(words: str) -> None:
    """Missing, repeated and mistyped fields are errors of the peer, and the error names the field."""
    with pytest.raises(RemoteProtocolError, match=words):
        read(*REFUSED[words])


def test_bytes_that_are_no_structure() -> None:
    """TTLV errors stay TTLV errors inside typed structures, and another structure is refused."""
    with pytest.raises(TTLVError, match="longer than what holds it"):
        read(NUMBER, wire.unhex("420004 07 FFFFFFF0"))
    with pytest.raises(TTLVError, match="not a multiple of 8"):
        schema.decode(Outer, wire.unhex("420023 01 00000004 0000000000000000"), V1_4)
    with pytest.raises(TTLVError, match="bytes follow"):
        schema.decode(Outer, outer(NUMBER, FRESH) + bytes(8), V1_4)
    with pytest.raises(RemoteProtocolError, match="not a Credential"):
        schema.decode(Outer, wire.structure(tags.NAME, NUMBER), V1_4)


def test_limits() -> None:
    """Size and depth are limited in typed structures as in trees."""
    data = outer(NUMBER, wire.structure(tags.NAME, wire.integer(tags.ATTRIBUTE_INDEX, 3)), FRESH)
    assert schema.decode(Outer, data, V1_4, Limits(len(data), 2)).last
    for limits in (Limits(len(data) - 1, 2), Limits(len(data), 1)):
        with pytest.raises(TTLVError) as caught:
            schema.decode(Outer, data, V1_4, limits)
        assert caught.value.limit
    with pytest.raises(TTLVError):  # raw items count as well
        schema.decode(Outer, outer(NUMBER, FRESH, wire.structure(0x54FF01)), V1_4, Limits(1000, 1))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Outer(None, last=True), "number is missing"),  # type: ignore[arg-type]
        (Outer("7", last=True), "number is not of its item type"),  # type: ignore[arg-type]
        (Outer(7, inner=SHORT, last=True), "not a Inner"),  # type: ignore[arg-type]
        (Outer(7, texts=("a", 5), last=True), "texts is not of its item type"),  # type: ignore[arg-type]
        (Outer(7, password=b"hunter2", last=True), "password is not of its item type"),  # type: ignore[arg-type]
    ],
)
def test_values_that_cannot_be_encoded(value: Outer, words: str) -> None:
    """A wrong value of the caller raises LocalProtocolError, which names the field and quotes no value."""
    with pytest.raises(LocalProtocolError, match=words) as caught:
        schema.encode(value, V1_4)
    assert "hunter2" not in str(caught.value)


def test_repr_leaves_out_what_is_absent_and_hides_secrets() -> None:
    """A repr shows the fields that are there; a secret only as being there."""
    assert repr(SHORT) == "Outer(number=7, last=True)"
    assert repr(Outer(7, password="hunter2", last=True)) == "Outer(number=7, password=***, last=True)"
    vendor = read(NUMBER, FRESH, wire.text(0x54FF01, "hunter2"))
    assert repr(vendor) == "Outer(number=7, last=True, extra=(<0x54FF01: TEXT_STRING>,))"


# --- kinds ---


@structure(tags.KEY_VALUE)
class Kinds(Structure):
    """Fields whose values have more than one shape."""

    selector: int | None = field(tags.STATE, Colour, default=None)
    second: int | None = field(tags.KEY_FORMAT_TYPE, ItemType.ENUMERATION, default=None)
    either: Any = field(tags.KEY_MATERIAL, Either(ItemType.BYTE_STRING, Inner), default=None)
    any: Any = field(tags.NONCE, Raw(), default=None)
    one: Any = field(tags.NAME, OneOf(Inner, Outer, raw=(tags.TEMPLATE,)), default=None)
    chosen: Any = field(
        tags.ATTRIBUTE_VALUE, Select({Colour.RED: ItemType.INTEGER, Colour.BLUE: Inner}, "selector"), default=None
    )
    paired: Any = field(
        tags.NEW_ATTRIBUTE, Select({(Colour.RED, 1): ItemType.TEXT_STRING}, "selector", "second"), default=None
    )


INNER = wire.integer(tags.ATTRIBUTE_INDEX, 3)
RED, BLUE = wire.enumeration(tags.STATE, 1), wire.enumeration(tags.STATE, 2)
SHAPES: list[tuple[bytes, Kinds]] = [
    (wire.item(tags.KEY_MATERIAL, 8, b"key"), Kinds(either=b"key")),
    (wire.structure(tags.KEY_MATERIAL, INNER), Kinds(either=Inner(3))),
    (wire.integer(tags.NONCE, 3), Kinds(any=Item(tags.NONCE, ItemType.INTEGER, 3))),
    (wire.structure(tags.NONCE), Kinds(any=Item(tags.NONCE, ItemType.STRUCTURE, ()))),
    (wire.structure(tags.NAME, INNER), Kinds(one=Inner(3))),
    (wire.structure(tags.CREDENTIAL, NUMBER, FRESH), Kinds(one=SHORT)),
    (wire.structure(tags.TEMPLATE), Kinds(one=Item(tags.TEMPLATE, ItemType.STRUCTURE, ()))),
    (RED + wire.integer(tags.ATTRIBUTE_VALUE, 9), Kinds(Colour.RED, chosen=9)),
    (BLUE + wire.structure(tags.ATTRIBUTE_VALUE, INNER), Kinds(Colour.BLUE, chosen=Inner(3))),
    (
        wire.integer(tags.ATTRIBUTE_VALUE, 9),
        Kinds(chosen=Item(tags.ATTRIBUTE_VALUE, ItemType.INTEGER, 9)),
    ),
    (
        RED + wire.enumeration(tags.KEY_FORMAT_TYPE, 1) + wire.text(tags.NEW_ATTRIBUTE, "a"),
        Kinds(Colour.RED, 1, paired="a"),
    ),
    (
        RED + wire.enumeration(tags.KEY_FORMAT_TYPE, 2) + wire.text(tags.NEW_ATTRIBUTE, "a"),
        Kinds(Colour.RED, 2, paired=Item(tags.NEW_ATTRIBUTE, ItemType.TEXT_STRING, "a")),
    ),
]


@pytest.mark.parametrize(("data", "value"), SHAPES)
def test_values_of_several_shapes(data: bytes, value: Kinds) -> None:
    """Each shape is decoded to its own type, what nobody chose stays raw, and all encode to their bytes."""
    wrapped = wire.structure(tags.KEY_VALUE, data)
    assert schema.decode(Kinds, wrapped, V1_4) == value
    assert schema.encode(value, V1_4) == wrapped


def test_a_chosen_value_of_another_item_type() -> None:
    """When the earlier field asks for one item type and another comes, the peer is at fault."""
    with pytest.raises(RemoteProtocolError, match="Attribute Value has another item type"):
        schema.decode(Kinds, wire.structure(tags.KEY_VALUE, RED, wire.text(tags.ATTRIBUTE_VALUE, "a")), V1_4)


@pytest.mark.parametrize(
    "value",
    [
        Kinds(either="text"),
        Kinds(either=SHORT),
        Kinds(any=5),
        Kinds(any=Item(tags.NAME, ItemType.INTEGER, 3)),
        Kinds(one=5),
        Kinds(one=Item(tags.NAME_VALUE, ItemType.INTEGER, 3)),
        Kinds(chosen=5),
        Kinds(Colour.RED, chosen="text"),
        Kinds(chosen=Item(tags.NAME, ItemType.INTEGER, 3)),
    ],
)
def test_values_of_no_shape_that_may_stand_there(value: Kinds) -> None:
    """A value of a kind that the field does not have is the caller's error."""
    with pytest.raises(LocalProtocolError):
        schema.encode(value, V1_4)
