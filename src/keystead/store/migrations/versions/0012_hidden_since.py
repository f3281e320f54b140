"""When a key server first did not show its keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("observations", sa.Column("hidden_since", sa.DateTime(timezone=True), nullable=True))
