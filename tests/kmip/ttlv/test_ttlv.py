"""Items to bytes and back, and everything that is not TTLV."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import LocalProtocolError, TTLVError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, PROBE_LIMITS, Item, ItemType, Limits
from tests.kmip.wire import unhex

# The examples of KMIP 1.4 section 9.1.2, and one for each type that it leaves out.
EXAMPLES: list[tuple[Item, str]] = [
    (Item(0x420020, ItemType.INTEGER, 8), "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 00"),
    (Item(0x420020, ItemType.INTEGER, -1), "42 00 20 | 02 | 00 00 00 04 | FF FF FF FF 00 00 00 00"),
    (
        Item(0x420020, ItemType.LONG_INTEGER, 123456789000000000),
        "42 00 20 | 03 | 00 00 00 08 | 01 B6 9B 4B A5 74 92 00",
    ),
    (
        Item(0x420020, ItemType.BIG_INTEGER, 1234567890000000000000000000),
        "42 00 20 | 04 | 00 00 00 10 | 00 00 00 00 03 FD 35 EB 6B C2 DF 46 18 08 00 00",
    ),
    (Item(0x420020, ItemType.BIG_INTEGER, -1), "42 00 20 | 04 | 00 00 00 08 | FF FF FF FF FF FF FF FF"),
    (Item(0x420020, ItemType.BIG_INTEGER, 0), "42 00 20 | 04 | 00 00 00 08 | 00 00 00 00 00 00 00 00"),
    (
        Item(0x420020, ItemType.BIG_INTEGER, 1 << 63),
        "42 00 20 | 04 | 00 00 00 10 | 00 00 00 00 00 00 00 00 80 00 00 00 00 00 00 00",
    ),
    (Item(0x420020, ItemType.ENUMERATION, 255), "42 00 20 | 05 | 00 00 00 04 | 00 00 00 FF 00 00 00 00"),
    (Item(0x420020, ItemType.ENUMERATION, 0x8000_0001), "42 00 20 | 05 | 00 00 00 04 | 80 00 00 01 00 00 00 00"),
    (Item(0x420020, ItemType.BOOLEAN, True), "42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 01"),
    (Item(0x420020, ItemType.BOOLEAN, False), "42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 00"),
    (
        Item(0x420020, ItemType.TEXT_STRING, "Hello World"),
        "42 00 20 | 07 | 00 00 00 0B | 48 65 6C 6C 6F 20 57 6F 72 6C 64 00 00 00 00 00",
    ),
    (Item(0x420020, ItemType.TEXT_STRING, ""), "42 00 20 | 07 | 00 00 00 00"),
    (Item(0x420020, ItemType.BYTE_STRING, b"\1\2\3"), "42 00 20 | 08 | 00 00 00 03 | 01 02 03 00 00 00 00 00"),
    (Item(0x420020, ItemType.BYTE_STRING, bytes(8)), "42 00 20 | 08 | 00 00 00 08 | 00 00 00 00 00 00 00 00"),
    (Item(0x420020, ItemType.DATE_TIME, 0x47DA67F8), "42 00 20 | 09 | 00 00 00 08 | 00 00 00 00 47 DA 67 F8"),
    (Item(0x420020, ItemType.DATE_TIME, -1), "42 00 20 | 09 | 00 00 00 08 | FF FF FF FF FF FF FF FF"),
    (Item(0x420020, ItemType.INTERVAL, 864000), "42 00 20 | 0A | 00 00 00 04 | 00 0D 2F 00 00 00 00 00"),
    (
        Item(0x420020, ItemType.DATE_TIME_EXTENDED, 1_700_000_000_000_001),
        "42 00 20 | 0B | 00 00 00 08 | 00 06 0A 24 18 1E 40 01",
    ),
    (
        Item(
            0x420020,
            ItemType.STRUCTURE,
            (Item(0x420004, ItemType.ENUMERATION, 254), Item(0x420005, ItemType.INTEGER, 255)),
        ),
        """42 00 20 | 01 | 00 00 00 20 | 42 00 04 | 05 | 00 00 00 04 | 00 00 00 FE 00 00 00 00
         | 42 00 05 | 02 | 00 00 00 04 | 00 00 00 FF 00 00 00 00""",
    ),
    (Item(0x420020, ItemType.STRUCTURE, ()), "42 00 20 | 01 | 00 00 00 00"),
]


@pytest.mark.parametrize(("item", "text"), EXAMPLES)
def test_examples_of_the_specification(item: Item, text: str) -> None:
    """Each example decodes to its value and encodes to its bytes."""
    assert ttlv.decode(unhex(text)) == item
    assert ttlv.encode(item) == unhex(text)


MALFORMED = {
    "no bytes": "",
    "a header cut short": "42 00 20 02 00 00",
    "a value cut short": "42 00 20 02 00 00 00 04 00 00 00 08",
    "padding cut short": "42 00 20 08 00 00 00 03 01 02 03",
    "two items": "42 00 20 01 00 00 00 00 42 00 20 01 00 00 00 00",
    "bytes after the item": "42 00 20 01 00 00 00 00 00",
    "an Integer of 8 bytes": "42 00 20 02 00 00 00 08 00 00 00 00 00 00 00 08",
    "an empty Integer": "42 00 20 02 00 00 00 00",
    "an Integer with padding that is not zero": "42 00 20 02 00 00 00 04 00 00 00 08 00 00 00 01",
    "a Long Integer of 4 bytes": "42 00 20 03 00 00 00 04 00 00 00 08 00 00 00 00",
    "an empty Big Integer": "42 00 20 04 00 00 00 00",
    "a Big Integer of 4 bytes": "42 00 20 04 00 00 00 04 00 00 00 08 00 00 00 00",
    "an Enumeration of 2 bytes": "42 00 20 05 00 00 00 02 00 08 00 00 00 00 00 00",
    "a Boolean of 2": "42 00 20 06 00 00 00 08 00 00 00 00 00 00 00 02",
    "a Boolean of -1": "42 00 20 06 00 00 00 08 FF FF FF FF FF FF FF FF",
    "a Text String that is not UTF-8": "42 00 20 07 00 00 00 01 FF 00 00 00 00 00 00 00",
    "a Text String with a null character": "42 00 20 07 00 00 00 02 41 00 00 00 00 00 00 00",
    "a Text String with padding that is not zero": "42 00 20 07 00 00 00 01 41 00 00 00 00 00 00 01",
    "a Byte String with padding that is not zero": "42 00 20 08 00 00 00 01 41 01 00 00 00 00 00 00",
    "an Interval of 8 bytes": "42 00 20 0A 00 00 00 08 00 00 00 00 00 00 00 01",
    "item type 0": "42 00 20 00 00 00 00 00",
    "item type 0C": "42 00 20 0C 00 00 00 08 00 00 00 00 00 00 00 00",
    "a Structure of 4 bytes": "42 00 20 01 00 00 00 04 00 00 00 00 00 00 00 00",
    "a child that overruns its Structure": "42 00 20 01 00 00 00 08 42 00 20 02 00 00 00 04",
    "a length of 4294967295": "42 00 20 08 FF FF FF FF 00 00 00 00 00 00 00 00",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bytes_are_refused(name: str) -> None:
    """Bytes that are not TTLV raise TTLVError, which says that no limit was the cause."""
    with pytest.raises(TTLVError) as caught:
        ttlv.decode(unhex(MALFORMED[name]))
    assert not caught.value.limit


def nested(levels: int) -> bytes:
    """Empty structures inside each other."""
    return b"".join(struct.pack(">II", 0x42002001, 8 * inside) for inside in reversed(range(levels)))


def test_depth_is_limited() -> None:
    """The deepest nesting allowed is taken, one more level is not, nor are a hundred thousand."""
    assert ttlv.decode(nested(DEFAULT_LIMITS.depth))
    for levels in (DEFAULT_LIMITS.depth + 1, 100_000):
        with pytest.raises(TTLVError) as caught:
            ttlv.decode(nested(levels))
        assert caught.value.limit


def test_size_is_limited() -> None:
    """A message of exactly the limit is taken, one of eight bytes more is not."""
    item = Item(0x420020, ItemType.BYTE_STRING, bytes(PROBE_LIMITS.message_bytes - 8))
    assert ttlv.decode(ttlv.encode(item), PROBE_LIMITS) == item
    with pytest.raises(TTLVError) as caught:
        ttlv.decode(ttlv.encode(Item(0x420020, ItemType.BYTE_STRING, item.value + bytes(8))), PROBE_LIMITS)
    assert caught.value.limit


def test_an_announced_length_allocates_nothing() -> None:
    """However long an item says it is, no memory is taken for it."""
    data = struct.pack(">II", 0x42002001, 0x10) + struct.pack(">II", 0x42002008, 0xFFFFFFF0) + bytes(8)
    tracemalloc.start()
    try:
        with pytest.raises(TTLVError):
            ttlv.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
    finally:
        tracemalloc.stop()


UNFIT: list[tuple[ItemType, Any]] = [
    (ItemType.INTEGER, 1 << 31),
    (ItemType.INTEGER, "8"),
    (ItemType.INTEGER, None),
    (ItemType.LONG_INTEGER, 1 << 63),
    (ItemType.BIG_INTEGER, "8"),
    (ItemType.ENUMERATION, -1),
    (ItemType.TEXT_STRING, b"bytes"),
    (ItemType.TEXT_STRING, "null \0"),
    (ItemType.TEXT_STRING, "\ud800"),
    (ItemType.BYTE_STRING, "text"),
    (ItemType.BYTE_STRING, 5),
    (ItemType.DATE_TIME, 1.5),
    (ItemType.INTERVAL, -1),
    (ItemType.STRUCTURE, None),
]


@pytest.mark.parametrize(("item_type", "value"), UNFIT)
def test_values_that_do_not_fit_are_refused(item_type: ItemType, value: Any) -> None:
    """A value of the wrong type is an error of the caller; the message names the tag, not the value."""
    with pytest.raises(LocalProtocolError, match=r"^Cryptographic Algorithm:") as caught:
        ttlv.encode(Item(tags.CRYPTOGRAPHIC_ALGORITHM, item_type, value))
    assert caught.value.__cause__ is None


def test_an_unknown_item_type_cannot_be_encoded() -> None:
    """An item of a type that does not exist is the caller's error."""
    with pytest.raises(LocalProtocolError, match="0x54ABCD"):
        ttlv.encode(Item(0x54ABCD, 0x0C, 1))


def test_repr_shows_no_secret() -> None:
    """Text, bytes and big integers never appear in a repr, at any depth; numbers do."""
    secrets = (
        Item(tags.PASSWORD, ItemType.TEXT_STRING, "hunter2"),
        Item(tags.KEY_MATERIAL, ItemType.BYTE_STRING, b"hunter2"),
        Item(tags.MODULUS, ItemType.BIG_INTEGER, 987654321),
        Item(0x540001, ItemType.INTEGER, 42),
    )
    shown = repr(Item(tags.KEY_VALUE, ItemType.STRUCTURE, secrets))
    assert "hunter2" not in shown
    assert "987654321" not in shown
    assert "<Password: TEXT_STRING>" in shown
    assert "<0x540001: 42>" in shown


def test_find() -> None:
    """A structure's children are found by tag."""
    item = Item(tags.NAME, ItemType.STRUCTURE, (Item(tags.NAME_VALUE, ItemType.TEXT_STRING, "a"),))
    assert item.find(tags.NAME_VALUE) == item.value[0]
    assert item.find(tags.NAME_TYPE) is None


def test_bytes_like_values() -> None:
    """A Byte String may be given as any buffer."""
    expected = ttlv.encode(Item(0x420020, ItemType.BYTE_STRING, b"abc"))
    for value in (bytearray(b"abc"), memoryview(b"abc")):
        assert ttlv.encode(Item(0x420020, ItemType.BYTE_STRING, value)) == expected


INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
VALUES = {
    ItemType.INTEGER: INT32,
    ItemType.LONG_INTEGER: INT64,
    ItemType.BIG_INTEGER: st.integers(-(2**200), 2**200),
    ItemType.ENUMERATION: st.integers(0, 2**32 - 1),
    ItemType.BOOLEAN: st.booleans(),
    ItemType.TEXT_STRING: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    ItemType.BYTE_STRING: st.binary(),
    ItemType.DATE_TIME: INT64,
    ItemType.INTERVAL: st.integers(0, 2**32 - 1),
    ItemType.DATE_TIME_EXTENDED: INT64,
}
TAGS = st.integers(0x420000, 0x54FFFF)
LEAVES = st.sampled_from(list(VALUES)).flatmap(lambda kind: st.builds(Item, TAGS, st.just(int(kind)), VALUES[kind]))
TREES = st.recursive(
    LEAVES,
    lambda children: st.builds(Item, TAGS, st.just(int(ItemType.STRUCTURE)), st.lists(children, max_size=5).map(tuple)),
    max_leaves=20,
)


@given(TREES)
def test_every_tree_survives(tree: Item) -> None:
    """Every tree that is encoded decodes to itself."""
    assert ttlv.decode(ttlv.encode(tree)) == tree


@given(TREES, st.data())
def test_mutated_trees_are_read_or_refused(tree: Item, data: st.DataObject) -> None:
    """A tree with some bytes changed, cut or added decodes or raises TTLVError: nothing else."""
    wire = bytearray(ttlv.encode(tree))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(wire) - 1))
        wire[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    for mutated in (bytes(wire), bytes(wire[:cut]), bytes(wire) + bytes(cut)):
        try:
            again = ttlv.decode(mutated)
        except TTLVError:
            continue
        assert ttlv.decode(ttlv.encode(again)) == again


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    """Any bytes raise TTLVError, or decode to an item that is encoded to the same item, within small limits too."""
    for limits in (DEFAULT_LIMITS, Limits(message_bytes=64, depth=2)):
        try:
            item = ttlv.decode(data, limits)
        except TTLVError:
            continue
        assert ttlv.decode(ttlv.encode(item)) == item
