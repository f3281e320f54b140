"""The store: one schema and one repository over SQLite and PostgreSQL. Implements keystead.service.ports.Store."""

from keystead.store.engine import SqlStore
from keystead.store.opening import open_store
from keystead.store.schema import SchemaError

__all__ = ["SchemaError", "SqlStore", "open_store"]
