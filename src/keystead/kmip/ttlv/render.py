"""A message as text for people: one line per item, indented, numbers with their names.

It works on item trees, so it shows all bytes of the message, also unknown items. Possible secrets are masked, and only
their length is shown. These are all Byte Strings and Big Integers except :data:`OPEN_BYTES`. In Key Material and
Credential Value, it is everything except :data:`OPEN_TEXT`. Text under unknown tags is masked too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.enums import MASKS, VALUES
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Item, ItemType, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRETS: Final = frozenset(
    {tags.CREDENTIAL_VALUE, tags.KEY_MATERIAL, tags.PASSWORD, tags.ONE_TIME_PASSWORD, tags.TICKET_VALUE}
)
"""Tags whose content is masked, whatever its type."""

OPEN_TEXT: Final = frozenset({tags.USERNAME, tags.DEVICE_SERIAL_NUMBER, tags.DEVICE_IDENTIFIER})
"""Tags that are shown although they are in a Credential Value."""

OPEN_BYTES: Final = frozenset(
    {
        tags.ASYNCHRONOUS_CORRELATION_VALUE,
        tags.CERTIFICATE_SERIAL_NUMBER,
        tags.DIGEST_VALUE,
        tags.NONCE_ID,
        tags.SHORT_UNIQUE_IDENTIFIER,
        tags.UNIQUE_BATCH_ITEM_ID,
    }
)
"""Byte Strings that name or check something and hold no secret."""

ENUMERATIONS: Final = {
    "Linked Object Identifier": "Unique Identifier",
    "Mask Generator Hashing Algorithm": "Hashing Algorithm",
    "Replaced Unique Identifier": "Unique Identifier",
}
"""Tags whose enumeration has another name."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BLOBS: Final = frozenset({ItemType.BYTE_STRING, ItemType.BIG_INTEGER})


def render(data: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """Return the text of one message. Raises TTLVError if the bytes are not a message."""
    return "\n".join(lines(ttlv.decode(data, limits)))


def lines(item: Item, indent: int = 0, *, meaning: str = "", secret: bool = False) -> Iterator[str]:
    """Yield the lines of an item and of everything in it.

    ``meaning`` is the name of a 1.x attribute. It decides what a number means, because the tag alone does not.
    """
    name = tags.NAMES.get(item.tag)
    secret = (secret or item.tag in SECRETS) and item.tag not in OPEN_TEXT
    label = " " * indent + (name or f"0x{item.tag:06X}")
    if item.type != ItemType.STRUCTURE:
        masked = secret or _is_secret(item)
        yield f"{label}: {_masked(item.value) if masked else _shown(meaning or name or '', item)}"
        return
    yield label
    attribute = item.find(tags.ATTRIBUTE_NAME)
    for child in item.value:
        named = attribute.value if attribute and child.tag == tags.ATTRIBUTE_VALUE else ""
        yield from lines(child, indent + 2, meaning=str(named), secret=secret)


def _is_secret(item: Item) -> bool:
    if item.type in _BLOBS:
        return item.tag not in OPEN_BYTES
    return item.type == ItemType.TEXT_STRING and item.tag not in tags.NAMES


def _masked(value: Any) -> str:
    if isinstance(value, bytes):
        return f"*** ({len(value)} bytes)"
    return f"*** ({len(value)} characters)" if isinstance(value, str) else "***"


def _shown(name: str, item: Item) -> str:
    return _SHOW.get(item.type, _plain)(name, item.value)


def _plain(_: str, value: Any) -> str:
    return str(value)


def _text(_: str, value: str) -> str:
    return repr(value)  # so that control characters of a peer do not reach a terminal


def _bytes(_: str, value: bytes) -> str:
    return value.hex()


def _enumeration(name: str, value: int) -> str:
    if name in {"Attribute Reference", "Extension Tag", "Tag"} and value in tags.NAMES:
        return tags.NAMES[value]
    known = VALUES.get(ENUMERATIONS.get(name, name), {}).get(value)
    return f"{known} ({value})" if known else f"0x{value:08X}"


def _integer(name: str, value: int) -> str:
    mask = MASKS.get(name)
    if mask is None:
        return str(value)
    bits = [text for bit, text in mask.items() if value & bit]
    return f"{' | '.join(bits)} ({value})" if bits else str(value)


def _date(_: str, value: int) -> str:
    return _moment(timedelta(seconds=1), value)


def _precise_date(_: str, value: int) -> str:
    return _moment(timedelta(microseconds=1), value)


def _moment(unit: timedelta, value: int) -> str:
    try:
        return (_EPOCH + value * unit).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{value} since 1970, beyond the calendar"


_SHOW: Final[dict[int, Callable[[str, Any], str]]] = {
    ItemType.INTEGER: _integer,
    ItemType.ENUMERATION: _enumeration,
    ItemType.TEXT_STRING: _text,
    ItemType.BYTE_STRING: _bytes,
    ItemType.DATE_TIME: _date,
    ItemType.DATE_TIME_EXTENDED: _precise_date,
}
