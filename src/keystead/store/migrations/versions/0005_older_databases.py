"""What keeps a database that lacks its last seconds, or has a wrong clock, from destroying what is in use.

Fences that are due, attempts that were aborted for their time alone, clocks that were doubted, keys whose undo has ended
though their end cannot begin.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_FLAGS = (("fences", "due"), ("key_attempts", "expired"), ("nodes", "clock_doubted"), ("keys", "overdue"))


def upgrade() -> None:
    for table, flag in _FLAGS:
        op.add_column(table, sa.Column(flag, sa.Integer(), nullable=False, server_default=sa.text("'0'")))
