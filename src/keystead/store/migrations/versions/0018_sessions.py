"""The sessions of the console."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise, UtcTimestamp

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", Bytewise, nullable=False),
        sa.Column("account", Bytewise, nullable=False),
        sa.Column("account_version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("authority", Bytewise, nullable=False),
        sa.Column("location", Bytewise, nullable=False),
        sa.Column("began", UtcTimestamp, nullable=False),
        sa.Column("used", UtcTimestamp, nullable=False),
        sa.Column("confirmed", UtcTimestamp, nullable=True),
        sa.ForeignKeyConstraint(["account"], ["accounts.name"], name="fk_sessions_account", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_account", "sessions", ["account"])
