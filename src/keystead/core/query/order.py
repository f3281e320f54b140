"""The parser of ``order_by``. Source: "Getting started with the ONTAP REST API", "Record sorting"."""

from __future__ import annotations

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted
from keystead.core.query.where import Order

_DIRECTIONS = {"": False, "asc": False, "desc": True}


def parse_order(text: str) -> tuple[Order, ...]:
    """Parse ``a desc,b.c``. Raises 262268 for an unknown direction, 262222 for a name that is given twice."""
    keys: dict[str, Order] = {}
    for item in text.split(","):
        name, _, direction = item.strip().partition(" ")
        descending = _DIRECTIONS.get(direction.strip().lower())
        if descending is None:
            shown = quoted(item.strip())
            raise OntapError(errors.FIELD_NOT_ORDERED, target="order_by", field=shown)
        if name in keys:
            raise OntapError(errors.VALUE_TWICE, target="order_by", value=quoted(name), field="order_by")
        if name:
            keys[name] = Order(name, descending)
    return tuple(keys.values())
