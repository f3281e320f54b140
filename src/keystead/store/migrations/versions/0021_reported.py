"""What each node's own clock said at its last sign of life; the database's clock dates that sign."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("reported", sa.DateTime(timezone=True), nullable=True))
