"""The mark of a database that is an unfinished copy, or that was moved elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "database_copy",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        *(sa.Column(name, Bytewise, nullable=False) for name in ("uuid", "state", "other", "storage")),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_database_copy_one")),
        sa.PrimaryKeyConstraint("id", name="pk_database_copy"),
    )
