"""Fences that are to be moved on, whether or not it is time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("fences", sa.Column("due", sa.Integer(), nullable=False, server_default=sa.text("'0'")))
