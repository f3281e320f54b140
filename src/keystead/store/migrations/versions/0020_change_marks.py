"""The change marks: of the keys with their configuration, of observations, and of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0020"
down_revision = "0019"

PARTS = ("events", "kept", "observed")
SLOTS = range(16)


def upgrade() -> None:
    made = op.create_table(
        "change_marks",
        sa.Column("part", Bytewise, nullable=False),
        sa.Column("slot", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("mark", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("part", "slot", name="pk_change_marks"),
    )
    op.bulk_insert(made, [{"part": part, "slot": slot, "mark": 0} for part in PARTS for slot in SLOTS])
