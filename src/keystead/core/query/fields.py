"""Lists of field names in a URL, ``fields`` and ``query_fields``: braces and exclusions.

Which names a resource has is not known here. Source: "Getting started with the ONTAP REST API", "Requesting specific
fields".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r"[{},]|[^{},]+")
_DEPTH = 8  # of nested braces: deeper than any resource


class Names(NamedTuple):
    """What a list names: to include, and to leave out again. Either may hold a parent's name; none is there twice."""

    included: tuple[str, ...]
    excluded: tuple[str, ...]


def parse_fields(text: str) -> Names:
    """Read ``a,b.{c,d.{e,f}},!g``. Blanks around names, and empty names, mean nothing.

    Raises 262286 for braces that do not match or do not follow ``name.``, with the position (from 1).
    """
    names = dict.fromkeys(_names(text))
    return Names(
        tuple(item for item in names if not item.startswith("!")),
        tuple(item[1:] for item in names if item.startswith("!")),
    )


def _names(text: str) -> Iterator[str]:
    """Yield the names with their prefixes written out."""
    prefixes = [""]
    name, closed = "", False  # closed: a brace was closed, nothing but a comma can follow
    for token in _TOKEN.finditer(f"{text},"):
        part = token.group().strip()
        wrong = closed if part not in {"", ",", "}"} else False
        if part == "{":
            wrong = wrong or not name.endswith(".") or len(prefixes) > _DEPTH
            prefixes.append(prefixes[-1] + name)
            name = ""
        elif part in {",", "}"}:
            if name:
                yield prefixes[-1] + name
            name, closed = "", part == "}"
            wrong = closed and len(prefixes) == 1
            del prefixes[len(prefixes) - closed :]
        elif part:
            name = part
        if wrong:
            raise _mismatch(token.start())
    if len(prefixes) > 1:
        raise _mismatch(len(text))


def _mismatch(position: int) -> OntapError:
    return OntapError(errors.FIELDS_BRACES, target="fields", position=position + 1)
