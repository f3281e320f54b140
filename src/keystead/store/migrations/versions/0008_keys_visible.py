"""What nodes see of the keys on key servers, the public keys of servers, and an index for the newest copies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    by_bytes = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("observations", sa.Column("last_available", sa.DateTime(timezone=True), nullable=True))
    op.add_column("observations", sa.Column("latency_ms", sa.Integer, nullable=True))
    op.add_column("observations", sa.Column("keys_visible", sa.Integer, nullable=True))
    op.add_column("server_profiles", sa.Column("public_key", by_bytes, nullable=False, server_default=sa.text("''")))
    op.create_index("ix_key_copies_key_server_host_written", "key_copies", ["key_server", "host", "written"])
