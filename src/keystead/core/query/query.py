"""The fields that a resource has and a GET asks for, and the quoting of a caller's text.

Filters are in filter.py and where.py, orders in order.py. Source: "Getting started with the ONTAP REST API",
"Requesting specific fields". No framework, no URL parsing, no storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.fields import parse_fields
from keystead.core.secret import holds_private_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Wanted = frozenset[str]
"""The names of the fields that an answer shows or is filtered by."""

QUOTE_LIMIT = 100  # characters of a caller's text that an error repeats


class Read(Enum):
    """When a field is shown."""

    KEY = "key"  # always
    NORMAL = "normal"  # by default for one object, on request in a collection
    EXPENSIVE = "expensive"  # on request by name, by the name of a parent, or with **
    BY_NAME = "by name"  # like EXPENSIVE, but a parent means it only if it means nothing else: ONTAP lacks such fields
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The readable fields of a resource, by dotted name.

    ``is_absent`` tells the names that ONTAP has and this service has no values for. A request may use them; an answer
    leaves them out.
    """

    fields: Mapping[str, Read]
    is_absent: Callable[[str], bool]

    def select(self, text: str, *, single: bool, ignore_unknown: bool = False) -> frozenset[str]:
        """Return the names of the fields that a ``fields`` parameter asks for, always with the key fields.

        Empty text is the default: all normal fields of a single object, the key fields of a collection's records. The
        name of a parent means its members, with or without ``.*``. ``*`` means all normal fields, and ``**`` all that
        are ever shown. A list with exclusions alone starts from the normal fields.
        """
        included, excluded = parse_fields(text)
        chosen = {
            field
            for name in included
            for field in self._shown_by(name, self._named(name, "fields", ignore_unknown=ignore_unknown))
        }
        if not included and (single or excluded):
            chosen = self._shown(Read.NORMAL)
        left_out = self.named(excluded, "fields", ignore_unknown=ignore_unknown)
        return frozenset(chosen - left_out | self._shown(Read.KEY))

    def named(self, names: Iterable[str], parameter: str, *, ignore_unknown: bool = False) -> set[str]:
        """Return the fields that the names mean. Raise 262197 for an unknown name, 262249 for a field never shown."""
        return {field for name in names for field in self._named(name, parameter, ignore_unknown=ignore_unknown)}

    def _shown(self, *reads: Read) -> set[str]:
        return {name for name, read in self.fields.items() if read in reads}

    def _shown_by(self, name: str, beneath: set[str]) -> set[str]:
        """Return the fields that a name shows, of those beneath it: ``BY_NAME`` ones only if there are no others."""
        if name == "**":
            return beneath
        return {field for field in beneath if self.fields[field] is not Read.BY_NAME} or beneath

    def _named(self, name: str, parameter: str, *, ignore_unknown: bool) -> set[str]:
        if name == "*":
            return self._shown(Read.KEY, Read.NORMAL)
        if name == "**":
            return self._shown(Read.KEY, Read.NORMAL, Read.EXPENSIVE, Read.BY_NAME)
        parent = name.removesuffix(".*")
        prefix = f"{parent}."
        beneath = {known for known in self.fields if known == name or known.startswith(prefix)}
        readable = {known for known in beneath if self.fields[known] is not Read.NEVER}
        if beneath and not readable:
            raise OntapError(errors.FIELD_NOT_READABLE, target=parameter, field=quoted(name))
        if not beneath and not ignore_unknown and not self.is_absent(parent):
            raise OntapError(errors.INVALID_FIELDS_VALUE, target=parameter, value=quoted(name), field=parameter)
        return readable


def quoted(text: object) -> str:
    """Return the caller's text as an error may repeat it: short, only with printable characters, no private key."""
    shown = str(text)
    if holds_private_key(shown):
        return "***"
    clean = "".join(character if character.isprintable() else "\ufffd" for character in shown[:QUOTE_LIMIT])
    return clean if len(shown) <= QUOTE_LIMIT else f"{clean}..."
