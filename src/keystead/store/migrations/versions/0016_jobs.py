"""The arguments of a job's error, and how far a resumable job is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("arguments", Bytewise, nullable=False, server_default="[]"))
    for name in ("kind", "parameters", "origin", "cursor", "requested"):
        op.add_column("jobs", sa.Column(name, Bytewise, nullable=False, server_default=sa.text("''")))
    for name in ("done", "total"):
        op.add_column("jobs", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
