"""The roles that administrators made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("owner", Bytewise, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("svm_uuid", Bytewise, nullable=True),
        sa.Column("privileges", Bytewise, nullable=False),
        sa.CheckConstraint("owner = coalesce(svm_uuid, '')", name="owner"),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_roles_svm_uuid", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", "name", name="pk_roles"),
    )
    op.create_index("ix_roles_svm_uuid", "roles", ["svm_uuid"])
