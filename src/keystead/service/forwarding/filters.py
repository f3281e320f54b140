"""Use cases of filters of events: read, create, change and delete them, and their rules one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.forwarding import filters as rules
from keystead.core.forwarding.destinations import Log
from keystead.core.forwarding.filters import SYSTEM_DEFINED, Filter
from keystead.service.loading import locked_cluster
from keystead.service.ports.cluster import AuditRows, ClusterRows
from keystead.service.ports.forwarding import DestinationRows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.store import Store


class Rows(DestinationRows, ClusterRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class EventFilters:
    """The filters of the cluster: the system's, and those of administrators. An SVM sees none: it gets 4 (404)."""

    def __init__(self, store: Store[Rows], audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def page(self, call: Call, page: Page) -> tuple[Filter, ...]:
        """Return a slice of the filters, by name."""
        call.check_sees(None)
        return await self._store.read(lambda tx: page.cut(_all(tx), lambda each: each.name))

    async def get(self, call: Call, name: str) -> Filter:
        """Return one filter, or raise 4 (404)."""
        call.check_sees(None)
        return await self._store.read_few(lambda tx: _require(tx, name))

    async def create(self, call: Call, values: Mapping[str, Any]) -> Filter:
        """Store a new filter. A name that is taken is code 1 (409)."""
        return await self._put(call, lambda tx: rules.new_filter(values["name"], values.get("rules", ()), _all(tx)))

    async def set_rules(self, call: Call, name: str, values: Mapping[str, Any]) -> Filter:
        """Replace the rules of a filter."""
        return await self._put(call, lambda tx: rules.with_rules(_require(tx, name), values["rules"]))

    async def add_rule(self, call: Call, name: str, values: Mapping[str, Any]) -> tuple[Filter, int]:
        """Add a rule, and return the filter and the rule's index. Without an index it becomes the last one."""
        index = 0

        def add(tx: Rows) -> Filter:
            nonlocal index
            changed, index = rules.with_rule(_require(tx, name), values)
            return changed

        return await self._put(call, add), index

    async def change_rule(self, call: Call, name: str, index: int, values: Mapping[str, Any] | None) -> None:
        """Change a rule, or delete it if ``values`` is None."""
        await self._put(call, lambda tx: rules.without_rule(_require(tx, name), index, values))

    async def delete(self, call: Call, name: str) -> None:
        """Delete a filter. Raises 8 (409) while a destination uses it, 983113 for one of the system's."""
        call.check_sees(None)

        def delete(tx: Rows) -> None:
            locked_cluster(tx)
            if _require(tx, name).system_defined:
                raise OntapError(errors.EMS_SYSTEM_FILTER, target="name")
            users = [each.name for each in tx.destinations(Log.EVENTS) if name in each.filters]
            if users:
                raise OntapError(errors.IN_USE, target="name", arguments=[("destination", each) for each in users])
            tx.delete_event_filter(name)
            self._audit.succeed(tx, call, f"deleted the event filter {name}")

        await self._store.write(delete)

    async def _put(self, call: Call, plan: Callable[[Rows], Filter]) -> Filter:
        call.check_sees(None)

        def store(tx: Rows) -> Filter:
            locked_cluster(tx)
            planned = plan(tx)
            tx.put_event_filter(planned)
            self._audit.succeed(tx, call, f"stored the event filter {planned.name}")
            return planned

        return await self._store.write(store)


def _all(tx: DestinationRows) -> tuple[Filter, ...]:
    return (*SYSTEM_DEFINED, *tx.event_filters())


def _require(tx: DestinationRows, name: str) -> Filter:
    for found in _all(tx):
        if found.name == name:
            return found
    raise OntapError(errors.ENTRY_NOT_FOUND, target="name")
