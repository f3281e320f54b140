"""Use cases of EMS events: read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.core import errors, events
from keystead.core.errors import OntapError
from keystead.core.model import Event
from keystead.service.ports.cluster import EventRows, NodeRows
from keystead.service.ports.configuration import ListRows

if TYPE_CHECKING:
    from keystead.core.model import Node
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.store import Store


class Rows(ListRows, NodeRows, EventRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class EventView:
    """An event, the node that announced it, and those of its parameters that the caller may see."""

    event: Event
    node: Node
    parameters: tuple[tuple[str, str], ...]
    log_message: str


class Events:
    """The events that nodes announced.

    An SVM sees its own events, without parameters that only the whole cluster may see.
    """

    def __init__(self, store: Store[Rows]) -> None:
        self._store = store

    async def page(self, call: Call, page: Page) -> tuple[EventView, ...]:
        """Return a slice of the events, by default the oldest first."""

        def read(tx: Rows) -> tuple[EventView, ...]:
            return _views(tx, call, tx.page(Event, call.within(page)))

        return await self._store.read(read)

    async def get(self, call: Call, node: str, index: int) -> EventView:
        """Return the event with this index of the node with this name, or raise 4 (404)."""

        def read(tx: Rows) -> EventView:
            uuid = next((each.uuid for each in tx.nodes() if each.name == node), "")
            event = tx.event(uuid, index, within=call.within_svm)
            if event is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="index")
            return _views(tx, call, (event,))[0]

        return await self._store.read_few(read)


def _views(tx: NodeRows, call: Call, found: tuple[Event, ...]) -> tuple[EventView, ...]:
    nodes = {node.uuid: node for node in tx.nodes()}
    return tuple(
        EventView(
            event,
            nodes[event.node],
            events.shown(event, whole_cluster=call.scope is None),
            events.sentence(event, whole_cluster=call.scope is None),
        )
        for event in found
        if event.node in nodes
    )
