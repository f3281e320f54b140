"""What a change proves of keys goes on after a pause."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise, UtcTimestamp

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.create_table(
        "proving_attempts",
        sa.Column("what", Bytewise, nullable=False),
        sa.Column("key_manager", Bytewise, nullable=False),
        sa.Column("began", UtcTimestamp, nullable=False),
        sa.Column("touched", UtcTimestamp, nullable=False),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_proving_attempts_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("what", name="pk_proving_attempts"),
    )
    op.create_index("ix_proving_attempts_key_manager", "proving_attempts", ["key_manager"])
