"""Indexes for lists of audit records: of an SVM, of an account, of refusals, each by time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.drop_index("ix_audit_records_svm_uuid", "audit_records")
    op.create_index("ix_audit_records_svm_uuid_key", "audit_records", ["svm_uuid", "key"])
    op.create_index("ix_audit_records_account_key", "audit_records", ["account", "key"])
    errors = sa.text("state = 'error'")
    for name, columns in {
        "ix_audit_records_errors": ["key"],
        "ix_audit_records_errors_of_svm": ["svm_uuid", "key"],
        "ix_audit_records_errors_of_account": ["account", "key"],
    }.items():
        op.create_index(name, "audit_records", columns, sqlite_where=errors, postgresql_where=errors)
