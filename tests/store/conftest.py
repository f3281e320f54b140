"""The databases, for every test of the store."""

from tests.peers.databases import database_url, postgres, sqlite_template, sqlite_url, store

__all__ = ["database_url", "postgres", "sqlite_template", "sqlite_url", "store"]
