"""The store: one schema and one repository for SQLite and PostgreSQL. It implements keystead.service.ports.store."""

from keystead.store.engine import SqlStore
from keystead.store.opening import open_store
from keystead.store.schema import SchemaError

__all__ = ["SchemaError", "SqlStore", "open_store"]
