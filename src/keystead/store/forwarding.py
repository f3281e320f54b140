"""Rows of destinations and filters of events, and of the logs that are forwarded, as a transaction uses them.

A destination is two JSON objects: its settings, and how far it has got.
"""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from keystead.core.forwarding.destinations import Destination, Log, Progress, Protocol
from keystead.core.forwarding.filters import Filter, Rule
from keystead.store import tables
from keystead.store.kinds import EVENT
from keystead.store.statements import Statements, storing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from keystead.core.model import Event

_rows = tables.destinations.c
_DESTINATIONS = select(tables.destinations).order_by(_rows.log, _rows.name)
_OF_LOG = _DESTINATIONS.where(_rows.log == bindparam("l"))
_AT = (_rows.log == bindparam("l"), _rows.name == bindparam("n"))
_ONE = select(tables.destinations).where(*_AT)
_LOCKED = _ONE.with_for_update()
_UPDATE = update(tables.destinations).where(*_AT).values(settings=bindparam("s"), progress=bindparam("p"))
_DELETE = delete(tables.destinations).where(*_AT)
_FILTERS = select(tables.event_filters).order_by(tables.event_filters.c.name)
_PUT_FILTER = storing(tables.event_filters, "name")
_DELETE_FILTER = delete(tables.event_filters).where(tables.event_filters.c.name == bindparam("n"))
_events = tables.events.c
_HEADS = {
    Log.AUDIT: select(tables.audit_heads.c.node, tables.audit_heads.c.index.label("last")),
    Log.EVENTS: select(_events.node, func.max(_events.index).label("last")).group_by(_events.node),
}
_EVENTS_AFTER = (
    EVENT.where(node="n")
    .where(_events.index > bindparam("after"))
    .order_by(None)
    .order_by(_events.index)
    .limit(bindparam("most"))
)
_TIMES = ("failing_since", "dropped_at")


class ForwardingRows(Statements):
    """The rows of destinations and filters."""

    def destinations(self, log: Log | None = None) -> tuple[Destination, ...]:
        return self.all(_OF_LOG if log else _DESTINATIONS, {"l": log} if log else {}, _destination)

    def destination(self, log: Log, name: str, *, lock: bool = False) -> Destination | None:
        statement = _LOCKED if lock and self.row_locks else _ONE
        return self.one(statement, {"l": log, "n": name}, _destination)

    def put_destination(self, destination: Destination) -> None:
        settings = asdict(destination)
        key = {"l": settings.pop("log"), "n": settings.pop("name")}
        progress = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in settings.pop("progress").items()
        }
        texts = {"s": json.dumps(settings), "p": json.dumps(progress)}
        if not self.change(_UPDATE, key | texts):
            row = {"log": key["l"], "name": key["n"], "settings": texts["s"], "progress": texts["p"]}
            self.change(insert(tables.destinations), row)

    def delete_destination(self, log: Log, name: str) -> None:
        self.change(_DELETE, {"l": log, "n": name})

    def event_filters(self) -> tuple[Filter, ...]:
        return self.all(
            _FILTERS, {}, lambda row: Filter(row.name, tuple(Rule(**rule) for rule in json.loads(row.rules)))
        )

    def put_event_filter(self, filter_: Filter) -> None:
        rules = json.dumps([asdict(rule) for rule in filter_.rules])
        self.store(_PUT_FILTER, {"name": filter_.name, "rules": rules})

    def delete_event_filter(self, name: str) -> None:
        self.change(_DELETE_FILTER, {"n": name})

    def log_heads(self, log: Log) -> Mapping[str, int]:
        return dict(self.all(_HEADS[log], {}, lambda row: (row.node, row.last)))

    def events_after(self, node: str, after: int, limit: int) -> tuple[Event, ...]:
        return self.values_of(EVENT, _EVENTS_AFTER, {"n": node, "after": after, "most": limit})


def _destination(row: Row[Any]) -> Destination:
    settings, progress = json.loads(row.settings), json.loads(row.progress)
    settings |= {"protocol": Protocol(settings["protocol"]), "filters": tuple(settings["filters"])}
    for name in _TIMES:
        progress[name] = progress[name] and datetime.fromisoformat(progress[name])
    return Destination(log=Log(row.log), name=row.name, progress=Progress(**progress), **settings)
