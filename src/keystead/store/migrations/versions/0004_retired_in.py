"""In which incarnation of the database a key was retired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_IN_THE_ONLY_ONE = """
    UPDATE keys SET retired_in = (SELECT uuid FROM incarnations)
    WHERE state = 'retired' AND (SELECT count(*) FROM incarnations) = 1
"""
"""Where there were others, only times tell, of clocks that may differ: such keys are not purged before they are retired
again.
"""


def upgrade() -> None:
    by_bytes = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("keys", sa.Column("retired_in", by_bytes, nullable=False, server_default=sa.text("''")))
    op.execute(_IN_THE_ONLY_ONE)
