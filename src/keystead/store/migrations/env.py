"""The entry point of Alembic: run the revisions on the connection of keystead.store.upgrade, in its transaction."""

from __future__ import annotations

from alembic import context

from keystead.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
