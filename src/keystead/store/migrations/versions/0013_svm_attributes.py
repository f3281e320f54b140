"""What requests stated about an SVM's storage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "svm_attributes",
        sa.Column("svm_uuid", Bytewise, sa.ForeignKey("svms.uuid", ondelete="CASCADE"), primary_key=True),
        sa.Column("stated", Bytewise, nullable=False),
    )
