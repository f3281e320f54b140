"""Of what was aborted before 0005 nobody knows whether it was for its time alone: servers are asked about all of it."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("UPDATE key_attempts SET expired = 1 WHERE state = 'aborted'")
