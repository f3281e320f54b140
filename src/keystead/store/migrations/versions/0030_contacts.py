"""How other nodes reach a node's process, and until when it reads keys without the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise, UtcTimestamp

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    for name in ("address", "certificate", "public_key", "proxies"):
        op.add_column("nodes", sa.Column(name, Bytewise, nullable=False, server_default=sa.text("''")))
    op.add_column("nodes", sa.Column("reads_until", UtcTimestamp, nullable=True))
