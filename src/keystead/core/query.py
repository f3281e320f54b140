"""What a GET asks for, as pure values: which fields, which records, where the next page begins.

Source: "Getting started with the ONTAP REST API", the sections on ``fields``, filtering and paging. No framework, no
URL parsing, no storage; ``order_by`` and the query operators are not part of it yet, so they are refused, not ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Row = TypeVar("Row")
Wanted = frozenset[str]
"""Names of the fields that an answer will show or be filtered by."""

QUOTE_LIMIT = 100  # characters of a caller's text that an error repeats
_OPERATORS = re.compile(r'[*|<>{}"]|\A!|\.\.|\Anull\Z')


class Read(Enum):
    """When a field is shown."""

    KEY = "key"  # always
    NORMAL = "normal"  # by default for one object, on request in a collection
    EXPENSIVE = "expensive"  # on request by name or with **
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The readable names of a resource, by dotted name.

    ``absent`` are names (and everything beneath them) that ONTAP has and this service has nothing to show for: a
    request may name them, an answer leaves them out.
    """

    fields: Mapping[str, Read]
    absent: frozenset[str] = field(default_factory=frozenset)

    def select(self, text: str, *, single: bool) -> frozenset[str]:
        """Return the names of the fields that a ``fields`` parameter asks for; key fields are always among them.

        Empty text is the default: all normal fields of a single object, the key fields of a collection's records.
        A parent's name means its members; ``*`` all normal fields, ``**`` the expensive ones as well.
        """
        chosen = self._shown(Read.KEY)
        wanted = [name for name in dict.fromkeys(part.strip() for part in text.split(",")) if name]
        if not wanted and single:
            chosen |= self._shown(Read.NORMAL)
        for name in wanted:
            chosen |= self._named(name)
        return frozenset(chosen)

    def is_absent(self, name: str) -> bool:
        """Whether a name is, or stands beneath, one of ONTAP's that are always left out."""
        return any(name == known or name.startswith(f"{known}.") for known in self.absent)

    def _shown(self, *reads: Read) -> set[str]:
        return {name for name, read in self.fields.items() if read in reads}

    def _named(self, name: str) -> set[str]:
        if name == "*":
            return self._shown(Read.NORMAL)
        if name == "**":
            return self._shown(Read.NORMAL, Read.EXPENSIVE)
        beneath = {known for known in self.fields if known == name or known.startswith(f"{name}.")}
        readable = {known for known in beneath if self.fields[known] is not Read.NEVER}
        if beneath and not readable:
            raise OntapError(errors.FIELD_NOT_READABLE, target="fields", field=quoted(name))
        if not beneath and not self.is_absent(name):
            raise OntapError(errors.INVALID_FIELDS_VALUE, target="fields", value=quoted(name))
        return readable


@dataclass(frozen=True, slots=True)
class Equals:
    """A filter: records of which a value of ``field`` equals ``value``."""

    field: str
    value: object

    def matches(self, values: Iterable[object]) -> bool:
        """Whether one of a record's values (an array has several, an absent field none) is the wanted one."""
        return any(value == self.value for value in values)


def check_literal(name: str, text: str) -> None:
    """Refuse a filter that uses an operator of the query language: read as plain text it would match nothing."""
    if _OPERATORS.search(text):
        raise OntapError(
            errors.INVALID_VALUE, target=name, field=name, reason="a filter compares with one value, without operators"
        )


def cut(rows: Sequence[Row], limit: int, key: Callable[[Row], str | int]) -> tuple[Sequence[Row], str | int | None]:
    """Return at most ``limit`` rows and, when there are more, the key after which the next page begins."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], key(rows[limit - 1])


def quoted(text: object) -> str:
    """A caller's text as an error may repeat it: short, and printable characters only."""
    shown = str(text)
    clean = "".join(character if character.isprintable() else "\ufffd" for character in shown[:QUOTE_LIMIT])
    return clean if len(shown) <= QUOTE_LIMIT else f"{clean}..."
