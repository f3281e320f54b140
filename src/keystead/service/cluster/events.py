"""Use cases of EMS events: read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors, events
from keystead.core.errors import OntapError
from keystead.core.model import Event

if TYPE_CHECKING:
    from keystead.core.model import Node
    from keystead.service.context import Call
    from keystead.service.ports.store import Page, Store, Transaction


@dataclass(frozen=True, slots=True)
class EventView:
    """An event with the node that announced it, and those of its parameters that the caller may see."""

    event: Event
    node: Node
    parameters: tuple[tuple[str, str], ...]
    log_message: str


class Events:
    """What the nodes announced. An SVM sees what concerns it, without what only the whole cluster may see."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(self, call: Call, page: Page) -> tuple[EventView, ...]:
        """Return a slice of the events, by default the oldest first."""

        def read(tx: Transaction) -> tuple[EventView, ...]:
            return _views(tx, call, tx.page(Event, call.within(page)))

        return await self._store.read(read)

    async def get(self, call: Call, node: str, index: int) -> EventView:
        """Return the event of a node (its name) with this index, or raise 4 (404)."""

        def read(tx: Transaction) -> EventView:
            uuid = next((each.uuid for each in tx.nodes() if each.name == node), "")
            event = tx.event(uuid, index, within=call.within_svm)
            if event is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="index")
            return _views(tx, call, (event,))[0]

        return await self._store.glance(read)


def _views(tx: Transaction, call: Call, found: tuple[Event, ...]) -> tuple[EventView, ...]:
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
