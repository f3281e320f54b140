"""The rules of what is announced about key servers: once for the whole cluster, whichever nodes see it. Pure.

A loss begins with the first node that reports it, and ends when no node reports it any more. The same holds for keys
that a server hides. What was announced last is stored, and compared in the transaction that stores an observation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from keystead.core import events
from keystead.core.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.events import EventKind
    from keystead.core.model import Node, Observation

STATUS: Final = "not-responding"
"""``keyserver_status`` in events: ONTAP's word on its command line."""


@dataclass(frozen=True, slots=True)
class AnnouncedState:
    """What was announced of an address of a key server. ``reason`` is that of its loss, empty if it is not lost.

    ``host`` is that of an observation.
    """

    key_server: str
    host: str
    reason: str = ""
    keys_hidden: bool = False

    @property
    def is_bad(self) -> bool:
        """True if the address is announced as lost, or as hiding its keys."""
        return bool(self.reason) or self.keys_hidden

    def after(self, kinds: Iterable[EventKind], reason: str) -> AnnouncedState:
        """Return what is announced after these events, for this reason."""
        state = self
        for kind in kinds:
            if kind in {events.NOT_AVAILABLE, events.AVAILABLE}:
                state = replace(state, reason=reason if kind is events.NOT_AVAILABLE else "")
            else:
                state = replace(state, keys_hidden=kind is events.CANARY_HIDDEN)
        return state


def begun(known: AnnouncedState, before: Observation | None, after: Observation) -> tuple[EventKind, ...]:
    """Return the kinds of events that begin with a change of one node's observation.

    A new reason of a loss is announced if the node gave another one before. Nodes that see a loss for different reasons
    from the start do not announce it again: their states say so.
    """
    found = []
    saw_it = before is not None and before.state is not State.AVAILABLE
    is_new = not known.reason or (saw_it and after.reason not in {known.reason, before.reason if before else ""})
    if after.state is State.NOT_RESPONDING and is_new:
        found.append(events.NOT_AVAILABLE)
    if after.keys_visible is False and not known.keys_hidden:
        found.append(events.CANARY_HIDDEN)
    return tuple(found)


def ended(known: AnnouncedState, seen: Iterable[Observation]) -> tuple[EventKind, ...]:
    """Return the kinds of events that end what was announced. ``seen`` are the observations of all nodes that count.

    None of them says so any more, and one says the opposite.
    """
    seen = tuple(seen)
    states, visible = {each.state for each in seen}, {each.keys_visible for each in seen}
    found = []
    if known.reason and State.AVAILABLE in states and State.NOT_RESPONDING not in states:
        found.append(events.AVAILABLE)
    if known.keys_hidden and True in visible and False not in visible:
        found.append(events.CANARY_VISIBLE)
    return tuple(found)


def event_values(
    after: Observation, vserver: str, address: str, nodes: Sequence[Node], seen: Mapping[str, Observation]
) -> dict[str, str]:
    """Return the parameters of the events that an observation may have. ``seen`` are those that count, by node."""
    states = [f"{node.name} {(seen[node.uuid].state if node.uuid in seen else State.UNKNOWN).value}" for node in nodes]
    return {
        "vserver": vserver,
        "address": address,
        "keyserver_status": STATUS,
        "node_states": ", ".join(states),
        "stage": after.stage,
        "reason": after.reason,
    }
