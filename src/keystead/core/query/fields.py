"""Lists of field names in a URL (``fields`` and ``query_fields``), with braces and exclusions.

The names that a resource has are not known here. Source: "Getting started with the ONTAP REST API", "Requesting
specific fields".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r"[{},]|[^{},]+")
_DEPTH = 8  # the limit of nested braces: more than any resource has levels


class Names(NamedTuple):
    """The names in a list: to include, and to exclude again. A name may be a parent's; no name is there twice."""

    included: tuple[str, ...]
    excluded: tuple[str, ...]


def parse_fields(text: str, parameter: str = "fields") -> Names:
    """Parse ``a,b.{c,d.{e,f}},!g``. Blanks around names are ignored, and so are empty names.

    Raises 262286 for the parameter, with the position (from 1), for braces that do not match or do not follow
    ``name.``.
    """
    names = dict.fromkeys(_names(text, parameter))
    return Names(
        tuple(item for item in names if not item.startswith("!")),
        tuple(item[1:] for item in names if item.startswith("!")),
    )


def _names(text: str, parameter: str) -> Iterator[str]:
    """Yield the names with their prefixes written out."""
    prefixes = [""]
    name, closed = "", False  # closed: a brace was closed, so that only a comma or a brace can follow
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
            raise _mismatch(parameter, token.start())
    if len(prefixes) > 1:
        raise _mismatch(parameter, len(text))


def _mismatch(parameter: str, position: int) -> OntapError:
    return OntapError(errors.FIELDS_BRACES, target=parameter, field=parameter, position=position + 1)
