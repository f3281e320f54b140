"""Messages as text: names for numbers, masks for secrets."""

from __future__ import annotations

import pytest

from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.enums import CryptographicAlgorithm, Operation
from keystead.kmip.ttlv.errors import TTLVError
from keystead.kmip.ttlv.render import lines, render
from keystead.kmip.ttlv.ttlv import Item, ItemType
from tests.kmip import wire

SECRET = b"correct horse"


def test_a_get_response() -> None:
    """One line per item, numbers with their names, the key masked."""
    data = wire.response(
        Operation.GET,
        wire.unhex("""
            42007C 01 00000080
              420057 05 00000004 0000000200000000
              420094 07 00000001 3700000000000000
              42008F 01 00000058
                420040 01 00000050
                  420042 05 00000004 0000000100000000
                  420045 01 00000018
                    420043 08 00000010 000102030405060708090A0B0C0D0E0F
                  420028 05 00000004 0000000300000000
                  42002A 02 00000004 0000008000000000
        """),
    )
    assert render(data).splitlines() == [
        "Response Message",
        "  Response Header",
        "    Protocol Version",
        "      Protocol Version Major: 1",
        "      Protocol Version Minor: 4",
        "    Time Stamp: 2023-11-14T22:13:20Z",
        "    Batch Count: 1",
        "  Batch Item",
        "    Operation: Get (10)",
        "    Result Status: Success (0)",
        "    Response Payload",
        "      Object Type: Symmetric Key (2)",
        "      Unique Identifier: '7'",
        "      Symmetric Key",
        "        Key Block",
        "          Key Format Type: Raw (1)",
        "          Key Value",
        "            Key Material: *** (16 bytes)",
        "          Cryptographic Algorithm: AES (3)",
        "          Cryptographic Length: 128",
    ]


def shown(tag: int, kind: ItemType, value: object) -> str:
    """Return the one line of an item."""
    (line,) = lines(Item(tag, kind, value))
    return line.partition(": ")[2]


@pytest.mark.parametrize(
    ("tag", "kind", "value", "text"),
    [
        (tags.CRYPTOGRAPHIC_USAGE_MASK, ItemType.INTEGER, 12, "Encrypt | Decrypt (12)"),
        (tags.CRYPTOGRAPHIC_USAGE_MASK, ItemType.INTEGER, 0, "0"),
        (tags.STATE, ItemType.ENUMERATION, 2, "Active (2)"),
        (tags.STATE, ItemType.ENUMERATION, 0x8000_0001, "0x80000001"),
        (tags.LINKED_OBJECT_IDENTIFIER, ItemType.ENUMERATION, 1, "ID Placeholder (1)"),
        (tags.ATTRIBUTE_REFERENCE, ItemType.ENUMERATION, tags.STATE, "State"),
        (tags.ATTRIBUTE_REFERENCE, ItemType.ENUMERATION, 7, "0x00000007"),
        (0x540001, ItemType.ENUMERATION, 7, "0x00000007"),
        (tags.FRESH, ItemType.BOOLEAN, True, "True"),
        (tags.USAGE_LIMITS_TOTAL, ItemType.LONG_INTEGER, 1 << 40, str(1 << 40)),
        (tags.LEASE_TIME, ItemType.INTERVAL, 60, "60"),
        (tags.INITIAL_DATE, ItemType.DATE_TIME, -1, "1969-12-31T23:59:59Z"),
        (tags.INITIAL_DATE, ItemType.DATE_TIME, 1 << 62, f"{1 << 62} since 1970, beyond the calendar"),
        (tags.INITIAL_DATE, ItemType.DATE_TIME_EXTENDED, 1_500_000, "1970-01-01T00:00:01.500000Z"),
        (tags.NAME_VALUE, ItemType.TEXT_STRING, "a\x1b[2J\nb", r"'a\x1b[2J\nb'"),
        (tags.UNIQUE_BATCH_ITEM_ID, ItemType.BYTE_STRING, b"\1\2", "0102"),
        (tags.USERNAME, ItemType.TEXT_STRING, "Fred", "'Fred'"),
        (tags.PASSWORD, ItemType.TEXT_STRING, "hunter2", "*** (7 characters)"),
        (tags.OPAQUE_DATA_VALUE, ItemType.BYTE_STRING, SECRET, "*** (13 bytes)"),
        (tags.D, ItemType.BIG_INTEGER, 987654321, "***"),
        (0x540001, ItemType.TEXT_STRING, "hunter2", "*** (7 characters)"),
        (0x540001, ItemType.INTEGER, 5, "5"),
    ],
)
def test_values(tag: int, kind: ItemType, value: object, text: str) -> None:
    """Each type is shown in its own way, control characters escaped, and what may be a secret is masked."""
    assert shown(tag, kind, value) == text


def test_inside_a_secret_everything_is_masked() -> None:
    """In a credential only the names of who asks are shown; in key material nothing is."""
    credential = Item(
        tags.CREDENTIAL_VALUE,
        ItemType.STRUCTURE,
        (
            Item(tags.USERNAME, ItemType.TEXT_STRING, "Fred"),
            Item(tags.PASSWORD, ItemType.TEXT_STRING, "hunter2"),
            Item(tags.NETWORK_IDENTIFIER, ItemType.TEXT_STRING, "hunter2"),
        ),
    )
    assert list(lines(credential)) == [
        "Credential Value",
        "  Username: 'Fred'",
        "  Password: *** (7 characters)",
        "  Network Identifier: *** (7 characters)",
    ]
    material = Item(tags.KEY_MATERIAL, ItemType.STRUCTURE, (Item(tags.RECOMMENDED_CURVE, ItemType.ENUMERATION, 6),))
    assert list(lines(material)) == ["Key Material", "  Recommended Curve: ***"]


def test_a_1_x_attribute_gets_its_names_from_its_name() -> None:
    """The number under Attribute Value means what Attribute Name says."""
    attribute = Item(
        tags.ATTRIBUTE,
        ItemType.STRUCTURE,
        (
            Item(tags.ATTRIBUTE_NAME, ItemType.TEXT_STRING, "Cryptographic Algorithm"),
            Item(tags.ATTRIBUTE_VALUE, ItemType.ENUMERATION, int(CryptographicAlgorithm.AES)),
        ),
    )
    assert list(lines(attribute))[2] == "  Attribute Value: AES (3)"


def test_unknown_tags_are_shown_by_number() -> None:
    """Vendor items appear, by number."""
    assert render(ttlv.encode(Item(0x54ABCD, ItemType.INTEGER, 1))) == "0x54ABCD: 1"


def test_what_is_no_message() -> None:
    """Bytes that are not TTLV raise."""
    with pytest.raises(TTLVError):
        render(b"HTTP/1.1")
