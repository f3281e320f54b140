"""What is announced of key servers for the whole cluster. At first that is what any node says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.create_table(
        "announced_states",
        sa.Column("key_server", Bytewise, nullable=False),
        sa.Column("host", Bytewise, nullable=False),
        sa.Column("reason", Bytewise, nullable=False),
        sa.Column("keys_hidden", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["key_server"], ["key_servers.uuid"], name="fk_announced_states_key_server", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_server", "host", name="pk_announced_states"),
    )
    op.execute(
        "INSERT INTO announced_states (key_server, host, reason, keys_hidden)"
        " SELECT key_server, host, max(CASE WHEN state = 'not_responding' THEN reason ELSE '' END),"
        " max(CASE WHEN keys_visible = 0 THEN 1 ELSE 0 END) FROM observations"
        " WHERE state = 'not_responding' OR keys_visible = 0 GROUP BY key_server, host"
    )
