"""Keystead's release on each node, and where the data directory of its process is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    for name in ("keystead_release", "place"):
        op.add_column("nodes", sa.Column(name, Bytewise, nullable=False, server_default=sa.text("''")))
