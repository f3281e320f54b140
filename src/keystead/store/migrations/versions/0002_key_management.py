"""Columns and tables of changes to key managers and key servers, SVM accounts, jobs, observations and events."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **options)


def _integer(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, autoincrement=False, nullable=False, **options)


def upgrade() -> None:
    op.add_column("key_managers", _text("policy", server_default=sa.text("''")))
    op.add_column("key_managers", _text("configuration_name", server_default="default"))
    op.add_column("key_servers", _text("tls_server_name", server_default=sa.text("''")))
    with op.batch_alter_table("accounts") as accounts:
        accounts.add_column(sa.Column("svm_uuid", sa.Text, nullable=True))
        accounts.create_foreign_key("fk_accounts_svm_uuid", "svms", ["svm_uuid"], ["uuid"])
    op.add_column("accounts", _integer("certificate", server_default="0"))
    op.add_column("accounts", _integer("locked", server_default="0"))
    op.add_column("accounts", _text("comment", server_default=sa.text("''")))
    op.create_index("ix_accounts_svm_uuid", "accounts", ["svm_uuid"])
    op.add_column("audit_records", _text("role", server_default=sa.text("''")))
    op.add_column("audit_records", _text("svm_uuid", server_default=sa.text("''")))
    op.create_index("ix_audit_records_svm_uuid", "audit_records", ["svm_uuid"])
    op.add_column("audit_records", _text("key", server_default=sa.text("''")))
    _place_audit_records()
    op.create_index("uq_audit_records_key", "audit_records", ["key"], unique=True)
    op.add_column("nodes", sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("audit_heads", _integer("configuration", server_default="0"))
    op.create_table("options", _text("name"), _text("value"), sa.PrimaryKeyConstraint("name", name="pk_options"))
    op.create_table(
        "jobs",
        _text("uuid"),
        _text("node"),
        sa.Column("svm_uuid", sa.Text, nullable=True),
        _text("account"),
        _text("description"),
        _text("state"),
        _text("message"),
        _integer("code"),
        _text("target"),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        _text("results"),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_jobs_svm_uuid", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("uuid", name="pk_jobs"),
    )
    op.create_index("ix_jobs_node", "jobs", ["node"])
    op.create_index("ix_jobs_svm_uuid", "jobs", ["svm_uuid"])
    op.create_index("ix_jobs_start_time", "jobs", ["start_time"])
    op.create_table(
        "observations",
        _text("node"),
        _text("key_server"),
        _text("host"),
        _text("state"),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        _text("stage"),
        _text("reason"),
        _text("certificates"),
        sa.ForeignKeyConstraint(
            ["key_server"], ["key_servers.uuid"], name="fk_observations_key_server", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("node", "key_server", "host", name="pk_observations"),
    )
    op.create_index("ix_observations_key_server", "observations", ["key_server"])
    op.create_table(
        "events",
        _text("node"),
        sa.Column("index", sa.BigInteger, autoincrement=False, nullable=False),
        _text("key"),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        _text("name"),
        _text("severity"),
        sa.Column("svm_uuid", sa.Text, nullable=True),
        _text("parameters"),
        _text("log_message"),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_events_svm_uuid", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("node", "index", name="pk_events"),
        sa.UniqueConstraint("key", name="uq_events_key"),
    )
    op.create_index("ix_events_time", "events", ["time"])
    op.create_index("ix_events_svm_uuid", "events", ["svm_uuid"])
    for column in ("name", "common_name", "expiry_time"):
        op.create_index(f"ix_certificates_{column}_uuid", "certificates", [column, "uuid"])
    _compare_text_by_bytes()


def _place_audit_records() -> None:
    """Give the records that there are their order in lists, which is that of new ones."""
    records = sa.table(
        "audit_records",
        *(sa.column("node"), sa.column("index"), sa.column("timestamp", sa.DateTime(timezone=True)), sa.column("key")),
    )
    connection = op.get_bind()
    for node, index, timestamp, _ in connection.execute(sa.select(records)).all():
        utc = timestamp if timestamp.tzinfo is None else timestamp.astimezone(UTC)
        key = f"{utc:%Y-%m-%dT%H:%M:%S.%f} {node} {index:020}"
        connection.execute(sa.update(records).where(records.c.node == node, records.c.index == index).values(key=key))


def _compare_text_by_bytes() -> None:
    """Give every column of text the order that SQLite has. Stands last: it looks at what there is."""
    if op.get_bind().dialect.name != "postgresql":
        return
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        for column in inspector.get_columns(table):
            if type(column["type"]) is sa.TEXT:
                op.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column["name"]}" TYPE TEXT COLLATE "C"')
