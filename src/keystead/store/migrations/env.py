"""Alembic's entry: run the revisions on the connection that keystead.store.upgrade hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from keystead.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
