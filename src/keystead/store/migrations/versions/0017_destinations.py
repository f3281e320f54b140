"""Where audit records and events are forwarded to, and filters of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "destinations",
        sa.Column("log", Bytewise, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("settings", Bytewise, nullable=False),
        sa.Column("progress", Bytewise, nullable=False),
        sa.PrimaryKeyConstraint("log", "name", name="pk_destinations"),
    )
    op.create_table(
        "event_filters",
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("rules", Bytewise, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_event_filters"),
    )
