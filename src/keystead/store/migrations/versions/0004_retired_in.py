"""In which incarnation of the database a key was retired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_IN_THIS_ONE = """
    UPDATE keys SET retired_in = (SELECT uuid FROM incarnations ORDER BY number DESC LIMIT 1)
    WHERE state = 'retired' AND retired >= (SELECT began FROM incarnations ORDER BY number DESC LIMIT 1)
"""
"""Of keys that were retired before only the times tell: until now they decided."""


def upgrade() -> None:
    by_bytes = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("keys", sa.Column("retired_in", by_bytes, nullable=False, server_default=sa.text("''")))
    op.execute(_IN_THIS_ONE)
