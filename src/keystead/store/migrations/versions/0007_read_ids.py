"""The ids of reads of key material in a column of their own, so that they are found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_HEX = "[0-9a-f]"
_IS_A_READ = {
    "sqlite": f"message GLOB 'retrieval of key *, read {16 * _HEX}'",
    "postgresql": f"message ~ '^retrieval of key .*, read {_HEX}{{16}}$'",
}
"""The condition for the message of a successful read. Messages are one line."""


def upgrade() -> None:
    by_bytes = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("audit_records", sa.Column("read_id", by_bytes, nullable=True))
    op.execute(
        "UPDATE audit_records SET read_id = substr(message, length(message) - 15)"
        f" WHERE state = 'success' AND {_IS_A_READ[op.get_bind().dialect.name]}"
    )
    has_one = sa.text("read_id IS NOT NULL")
    op.create_index(
        "ix_audit_records_node_read_id",
        "audit_records",
        ["node", "read_id"],
        sqlite_where=has_one,
        postgresql_where=has_one,
    )
