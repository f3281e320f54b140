"""The oldest schema whose releases may write, and the schema of each node's release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    made = op.create_table(
        "compatibility",
        sa.Column("writes_min", Bytewise, nullable=False),
        sa.PrimaryKeyConstraint("writes_min", name="pk_compatibility"),
    )
    op.bulk_insert(made, [{"writes_min": revision}])
    op.add_column("nodes", sa.Column("schema", Bytewise, nullable=True))
