"""Applications, their accounts, and the objects that they keep over KMIP."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from keystead.store.tables import Bytewise, UtcTimestamp

revision = "0033"
down_revision = "0032"


def _key(name: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [to], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "applications",
        sa.Column("uuid", Bytewise, nullable=False),
        sa.Column("svm_uuid", Bytewise, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("created", UtcTimestamp, nullable=False),
        _key("fk_applications_svm_uuid", "svm_uuid", "svms.uuid"),
        sa.PrimaryKeyConstraint("uuid", name="pk_applications"),
        sa.UniqueConstraint("svm_uuid", "name", name="uq_applications_svm_uuid_name"),
    )
    op.create_table(
        "application_accounts",
        sa.Column("account", Bytewise, nullable=False),
        sa.Column("application", Bytewise, nullable=False),
        _key("fk_application_accounts_account", "account", "accounts.name"),
        _key("fk_application_accounts_application", "application", "applications.uuid"),
        sa.PrimaryKeyConstraint("account", name="pk_application_accounts"),
    )
    op.create_index("ix_application_accounts_application", "application_accounts", ["application"])
    op.create_table(
        "application_objects",
        sa.Column("key", Bytewise, nullable=False),
        sa.Column("application", Bytewise, nullable=False),
        sa.Column("created", UtcTimestamp, nullable=False),
        sa.Column("object_type", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("state", Bytewise, nullable=False),
        sa.Column("content", Bytewise, nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        _key("fk_application_objects_key", "key", "keys.uuid"),
        _key("fk_application_objects_application", "application", "applications.uuid"),
        sa.PrimaryKeyConstraint("key", name="pk_application_objects"),
    )
    op.create_index(
        "ix_application_objects_application_created_key", "application_objects", ["application", "created", "key"]
    )
    op.create_table(
        "application_object_names",
        sa.Column("key", Bytewise, nullable=False),
        sa.Column("name", Bytewise, nullable=False),
        sa.Column("application", Bytewise, nullable=False),
        _key("fk_application_object_names_key", "key", "application_objects.key"),
        sa.PrimaryKeyConstraint("key", "name", name="pk_application_object_names"),
    )
    op.create_index("ix_application_object_names_application_name", "application_object_names", ["application", "name"])
