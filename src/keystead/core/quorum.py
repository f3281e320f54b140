"""The rule that all nodes must be heard before key servers change: ONTAP's, and off by default. Pure.

Nothing here needs it, because the nodes share one database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from keystead.core.availability import silent_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import Node


@dataclass(frozen=True, slots=True)
class Quorum:
    """The settings of the rule. A node that was silent for longer than ``evicted_after`` does not count."""

    required: bool = False
    evicted_after: timedelta = timedelta(minutes=15)

    def missing(self, nodes: Sequence[Node]) -> str:
        """Return the name of a node that is silent and not evicted yet. Empty if there is none, or the rule is off."""
        silent = silent_nodes(nodes) if self.required else frozenset()
        last = max((node.heard_at for node in nodes if node.heard_at is not None), default=None)
        for node in nodes:
            if node.uuid in silent and last and node.heard_at and last - node.heard_at <= self.evicted_after:
                return node.name
        return ""


OFF = Quorum()
