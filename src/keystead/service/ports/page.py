"""A page of a list: which rows, in which order, after which row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from keystead.core.query.where import equal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keystead.core.query.where import Order, Where

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list: rows that meet ``where``, in ``order``, after the row that ``after`` names.

    Columns are names of the model's fields, and ``svm_uuid``, ``svm_name``, ``scope`` where a model has an ``svm``.
    The kind's own key (``uuid``; ``position`` of key servers) ends every order that does not hold it. ``after`` are the
    values of all these keys in the last row seen; then ``offset`` rows are left out. ``wanted`` are the fields that
    will be looked at: what is costly to find out and not among them may be left out.
    """

    where: Where = ()
    order: tuple[Order, ...] = ()
    after: tuple[Any, ...] | None = None
    offset: int = 0
    limit: int = 10_000
    wanted: frozenset[str] = frozenset()

    def within(self, **equals: str | int | bool | None) -> Page:
        """Return the same slice of the rows whose columns equal these values, too; None is unset."""
        return replace(self, where=(*self.where, *equal(**equals)))

    def cut(self, items: Iterable[T], place_of: Callable[[T], str]) -> tuple[T, ...]:
        """Return this slice of a list in memory. ``place_of`` returns an item's place, the only key of the order."""
        (after,) = self.after or ("",)
        following = [item for item in sorted(items, key=place_of) if place_of(item) > after]
        return tuple(following[self.offset : self.offset + self.limit])
