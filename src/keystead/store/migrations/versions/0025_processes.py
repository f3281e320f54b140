"""The token of the process that serves as each node: an earlier one may not write any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("nodes", sa.Column("process", Bytewise, nullable=True))
