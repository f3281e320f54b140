"""What each node's own clock said at its last sign of life, which the database dates, and whether it was stopped."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("reported", sa.DateTime(timezone=True), nullable=True))
    op.add_column("nodes", sa.Column("has_left", sa.Integer, autoincrement=False, nullable=False, server_default="0"))
