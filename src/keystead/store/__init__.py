"""The store: one schema and one repository for SQLite and PostgreSQL. It implements keystead.service.ports.store."""

from keystead.service.ports.store import SchemaError
from keystead.store.engine import SqlStore
from keystead.store.opening import open_store

__all__ = ["SchemaError", "SqlStore", "open_store"]
