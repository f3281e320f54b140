"""The tables of key managers, key servers, certificates, SVMs, accounts, sealing and audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ENABLED = sa.text("enabled = 1")
OWNER = "owner = coalesce(svm_uuid, '')"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, autoincrement=False, nullable=False)


def upgrade() -> None:
    op.create_table(
        "accounts",
        _text("name"),
        _text("role"),
        _text("password_hash"),
        _integer("version"),
        sa.PrimaryKeyConstraint("name", name="pk_accounts"),
    )
    op.create_table(
        "audit_heads",
        _text("node"),
        sa.Column("index", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("head_mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_audit_heads"),
    )
    op.create_table(
        "audit_records",
        _text("node"),
        sa.Column("index", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        _text("account"),
        _text("location"),
        _text("svm"),
        _text("method"),
        _text("path"),
        _text("input"),
        _text("state"),
        _text("code"),
        _text("message"),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("node", "index", name="pk_audit_records"),
    )
    op.create_table(
        "cluster",
        _integer("id"),
        _text("uuid"),
        _text("name"),
        _integer("metrocluster"),
        sa.CheckConstraint("id = 1", name=op.f("ck_cluster_one")),
        sa.PrimaryKeyConstraint("id", name="pk_cluster"),
    )
    op.create_table(
        "data_keys",
        _integer("id"),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("root_key_check", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_data_keys"),
    )
    op.create_table(
        "nodes",
        _text("uuid"),
        _text("name"),
        _integer("generation"),
        _integer("major"),
        _integer("minor"),
        sa.PrimaryKeyConstraint("uuid", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
    )
    op.create_table(
        "svms",
        _text("uuid"),
        _text("name"),
        sa.PrimaryKeyConstraint("uuid", name="pk_svms"),
        sa.UniqueConstraint("name", name="uq_svms_name"),
    )
    op.create_table(
        "certificates",
        _text("uuid"),
        _text("owner"),
        sa.Column("svm_uuid", sa.Text, nullable=True),
        _text("name"),
        _text("type"),
        _text("common_name"),
        _text("public_certificate"),
        _text("ca"),
        _text("serial_number"),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expiry_time", sa.DateTime(timezone=True), nullable=False),
        _integer("key_size"),
        _text("hash_function"),
        _text("authority_key_identifier"),
        _text("subject_key_identifier"),
        sa.Column("sealed_private_key", sa.LargeBinary, nullable=True),
        sa.CheckConstraint(OWNER, name=op.f("ck_certificates_owner")),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_certificates_svm_uuid"),
        sa.PrimaryKeyConstraint("uuid", name="pk_certificates"),
        sa.UniqueConstraint("owner", "name", name="uq_certificates_owner_name"),
    )
    op.create_index("ix_certificates_svm_uuid", "certificates", ["svm_uuid"])
    op.create_table(
        "key_managers",
        _text("uuid"),
        _text("owner"),
        sa.Column("svm_uuid", sa.Text, nullable=True),
        _integer("enabled"),
        _text("client_certificate"),
        sa.CheckConstraint(OWNER, name=op.f("ck_key_managers_owner")),
        sa.ForeignKeyConstraint(["svm_uuid"], ["svms.uuid"], name="fk_key_managers_svm_uuid"),
        sa.PrimaryKeyConstraint("uuid", name="pk_key_managers"),
    )
    op.create_index("ix_key_managers_client_certificate", "key_managers", ["client_certificate"])
    op.create_index("ix_key_managers_svm_uuid", "key_managers", ["svm_uuid"])
    op.create_index(
        "uq_key_managers_enabled_owner",
        "key_managers",
        ["owner"],
        unique=True,
        sqlite_where=ENABLED,
        postgresql_where=ENABLED,
    )
    op.create_table(
        "certificate_intermediates",
        _text("certificate"),
        _integer("position"),
        _text("public_certificate"),
        sa.ForeignKeyConstraint(
            ["certificate"], ["certificates.uuid"], name="fk_certificate_intermediates_certificate", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("certificate", "position", name="pk_certificate_intermediates"),
    )
    op.create_table(
        "key_manager_server_cas",
        _text("key_manager"),
        _integer("position"),
        _text("certificate"),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_key_manager_server_cas_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_manager", "position", name="pk_key_manager_server_cas"),
    )
    op.create_index("ix_key_manager_server_cas_certificate", "key_manager_server_cas", ["certificate"])
    op.create_table(
        "key_servers",
        _text("uuid"),
        _text("key_manager"),
        _integer("position"),
        _text("host"),
        _integer("port"),
        _text("address_key"),
        _integer("timeout"),
        _integer("create_remove_timeout"),
        _text("username"),
        sa.Column("sealed_password", sa.LargeBinary, nullable=True),
        sa.ForeignKeyConstraint(
            ["key_manager"], ["key_managers.uuid"], name="fk_key_servers_key_manager", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("uuid", name="pk_key_servers"),
        sa.UniqueConstraint("key_manager", "address_key", name="uq_key_servers_key_manager_address_key"),
        sa.UniqueConstraint("key_manager", "position", name="uq_key_servers_key_manager_position"),
    )
    op.create_table(
        "secondary_key_servers",
        _text("key_server"),
        _integer("position"),
        _text("host"),
        sa.ForeignKeyConstraint(
            ["key_server"], ["key_servers.uuid"], name="fk_secondary_key_servers_key_server", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_server", "position", name="pk_secondary_key_servers"),
    )
