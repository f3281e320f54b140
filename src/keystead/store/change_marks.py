"""Change marks: numbers that say whether a part of the database has changed.

A commit that changed a part gives one of the part's rows a new random number. So the sum of the rows is another one. A
counter could come back with other rows behind it, after a failover that lost commits. Each commit takes a random one of
several rows, because it holds the row's lock until it has ended.
"""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, func, select, update

from keystead.service.ports.marks import Part
from keystead.store import tables
from keystead.store.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

SLOTS: Final = 16
"""How many rows each part has. The migration made them."""

_marks = tables.change_marks.c
_MARKS = select(_marks.part, func.sum(_marks.mark).label("mark")).group_by(_marks.part)
_MOVE = (
    update(tables.change_marks)
    .where(_marks.part == bindparam("p"), _marks.slot == bindparam("s"))
    .values(mark=bindparam("m"))
)

PART_OF: Final = {
    table.name: part
    for part, of in {
        Part.KEPT: (
            tables.svms,
            tables.certificates,
            tables.certificate_intermediates,
            tables.key_managers,
            tables.key_manager_server_cas,
            tables.key_servers,
            tables.secondary_key_servers,
            tables.keys,
            tables.key_attempts,
            tables.key_copies,
            tables.server_profiles,
            tables.unclaimed_objects,
        ),
        Part.OBSERVED: (tables.observations,),
        Part.EVENTS: (tables.events,),
    }.items()
    for table in of
}
"""The part of each table, by name. The other tables have no mark."""


class ChangeMarkRows(Statements):
    """The rows of change marks."""

    def change_marks(self) -> Mapping[Part, Hashable]:
        return dict(self.all(_MARKS, {}, lambda row: (Part(row.part), int(row.mark))))

    def move_marks(self) -> None:
        """Move the marks of what this transaction changed. Called last, because other commits wait for these rows."""
        parts = {PART_OF[name] for name in self.changed if name in PART_OF}
        for part in sorted(parts):  # always in this order, so that two commits cannot wait for each other
            self.change(_MOVE, {"p": part.value, "s": random.randrange(SLOTS), "m": random.getrandbits(56)})  # noqa: S311 - no secret
