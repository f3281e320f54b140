"""The retention of audit records: the last cut of each chain, and how far the last backup and export reached."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise, UtcTimestamp

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_table(
        "audit_cuts",
        sa.Column("node", Bytewise, nullable=False),
        sa.Column("index", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("rule", Bytewise, nullable=False),
        sa.Column("saved", Bytewise, nullable=False),
        sa.Column("time", UtcTimestamp, nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_audit_cuts"),
    )
    op.create_table(
        "audit_saves",
        sa.Column("node", Bytewise, nullable=False),
        sa.Column("way", Bytewise, nullable=False),
        sa.Column("index", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("time", UtcTimestamp, nullable=False),
        sa.Column("note_mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("node", "way", name="pk_audit_saves"),
    )
