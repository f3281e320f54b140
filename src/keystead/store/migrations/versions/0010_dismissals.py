"""Unclaimed objects that an administrator has dismissed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("unclaimed_objects", sa.Column("dismissed", sa.DateTime(timezone=True), nullable=True))
    op.add_column("unclaimed_objects", sa.Column("dismissed_by", Bytewise, nullable=True))
    op.add_column("unclaimed_objects", sa.Column("dismissed_digest", sa.LargeBinary, nullable=True))
