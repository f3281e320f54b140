"""Conditions on records, as values. The store turns them into SQL; what it cannot turn is compared in memory.

A :data:`Where` holds if all of its clauses hold. A clause holds if any of its conditions holds, so an empty
clause never holds. Text is compared by code points, in the same order as its UTF-8 bytes. Source: "Getting started with
the ONTAP REST API", "Record filtering". No field types, no parsing, no storage.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Pieces = tuple[str, ...]
"""A pattern: the texts between its wildcards, ``("a", "b")`` for ``a*b``. One piece means no wildcard."""


class Op(Enum):
    """How a value is compared with an operand."""

    EQUAL = "="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    RANGE = ".."  # the operand is a pair; both ends are included
    LIKE = "*"  # the operand is Pieces, the value a text
    UNSET = "null"  # there is no value; no operand


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a value of ``name`` with ``operand``. Of several values (an array) any one may match.

    ``name`` is a field, or a column of the store. Only UNSET matches an unset value; no comparison does, not even a
    negated one.
    """

    name: str
    op: Op
    operand: Any = None
    negated: bool = False

    def holds(self, values: Sequence[Any]) -> bool:
        """Return True if the values of a record match. An unset value is an empty sequence."""
        if self.op is Op.UNSET:
            return (not values) is not self.negated
        compare = _COMPARE[self.op]
        return any(compare(value, self.operand) is not self.negated for value in values)


Clause = tuple[Condition, ...]
Where = tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an order. Unset values come last, or first with ``descending``."""

    name: str
    descending: bool = False


def equal(**values: str | int | bool | None) -> Where:
    """Return the condition that each name has this value. None means unset."""
    return tuple((Condition(name, Op.UNSET if value is None else Op.EQUAL, value),) for name, value in values.items())


def holds(where: Where, values: Callable[[Condition], Sequence[Any]]) -> bool:
    """Return True if the condition holds, evaluated in memory.

    ``values`` returns the values of a record for a condition: texts for LIKE.
    """
    return all(any(condition.holds(values(condition)) for condition in clause) for clause in where)


def like(text: str, pieces: Pieces) -> bool:
    """Return True if the text matches the pattern. For each wildcard the time is linear in both."""
    if len(pieces) == 1:
        return text == pieces[0]
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _within(value: Any, ends: tuple[Any, Any]) -> bool:
    return bool(ends[0] <= value <= ends[1])


_COMPARE: dict[Op, Callable[[Any, Any], bool]] = {
    Op.EQUAL: operator.eq,
    Op.LESS: operator.lt,
    Op.AT_MOST: operator.le,
    Op.MORE: operator.gt,
    Op.AT_LEAST: operator.ge,
    Op.RANGE: _within,
    Op.LIKE: like,
}
