"""Keys: the catalogue, attempts, copies, profiles of key servers, receipts, incarnations, leases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **options)


def _integer(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, autoincrement=False, nullable=False, **options)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def upgrade() -> None:
    op.add_column("nodes", _integer("epoch", server_default="0"))
    op.add_column("key_managers", _integer("min_copies", server_default="0"))
    op.add_column("key_servers", _text("replication_domain", server_default=sa.text("''")))
    op.create_table(
        "keys",
        _text("uuid"),
        _text("key_id"),
        _text("key_manager"),
        _text("owner"),
        sa.Column("svm_uuid", sa.Text, nullable=True),
        _text("name"),
        _text("key_tag"),
        _text("key_type"),
        _text("state"),
        _integer("length"),
        _time("created"),
        _bytes("digest"),
        _integer("version"),
        _time("committed", nullable=True),
        _time("retired", nullable=True),
        _time("purge_after", nullable=True),
        sa.CheckConstraint("owner = coalesce(svm_uuid, '')", name=op.f("ck_keys_owner")),
        sa.ForeignKeyConstraint(["key_manager"], ["key_managers.uuid"], name="fk_keys_key_manager"),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_keys_svm_uuid"),
        sa.PrimaryKeyConstraint("uuid", name="pk_keys"),
        sa.UniqueConstraint("key_id", name="uq_keys_key_id"),
    )
    op.create_index("ix_keys_key_manager", "keys", ["key_manager"])
    op.create_index("ix_keys_svm_uuid", "keys", ["svm_uuid"])
    held = sa.text("state IN ('pending', 'committed', 'retired')")
    op.create_index(
        "uq_keys_held_name", "keys", ["key_manager", "name"], unique=True, sqlite_where=held, postgresql_where=held
    )
    op.create_table(
        "key_attempts",
        _text("key"),
        _integer("number"),
        _text("purpose"),
        _text("incarnation"),
        _text("token"),
        _text("node"),
        _text("state"),
        _time("began"),
        _time("expires"),
        _text("adopted"),
        sa.ForeignKeyConstraint(["key"], ["keys.uuid"], name="fk_key_attempts_key", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("key", "number", name="pk_key_attempts"),
    )
    adopted = sa.text("adopted != ''")
    op.create_index(
        "ix_key_attempts_adopted", "key_attempts", ["adopted"], sqlite_where=adopted, postgresql_where=adopted
    )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_key_attempts_pending", "key_attempts", ["expires"], sqlite_where=pending, postgresql_where=pending
    )
    op.create_table(
        "key_copies",
        _text("key"),
        _integer("attempt"),
        _text("key_server"),
        _text("host"),
        _text("presence"),
        _text("unique_identifiers"),
        _text("object_state"),
        _text("descriptor"),
        _time("written", nullable=True),
        _time("proven", nullable=True),
        sa.ForeignKeyConstraint(
            ["key", "attempt"],
            ["key_attempts.key", "key_attempts.number"],
            name="fk_key_copies_key",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key", "attempt", "key_server", "host", name="pk_key_copies"),
    )
    op.create_index("ix_key_copies_key_server_key", "key_copies", ["key_server", "key"])
    op.create_table(
        "server_profiles",
        _text("key_server"),
        _text("form"),
        _text("canary_name"),
        _text("canary"),
        _bytes("canary_digest"),
        _time("learned"),
        _text("sees"),
        _text("operations"),
        _text("object_types"),
        _text("version"),
        _text("vendor"),
        _integer("application_information"),
        _integer("locate_by_name"),
        _integer("locate_offset"),
        _integer("batches"),
        _integer("activates"),
        sa.PrimaryKeyConstraint("key_server", name="pk_server_profiles"),
    )
    op.create_table(
        "fences",
        _text("key_server"),
        _text("incarnation"),
        _integer("number"),
        _bytes("token"),
        _text("state"),
        _text("unique_identifiers"),
        _text("behind"),
        sa.PrimaryKeyConstraint("key_server", name="pk_fences"),
    )
    op.create_table(
        "digest_keys",
        _text("key_manager"),
        _bytes("sealed"),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_digest_keys_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_manager", name="pk_digest_keys"),
    )
    op.create_table(
        "incarnations",
        _integer("number"),
        _text("uuid"),
        _time("began"),
        _text("reason"),
        _text("storage"),
        _integer("destroys"),
        sa.PrimaryKeyConstraint("number", name="pk_incarnations"),
    )
    op.create_table(
        "key_receipts",
        _text("key"),
        _integer("attempt"),
        _text("key_server"),
        _text("host"),
        _text("unique_identifier"),
        _text("action"),
        _time("time"),
        _text("incarnation"),
        _text("node"),
        sa.PrimaryKeyConstraint(
            "key", "attempt", "key_server", "host", "unique_identifier", "action", name="pk_key_receipts"
        ),
    )
    op.create_table(
        "unclaimed_objects",
        _text("key_manager"),
        _text("key_server"),
        _text("unique_identifier"),
        _text("name"),
        _time("found"),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_unclaimed_objects_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_manager", "key_server", "unique_identifier", name="pk_unclaimed_objects"),
    )
    op.create_table(
        "detached_key_servers",
        _text("uuid"),
        _text("key_manager"),
        _integer("position"),
        _text("host"),
        _integer("port"),
        _integer("timeout"),
        _integer("create_remove_timeout"),
        _text("username"),
        _bytes("sealed_password", nullable=True),
        _text("tls_server_name"),
        _text("replication_domain"),
        _text("secondaries"),
        _time("detached"),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_detached_key_servers_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("uuid", name="pk_detached_key_servers"),
    )
    op.create_index("ix_detached_key_servers_key_manager", "detached_key_servers", ["key_manager"])
    op.create_table(
        "leases",
        _text("name"),
        _text("holder"),
        sa.Column("token", sa.BigInteger, autoincrement=False, nullable=False),
        _time("expires"),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "cluster_keys",
        _text("name"),
        _text("public"),
        _bytes("sealed"),
        sa.PrimaryKeyConstraint("name", name="pk_cluster_keys"),
    )
    op.create_table(
        "key_reports",
        _text("uuid"),
        _text("key_manager"),
        _text("kind"),
        _time("time"),
        _integer("keys"),
        _integer("unreadable"),
        _integer("failed"),
        _text("document"),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_key_reports_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("uuid", name="pk_key_reports"),
    )
    op.create_index("ix_key_reports_key_manager", "key_reports", ["key_manager"])
    _begin()
    _compare_text_by_bytes()


def _begin() -> None:
    """Begin the first incarnation of this database; where it stands is noted when a node first serves it."""
    incarnations = sa.table(
        "incarnations",
        *(sa.column(name) for name in ("number", "uuid", "reason", "storage", "destroys")),
        sa.column("began", sa.DateTime(timezone=True)),
    )
    now = datetime.now(UTC)
    if op.get_bind().dialect.name == "sqlite":
        now = now.replace(tzinfo=None)
    row = {"number": 1, "uuid": str(uuid4()), "began": now, "reason": "created", "storage": "", "destroys": 1}
    op.bulk_insert(incarnations, [row])


def _compare_text_by_bytes() -> None:
    """Give the new columns of text the order that SQLite has. Stands last: it looks at what there is."""
    if op.get_bind().dialect.name != "postgresql":
        return
    inspector = sa.inspect(op.get_bind())
    for table in inspector.get_table_names():
        for column in inspector.get_columns(table):
            if type(column["type"]) is sa.TEXT and column["type"].collation is None:
                op.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column["name"]}" TYPE TEXT COLLATE "C"')
