"""Nodes vouch for a promoted database, and a process that was stopped leaves a token for the next one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise, UtcTimestamp

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("incarnations", sa.Column("vouching", Bytewise, nullable=False, server_default=sa.text("''")))
    op.add_column("incarnations", sa.Column("vouching_since", UtcTimestamp, nullable=True))
    op.add_column("nodes", sa.Column("stop_token", Bytewise, nullable=False, server_default=sa.text("''")))
    op.create_table(
        "vouchers",
        sa.Column("storage", Bytewise, nullable=False),
        sa.Column("node", Bytewise, nullable=False),
        sa.Column("vouched", UtcTimestamp, nullable=False),
        sa.PrimaryKeyConstraint("storage", "node", name="pk_vouchers"),
    )
