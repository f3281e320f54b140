"""Statements compiled once a process, not once a store: the suite opens thousands of stores."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

COMPILED: LRUCache[Any, Any] = LRUCache(5000)


def share_compiled_statements() -> None:
    """Have all engines of a kind of database use one cache.

    SQLAlchemy tells compiled statements apart by the dialect, which is an object of its own for each engine. Those of
    one class, which the store makes all alike, are equal from here on.
    """
    dialect: Any = DefaultDialect
    dialect.__eq__ = lambda self, other: type(self) is type(other)
    dialect.__hash__ = lambda self: hash(type(self))

    @event.listens_for(Engine, "engine_connect")
    def use(connection: Connection) -> None:
        connection.execution_options(compiled_cache=COMPILED)
