"""What those who log in are to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "login_messages",
        sa.Column("owner", Bytewise, nullable=False),
        sa.Column("svm_uuid", Bytewise, nullable=True),
        sa.Column("banner", Bytewise, nullable=False),
        sa.Column("message", Bytewise, nullable=False),
        sa.Column("show_cluster_message", sa.Integer, autoincrement=False, nullable=False),
        sa.CheckConstraint("owner = coalesce(svm_uuid, '')", name="owner"),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_login_messages_svm_uuid", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner", name="pk_login_messages"),
    )
    op.create_index("ix_login_messages_svm_uuid", "login_messages", ["svm_uuid"])
