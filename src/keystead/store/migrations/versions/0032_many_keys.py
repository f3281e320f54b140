"""Indexes for key managers with many keys: lists and walks in their order, and the rows that the keeper looks at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"

_PARTIAL = {
    "ix_keys_not_committed": ("keys", ["key_manager", "state", "uuid"], "state != 'committed'"),
    "ix_key_attempts_aborted": ("key_attempts", ["key", "number"], "state = 'aborted'"),
    "ix_key_copies_unsettled": ("key_copies", ["key_server", "key"], "presence IN ('sent', 'unknown')"),
    "ix_key_copies_inactive": (
        "key_copies",
        ["key_server", "key"],
        "presence = 'present' AND object_state IN ('', 'Pre-Active')",
    ),
    "ix_key_copies_undescribed": ("key_copies", ["key_server", "key"], "presence = 'present' AND descriptor = ''"),
    "ix_key_copies_present": ("key_copies", ["key_server", "key"], "presence = 'present'"),
}


def upgrade() -> None:
    for columns in (["uuid", "state"], ["key_id"], ["name", "key_id"], ["created", "key_id"]):
        op.create_index(f"ix_keys_key_manager_{'_'.join(columns)}", "keys", ["key_manager", *columns])
    op.drop_index("ix_keys_key_manager", "keys")
    for name, (table, columns, condition) in _PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
