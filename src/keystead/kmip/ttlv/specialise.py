"""The decode and encode functions of one structure class in one version, as source code made from its declaration.

They are the inner loops of :mod:`keystead.kmip.ttlv.schema`, not a second codec. The readers and writers of values come
from there. The rules for errors and for unknown items are documented there. The source contains only names of declared
fields and numbers, nothing that a peer sends. This is measured to be a quarter faster than loops over a table.
"""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any, Final

from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError, TTLVError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keystead.kmip.ttlv.forms import Decode, Encode, Form


# Fields are put directly into the new object's dictionary. For absent fields, the class attributes are used, which
# dataclasses made of the defaults. Fields come in the specification's order, so one pass over the ifs usually reads a
# whole structure. An item that reaches the end of the ifs is unknown, or out of order and read by the next pass.
_FUNCTION: Final = """\
def decode(buffer, start, length, depth, siblings):
    if length & 7 or depth <= 0:
        check_structure(length, depth)
    end = start + length
    depth -= 1
    result = new(cls)
    values = result.__dict__
    lists = {}
    while start < end:
        key, length = read_header(buffer, start)
        at = start + 8
        start = at + (length + 7 & -8)
        if start > end:
            overrun()
<fields>
        if key in known:
            start = at - 8
        else:
            lists.setdefault("extra", []).append(unknown(key, buffer, at, length, depth))
    if <incomplete>:
        missing(values)
    for name, items in lists.items():
        values[name] = tuple(items)
    return result
"""

_ONE: Final = """\
if <test>:
    if "<name>" in values:
        repeated("<name>")
    values["<name>"] = <read>
    if start >= end:
        break
    key, length = read_header(buffer, start)
    at = start + 8
    start = at + (length + 7 & -8)
    if start > end:
        overrun()
"""

_MANY: Final = """\
if <test>:
    items = lists.setdefault("<name>", [])
    while <test>:
        items.append(<read>)
        if start >= end:
            key = 0
            break
        key, length = read_header(buffer, start)
        at = start + 8
        start = at + (length + 7 & -8)
        if start > end:
            overrun()
    if not key:
        break
"""


def specialise_decode(
    cls: type, fields: Iterable[tuple[str, bool, tuple[Form, ...]]], required: frozenset[str]
) -> Decode:
    """Return the function that decodes ``cls``. ``fields`` are (name, many, forms) in the specification's order."""
    known: set[int] = set()
    namespace = {
        "check_structure": ttlv.check_structure,
        "cls": cls,
        "known": known,
        "missing": _missing(cls, required),
        "new": object.__new__,
        "overrun": _overrun,
        "read_header": ttlv.read_header,
        "repeated": _repeated(cls),
        "unknown": _unknown(cls, known),
    }
    blocks = []
    for number, (name, many, forms) in enumerate(fields):
        known.update(form.key for form in forms)
        test, read = _expressions(number, forms, namespace)
        template = _MANY if many else _ONE
        blocks.append(template.replace("<test>", test).replace("<read>", read).replace("<name>", name))
    incomplete = " or ".join(f'"{name}" not in values' for name in sorted(required)) or "False"
    source = _FUNCTION.replace("<incomplete>", incomplete).replace("<fields>\n", indent("".join(blocks), " " * 8))
    exec(compile(source, f"<decode {cls.__name__}>", "exec"), namespace)  # noqa: S102 - source of this module only
    decode: Decode = namespace["decode"]  # type: ignore[assignment]
    return decode


# If a required field is missing, its writer fails. Then ``explain`` checks all fields again to find the cause.
_ENCODE: Final = """\
def encode(value):
    get = value.__dict__.get
    parts = []
    try:
<fields>
    except errors:
        explain(value)
        raise
    for name in absent:
        if get(name) not in (None, ()):
            misplaced(name)
    extra = get("extra")
    if extra:
        parts += [encode_item(item) for item in extra]
    return join(parts)
"""

_WRITE_REQUIRED: Final = """\
parts.append(writer_<number>(get("<name>"), value))
"""

_WRITE_OPTIONAL: Final = """\
item = get("<name>")
if item is not None:
    parts.append(writer_<number>(item, value))
"""

_WRITE_MANY: Final = """\
for item in get("<name>") or ():
    parts.append(writer_<number>(item, value))
"""


def specialise_encode(
    cls: type, writers: Sequence[tuple[str, bool, bool, Callable[[Any, Any], bytes]]], absent: Sequence[str]
) -> Encode:
    """Return the function that encodes ``cls``.

    ``writers`` are (name, optional, many, writer). ``absent`` are the fields that the version does not have.
    """
    namespace: dict[str, Any] = {
        "absent": tuple(absent),
        "encode_item": ttlv.encode,
        "errors": ttlv.ENCODING_ERRORS,
        "explain": _explain(cls, writers),
        "join": b"".join,
        "misplaced": _misplaced(cls),
    }
    blocks = ["pass\n"]
    for number, (name, optional, many, write) in enumerate(writers):
        namespace[f"writer_{number}"] = write
        template = _WRITE_MANY if many else _WRITE_OPTIONAL if optional else _WRITE_REQUIRED
        blocks.append(template.replace("<name>", name).replace("<number>", str(number)))
    source = _ENCODE.replace("<fields>\n", indent("".join(blocks), " " * 8))
    exec(compile(source, f"<encode {cls.__name__}>", "exec"), namespace)  # noqa: S102 - source of this module only
    encode: Encode = namespace["encode"]
    return encode


def _explain(
    cls: type, writers: Sequence[tuple[str, bool, bool, Callable[[Any, Any], bytes]]]
) -> Callable[[Any], None]:
    def explain(value: Any) -> None:
        for name, optional, many, write in writers:
            content = getattr(value, name)
            if content is None and not optional:
                raise LocalProtocolError(f"{cls.__name__}: {name} is missing") from None
            try:
                for item in content if many else [] if content is None else [content]:
                    write(item, value)
            except ttlv.ENCODING_ERRORS:
                raise LocalProtocolError(f"{cls.__name__}: {name} is not of its item type") from None

    return explain


def _misplaced(cls: type) -> Callable[[str], None]:
    def misplaced(name: str) -> None:
        raise LocalProtocolError(f"{cls.__name__}: {name} does not exist in this protocol version")

    return misplaced


def _expressions(number: int, forms: tuple[Form, ...], namespace: dict[str, Any]) -> tuple[str, str]:
    """Return the source that tests for a field's keys, and the source that reads its value."""
    only, *others = forms
    reader = f"reader_{number}"
    if others:
        namespace[reader] = {form.key: form.reader() for form in forms}
        return f"key in {reader}", f"{reader}[key].decode(buffer, at, length, depth, values)"
    if only.plain:
        namespace[reader] = only.plain
        return f"key == {only.key}", f"{reader}(buffer, at, length)"
    namespace[reader] = only.nested
    return f"key == {only.key}", f"{reader}.decode(buffer, at, length, depth, values)"


def _overrun() -> None:
    raise TTLVError("an item is longer than what holds it")


def _repeated(cls: type) -> Callable[[str], None]:
    def repeated(name: str) -> None:
        raise RemoteProtocolError(f"{cls.__name__}: {name} is there twice")

    return repeated


def _missing(cls: type, required: frozenset[str]) -> Callable[[dict[str, Any]], None]:
    def missing(values: dict[str, Any]) -> None:
        names = ", ".join(sorted(required - values.keys()))
        raise RemoteProtocolError(f"{cls.__name__}: {names} missing")

    return missing


def _unknown(cls: type, known: set[int]) -> Callable[[int, bytes, int, int, int], ttlv.Item]:
    def unknown(item_key: int, buffer: bytes, start: int, length: int, depth: int) -> ttlv.Item:
        if any(item_key >> 8 == key >> 8 for key in known):
            raise RemoteProtocolError(f"{cls.__name__}: {tags.NAMES[item_key >> 8]} has another item type")
        return ttlv.decode_value(item_key, buffer, start, length, depth)

    return unknown
