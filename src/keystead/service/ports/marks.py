"""The parts of the database that have a change mark.

Part of :class:`keystead.service.ports.store.Transaction`: what holds for its methods holds here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping


class Part(StrEnum):
    """A part of the database. ``kept``: keys, their copies and orphans, and the configuration of key managers."""

    EVENTS = "events"
    KEPT = "kept"
    OBSERVED = "observed"


class ChangeMarkRows(Protocol):
    """The change marks, which every commit moves by itself."""

    def change_marks(self) -> Mapping[Part, Hashable]:
        """Return a value for each part that is another one after each commit that changed rows of the part.

        Rows that were deleted together with a row of another part do not move the mark of theirs.
        """
        ...
