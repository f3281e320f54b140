"""Reads OASIS test cases: the KMIP XML encoding into item trees, and golden TTLV bytes from tables.

Independent of the library but for its tables of names: KMIP Profiles 2.1 section 5.4 (XML encoding).
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.enums import MASKS, VALUES
from keystead.kmip.ttlv.ttlv import Item, ItemType

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_700_000_000
VARIABLE = "DEADBEEFCAFE"
"""What stands for a value that the server would make, in text and, as hexadecimal, in bytes."""

TYPES = {
    "Structure": ItemType.STRUCTURE,
    "Integer": ItemType.INTEGER,
    "LongInteger": ItemType.LONG_INTEGER,
    "BigInteger": ItemType.BIG_INTEGER,
    "Enumeration": ItemType.ENUMERATION,
    "Boolean": ItemType.BOOLEAN,
    "TextString": ItemType.TEXT_STRING,
    "ByteString": ItemType.BYTE_STRING,
    "DateTime": ItemType.DATE_TIME,
    "Interval": ItemType.INTERVAL,
    "DateTimeExtended": ItemType.DATE_TIME_EXTENDED,
}

ENUMERATION_OF = {
    "Linked Object Identifier": "Unique Identifier",
    "Mask Generator Hashing Algorithm": "Hashing Algorithm",
}


class Golden(NamedTuple):
    """One golden message: the case's file, its number in it, "req" or "resp", and its bytes."""

    case: str
    number: int
    role: str
    data: bytes


def folder() -> Path | None:
    """The folder of the vectors, if the environment names one."""
    name = os.environ.get("KEYSTEAD_KMIP_VECTORS")
    return Path(name) if name else None


def golden(root: Path) -> Iterator[Golden]:
    """Every golden message of 1.0 to 1.4."""
    for table in sorted((root / "ttlv").glob("v*.tsv")):
        for line in table.read_text().splitlines():
            case, number, role, data = line.split("\t")
            yield Golden(f"{table.stem}/{case}", int(number), role, bytes.fromhex(data))


def xml_files(root: Path, version: str) -> list[Path]:
    """The XML cases of a version, such as "v2.1"."""
    return sorted((root / "xml" / version).rglob("*.xml"))


def xml_messages(path: Path) -> Iterator[Item]:
    """The messages of one XML case."""
    for element in ET.parse(path).getroot():  # noqa: S314 - files of our own
        if element.tag in {"RequestMessage", "ResponseMessage"}:
            yield item(element)


def item(element: ET.Element) -> Item:
    """One element and everything in it."""
    name = _name(element)
    kind = TYPES[element.get("type", "Structure")]
    if kind is ItemType.STRUCTURE:
        return Item(name, kind, tuple(item(child) for child in element))
    return Item(name, kind, _READERS[kind](tags.NAMES.get(name, ""), element.get("value", "")))


def _name(element: ET.Element) -> int:
    if element.tag == "TTLV":
        return int(element.get("tag", ""), 16)
    return _TAGS[_plain(element.tag)]


def _plain(name: str) -> str:
    """A name without what XML and the specification spell differently."""
    plain = re.sub(r"\(non repudiation\)|[^a-z0-9]", "", name.lower())
    return {"3des": "des3"}.get(plain, plain)


_TAGS = {_plain(name): tag for tag, name in tags.NAMES.items()}


def _integer(name: str, value: str) -> int:
    mask = {_plain(text): bit for bit, text in MASKS.get(name, {}).items()}
    if _plain(value) and not re.fullmatch(r"-?\d+|0x[0-9A-Fa-f]+", value):
        return sum(mask[_plain(word)] for word in re.split(r"[ |]+", value.strip()))
    return _number(name, value)


def _number(_: str, value: str) -> int:
    return int(value, 16) if value.startswith("0x") else int(value)


def _big(_: str, value: str) -> int:
    return int.from_bytes(bytes.fromhex(value.removeprefix("0x")), "big", signed=True)


def _enumeration(name: str, value: str) -> int:
    if value.startswith("0x"):
        return int(value, 16)
    if name == "Attribute Reference":
        return _TAGS[_plain(value)]
    known = {_plain(text): number for number, text in VALUES[ENUMERATION_OF.get(name, name)].items()}
    return known[_plain(value)]


def _boolean(_: str, value: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[value]


def _text(_: str, value: str) -> str:
    return VARIABLE if value.startswith("$") else value


def _bytes(_: str, value: str) -> bytes:
    return bytes.fromhex(VARIABLE if value.startswith("$") else value)


def _date(_: str, value: str) -> int:
    relative = re.fullmatch(r"\$NOW(?:([+-])(\d+))?", value)
    if relative:
        return NOW + int(f"{relative[1]}{relative[2]}") if relative[1] else NOW
    return int(value, 16) if value.startswith("0x") else int(datetime.fromisoformat(value).timestamp())


_READERS: dict[ItemType, Any] = {
    ItemType.INTEGER: _integer,
    ItemType.LONG_INTEGER: _number,
    ItemType.BIG_INTEGER: _big,
    ItemType.ENUMERATION: _enumeration,
    ItemType.BOOLEAN: _boolean,
    ItemType.TEXT_STRING: _text,
    ItemType.BYTE_STRING: _bytes,
    ItemType.DATE_TIME: _date,
    ItemType.INTERVAL: _number,
    ItemType.DATE_TIME_EXTENDED: _number,
}
