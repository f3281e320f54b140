"""Which accounts have read key material, so that the first read of each is announced, and no other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("has_read_keys", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE accounts SET has_read_keys = 1"
        " WHERE name IN (SELECT account FROM audit_records WHERE read_id IS NOT NULL)"
    )
