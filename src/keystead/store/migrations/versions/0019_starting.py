"""Nodes that are starting: their observations do not count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("starting", sa.Integer, autoincrement=False, nullable=False, server_default="0"))
