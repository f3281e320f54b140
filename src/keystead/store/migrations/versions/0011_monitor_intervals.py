"""How often the key servers of a key manager are checked, if not as often as the setting of each node says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("key_managers", sa.Column("monitor_interval", sa.Integer, nullable=False, server_default="0"))
