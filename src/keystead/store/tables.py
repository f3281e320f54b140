"""The schema. It only declares tables; kinds.py and the modules of rows (keys.py, ...) turn rows into values.

Types are portable: text, integer (booleans are 0 and 1), bytes and UTC timestamps. A change here needs a migration. A
test compares this module with the result of the migrations, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    text,
)
from sqlalchemy.ext.compiler import compiles

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import DDLCompiler
    from sqlalchemy.sql.schema import SchemaItem

HEAD = "0033"
"""The newest revision in migrations/versions. It is kept here so that a normal start does not import Alembic."""

WRITES_MIN = "0024"
"""The oldest schema whose releases may write to a database with this release's. `db upgrade` stores it."""

CLUSTER = ""
"""The ``owner`` of rows of the cluster. Unlike null, it can be compared, so it can be part of a unique index."""


LITERAL = "literal"
"""Marks a column whose few values stand in statements as they are, so that a partial index for one of them is used."""


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores it as naive text, PostgreSQL as ``timestamptz``."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Raise ValueError for a naive time, because it would be read as local time of the machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time must be aware")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, whatever the session's time zone is."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


class Bytewise(Text):
    """Text that is compared and ordered by its bytes, on both engines, whatever the database's locale is."""


@compiles(Bytewise, "postgresql")
def _compile_bytewise(_type: Bytewise, _compiler: DDLCompiler, **_options: Any) -> str:
    return 'TEXT COLLATE "C"'


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _text(name: str, *items: SchemaItem, **options: Any) -> Column[str]:
    return Column(name, Bytewise, *items, nullable=False, **options)


def _integer(name: str, **options: Any) -> Column[int]:
    return Column(name, Integer, nullable=False, autoincrement=False, **options)


def _owned() -> tuple[Column[str], Column[str | None], CheckConstraint]:
    """Return the columns that say who owns a row: the cluster or an SVM."""
    return (
        _text("owner"),
        Column("svm_uuid", Bytewise, ForeignKey("svms.uuid"), nullable=True, index=True),
        CheckConstraint("owner = coalesce(svm_uuid, '')", name="owner"),
    )


# One row only, so that two nodes that initialise one database at the same time do not make two clusters.
cluster = Table(
    "cluster",
    metadata,
    _integer("id", primary_key=True),
    _text("uuid"),
    _text("name"),
    _integer("metrocluster"),
    CheckConstraint("id = 1", name="one"),
)

nodes = Table(
    "nodes",
    metadata,
    _text("uuid", primary_key=True),
    _text("name", unique=True),
    _integer("generation"),
    _integer("major"),
    _integer("minor"),
    Column("heard_at", UtcTimestamp, nullable=True),
    _integer("epoch", server_default="0"),
    _integer("clock_doubted", server_default="0"),
    _integer("starting", server_default="0"),
    # The schema of the node's release, null for releases before 0021.
    Column("schema", Bytewise, nullable=True),
    Column("reported", UtcTimestamp, nullable=True),
    _integer("has_left", server_default="0"),
    Column("process", Bytewise, nullable=True),
    _text("keystead_release", server_default=text("''")),
    _text("place", server_default=text("''")),
    _text("stop_token", server_default=text("''")),
    # How other nodes reach the process. The public key is empty until it has told.
    _text("address", server_default=text("''")),
    _text("certificate", server_default=text("''")),
    _text("public_key", server_default=text("''")),
    _text("proxies", server_default=text("''")),
    Column("reads_until", UtcTimestamp, nullable=True),
)

# One row. A release whose own schema is older may not write: see compatibility.py.
compatibility = Table("compatibility", metadata, _text("writes_min", primary_key=True))

svms = Table(
    "svms",
    metadata,
    _text("uuid", primary_key=True),
    _text("name", unique=True),
)

# What requests stated about an SVM's storage, as a JSON object. Nothing here acts on it.
svm_attributes = Table(
    "svm_attributes",
    metadata,
    _text("svm_uuid", ForeignKey("svms.uuid", ondelete="CASCADE"), primary_key=True),
    _text("stated"),
)

certificates = Table(
    "certificates",
    metadata,
    _text("uuid", primary_key=True),
    *_owned(),
    _text("name"),
    _text("type"),
    _text("common_name"),
    _text("public_certificate"),
    _text("ca"),
    _text("serial_number"),
    Column("not_before", UtcTimestamp, nullable=False),
    Column("expiry_time", UtcTimestamp, nullable=False),
    _integer("key_size"),
    _text("hash_function"),
    _text("authority_key_identifier"),
    _text("subject_key_identifier"),
    Column("sealed_private_key", LargeBinary, nullable=True),
    UniqueConstraint("owner", "name"),
    *(Index(None, column, "uuid") for column in ("name", "common_name", "expiry_time")),
)

certificate_intermediates = Table(
    "certificate_intermediates",
    metadata,
    _text("certificate", ForeignKey("certificates.uuid", ondelete="CASCADE"), primary_key=True),
    _integer("position", primary_key=True),
    _text("public_certificate"),
)

# No index on columns with few values, such as `enabled`: SQLite would use it instead of the list's order, and sort all
# rows. No foreign key to certificates, because a key manager may name a deleted certificate (code 65536821).
key_managers = Table(
    "key_managers",
    metadata,
    _text("uuid", primary_key=True),
    *_owned(),
    _integer("enabled"),
    _text("client_certificate", index=True),
    _text("policy", server_default=text("''")),
    _text("configuration_name", server_default="default"),
    _integer("min_copies", server_default="0"),
    _integer("monitor_interval", server_default="0"),
)

Index(
    "uq_key_managers_enabled_owner",
    key_managers.c.owner,
    unique=True,
    sqlite_where=key_managers.c.enabled == 1,
    postgresql_where=key_managers.c.enabled == 1,
)

key_manager_server_cas = Table(
    "key_manager_server_cas",
    metadata,
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE"), primary_key=True),
    _integer("position", primary_key=True),
    _text("certificate", index=True),
)

key_servers = Table(
    "key_servers",
    metadata,
    _text("uuid", primary_key=True),
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE")),
    _integer("position"),
    _text("host"),
    _integer("port"),
    _text("address_key"),
    _integer("timeout"),
    _integer("create_remove_timeout"),
    _text("username"),
    Column("sealed_password", LargeBinary, nullable=True),
    _text("tls_server_name", server_default=text("''")),
    _text("replication_domain", server_default=text("''")),
    UniqueConstraint("key_manager", "address_key"),
    UniqueConstraint("key_manager", "position"),
)

secondary_key_servers = Table(
    "secondary_key_servers",
    metadata,
    _text("key_server", ForeignKey("key_servers.uuid", ondelete="CASCADE"), primary_key=True),
    _integer("position", primary_key=True),
    _text("host"),
)

accounts = Table(
    "accounts",
    metadata,
    _text("name", primary_key=True),
    _text("role"),
    _text("password_hash"),
    _integer("version"),
    Column("svm_uuid", Bytewise, ForeignKey("svms.uuid"), nullable=True, index=True),
    _integer("certificate", server_default="0"),
    _integer("locked", server_default="0"),
    _text("comment", server_default=text("''")),
    _integer("has_read_keys", server_default="0"),
)

# The roles that administrators made. The privileges are a JSON object of paths with access, in the order of the paths.
roles = Table(
    "roles",
    metadata,
    _text("owner", primary_key=True),
    _text("name", primary_key=True),
    Column("svm_uuid", Bytewise, ForeignKey("svms.uuid", ondelete="CASCADE"), nullable=True, index=True),
    _text("privileges"),
    CheckConstraint("owner = coalesce(svm_uuid, '')", name="owner"),
)

# What those who log in are to be told. An owner without a row has the defaults of keystead.core.model.LoginMessages.
login_messages = Table(
    "login_messages",
    metadata,
    _text("owner", primary_key=True),
    Column("svm_uuid", Bytewise, ForeignKey("svms.uuid", ondelete="CASCADE"), nullable=True, index=True),
    _text("banner"),
    _text("message"),
    _integer("show_cluster_message"),
    CheckConstraint("owner = coalesce(svm_uuid, '')", name="owner"),
)

# Logins to the console. The digest is that of a random token, which only the browser holds.
sessions = Table(
    "sessions",
    metadata,
    _text("digest", primary_key=True),
    _text("account", ForeignKey("accounts.name", ondelete="CASCADE"), index=True),
    _integer("account_version"),
    _text("authority"),
    _text("location"),
    Column("began", UtcTimestamp, nullable=False),
    Column("used", UtcTimestamp, nullable=False),
    Column("confirmed", UtcTimestamp, nullable=True),
)

# Name and value of options that differ from the defaults in keystead.core.model.Options.
options = Table("options", metadata, _text("name", primary_key=True), _text("value"))

# `arguments` is a JSON array of pairs: those of the error with which the job failed. From `kind` on: how far a
# resumable job is; `kind` is empty for all others.
jobs = Table(
    "jobs",
    metadata,
    _text("uuid", primary_key=True),
    _text("node", index=True),
    Column("svm_uuid", Bytewise, ForeignKey("svms.uuid", ondelete="SET NULL"), nullable=True, index=True),
    _text("account"),
    _text("description"),
    _text("state"),
    _text("message"),
    _integer("code"),
    _text("target"),
    Column("start_time", UtcTimestamp, nullable=False, index=True),
    Column("end_time", UtcTimestamp, nullable=True),
    _text("results"),
    _text("arguments", server_default="[]"),
    _text("kind", server_default=text("''")),
    _text("parameters", server_default=text("''")),
    _text("origin", server_default=text("''")),
    _text("cursor", server_default=text("''")),
    _integer("done", server_default="0"),
    _integer("total", server_default="0"),
    _text("requested", server_default=text("''")),
)

# `certificates` is a JSON array: the leaf and the chain that were seen last.
observations = Table(
    "observations",
    metadata,
    _text("node", primary_key=True),
    _text("key_server", ForeignKey("key_servers.uuid", ondelete="CASCADE"), primary_key=True, index=True),
    _text("host", primary_key=True),
    _text("state"),
    Column("since", UtcTimestamp, nullable=False),
    _text("stage"),
    _text("reason"),
    _text("certificates"),
    Column("last_available", UtcTimestamp, nullable=True),
    Column("latency_ms", Integer, nullable=True),
    Column("keys_visible", Integer, nullable=True),
    Column("hidden_since", UtcTimestamp, nullable=True),
)

# What was announced of an address, and is not over: one that is available and shows its keys has no row.
announced_states = Table(
    "announced_states",
    metadata,
    _text("key_server", ForeignKey("key_servers.uuid", ondelete="CASCADE"), primary_key=True),
    _text("host", primary_key=True),
    _text("reason"),
    _integer("keys_hidden"),
)

# `parameters` is a JSON array of [name, value]. The newest events of each node are kept. Lists are ordered by `key`.
events = Table(
    "events",
    metadata,
    _text("node", primary_key=True),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    _text("key", unique=True),
    Column("time", UtcTimestamp, nullable=False, index=True),
    _text("name"),
    _text("severity"),
    Column("svm_uuid", Bytewise, ForeignKey("svms.uuid", ondelete="SET NULL"), nullable=True, index=True),
    _text("parameters"),
    _text("log_message"),
)

# Where audit records and events are forwarded to. `settings` is a JSON object, and `progress`: how far each has got.
destinations = Table(
    "destinations",
    metadata,
    _text("log", primary_key=True),
    _text("name", primary_key=True),
    _text("settings"),
    _text("progress"),
)

# `rules` is a JSON array, in order.
event_filters = Table("event_filters", metadata, _text("name", primary_key=True), _text("rules"))

data_keys = Table(
    "data_keys",
    metadata,
    _integer("id", primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("root_key_check", LargeBinary, nullable=False),
)

# No foreign key to nodes or SVMs, because the chain outlives them. Lists are ordered by `key`. `read_id` is a copy for
# searching: the message, which the MAC covers, has it too, and `audit verify` compares both.
audit_records = Table(
    "audit_records",
    metadata,
    _text("node", primary_key=True),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("timestamp", UtcTimestamp, nullable=False),
    _text("account"),
    _text("location"),
    _text("svm"),
    _text("method"),
    _text("path"),
    _text("input"),
    _text("state", info={LITERAL: True}),
    _text("code"),
    _text("message"),
    Column("mac", LargeBinary, nullable=False),
    _text("role", server_default=text("''")),
    _text("svm_uuid", server_default=text("''")),
    _text("key", server_default=text("''")),
    Column("read_id", Bytewise, nullable=True),
    Index("uq_audit_records_key", "key", unique=True),
    Index(None, "svm_uuid", "key"),
    Index(None, "account", "key"),
)

# Refusals are few, and few outcomes are looked for besides. An index for all records would cost each of them.
for _name, _columns in {
    "ix_audit_records_errors": ("key",),
    "ix_audit_records_errors_of_svm": ("svm_uuid", "key"),
    "ix_audit_records_errors_of_account": ("account", "key"),
}.items():
    Index(
        _name,
        *(audit_records.c[column] for column in _columns),
        sqlite_where=audit_records.c.state == "error",
        postgresql_where=audit_records.c.state == "error",
    )

Index(
    "ix_audit_records_node_read_id",
    audit_records.c.node,
    audit_records.c.read_id,
    sqlite_where=audit_records.c.read_id.is_not(None),
    postgresql_where=audit_records.c.read_id.is_not(None),
)

# `configuration` is the node's part of the change marker: it counts changes of watched servers and of logins.
audit_heads = Table(
    "audit_heads",
    metadata,
    _text("node", primary_key=True),
    Column("index", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("head_mac", LargeBinary, nullable=False),
    _integer("configuration", server_default="0"),
)

# The last cut of each node's chain: the records up to `index` were removed. The chain has a record with the same facts.
audit_cuts = Table(
    "audit_cuts",
    metadata,
    _text("node", primary_key=True),
    Column("index", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    _text("rule"),
    _text("saved"),
    Column("time", UtcTimestamp, nullable=False),
)

# Up to which record of each node the last backup and the last export reached. `note_mac` covers the row.
audit_saves = Table(
    "audit_saves",
    metadata,
    _text("node", primary_key=True),
    _text("way", primary_key=True),
    Column("index", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("time", UtcTimestamp, nullable=False),
    Column("note_mac", LargeBinary, nullable=False),
)

# No cascade, so that a key manager with keys cannot be deleted. Only keys that hold their name need a unique name.
keys = Table(
    "keys",
    metadata,
    _text("uuid", primary_key=True),
    _text("key_id", unique=True),
    _text("key_manager", ForeignKey("key_managers.uuid")),
    *_owned(),
    _text("name"),
    _text("key_tag"),
    _text("key_type"),
    _text("state"),
    _integer("length"),
    Column("created", UtcTimestamp, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    _integer("version"),
    Column("committed", UtcTimestamp, nullable=True),
    Column("retired", UtcTimestamp, nullable=True),
    Column("purge_after", UtcTimestamp, nullable=True),
    _text("retired_in", server_default=text("''")),
    _integer("overdue", server_default="0"),
    Index(None, "key_manager", "uuid", "state"),
    Index(None, "key_manager", "key_id"),
    Index(None, "key_manager", "name", "key_id"),
    Index(None, "key_manager", "created", "key_id"),
)


def _partial_index(name: str, *columns: Column[Any], where: ColumnElement[bool], unique: bool = False) -> None:
    """Add an index of the rows that meet a condition. Statements use it if they have the same condition as text."""
    Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


_partial_index(
    "uq_keys_held_name",
    *(keys.c.key_manager, keys.c.name),
    where=keys.c.state.in_(("pending", "committed", "retired")),
    unique=True,
)
# Most keys are committed. With an index of all keys by state, SQLite would sort lists.
_partial_index(
    "ix_keys_not_committed",
    *(keys.c.key_manager, keys.c.state, keys.c.uuid),
    where=keys.c.state != "committed",
)

applications = Table(
    "applications",
    metadata,
    _text("uuid", primary_key=True),
    _text("svm_uuid", ForeignKey("svms.uuid", ondelete="CASCADE")),
    _text("name"),
    Column("created", UtcTimestamp, nullable=False),
    UniqueConstraint("svm_uuid", "name"),
)

application_accounts = Table(
    "application_accounts",
    metadata,
    _text("account", ForeignKey("accounts.name", ondelete="CASCADE"), primary_key=True),
    _text("application", ForeignKey("applications.uuid", ondelete="CASCADE"), index=True),
)

# The objects that applications keep over KMIP. `content` is a JSON object: form, dates and attributes.
application_objects = Table(
    "application_objects",
    metadata,
    _text("key", ForeignKey("keys.uuid", ondelete="CASCADE"), primary_key=True),
    _text("application", ForeignKey("applications.uuid", ondelete="CASCADE")),
    Column("created", UtcTimestamp, nullable=False),
    _integer("object_type"),
    _text("state"),
    _text("content"),
    _integer("version"),
    Index(None, "application", "created", "key"),
)

# The names of objects, to find them by. A name of a destroyed object is free.
application_object_names = Table(
    "application_object_names",
    metadata,
    _text("key", ForeignKey("application_objects.key", ondelete="CASCADE"), primary_key=True),
    _text("name", primary_key=True),
    _text("application"),
    Index(None, "application", "name"),
)

key_attempts = Table(
    "key_attempts",
    metadata,
    _text("key", ForeignKey("keys.uuid", ondelete="CASCADE"), primary_key=True),
    _integer("number", primary_key=True),
    _text("purpose"),
    _text("incarnation"),
    _text("token"),
    _text("node"),
    _text("state"),
    Column("began", UtcTimestamp, nullable=False),
    Column("expires", UtcTimestamp, nullable=False),
    _text("adopted"),
    _integer("expired", server_default="0"),
)

_partial_index("ix_key_attempts_adopted", key_attempts.c.adopted, where=key_attempts.c.adopted != "")
_partial_index("ix_key_attempts_pending", key_attempts.c.expires, where=key_attempts.c.state == "pending")
_partial_index(
    "ix_key_attempts_aborted",
    *(key_attempts.c.key, key_attempts.c.number),
    where=key_attempts.c.state == "aborted",
)

# `key_server` names a server that may have been removed. `unique_identifiers` is a JSON array.
key_copies = Table(
    "key_copies",
    metadata,
    _text("key", primary_key=True),
    _integer("attempt", primary_key=True),
    _text("key_server", primary_key=True),
    _text("host", primary_key=True),
    _text("presence"),
    _text("unique_identifiers"),
    _text("object_state"),
    _text("descriptor"),
    Column("written", UtcTimestamp, nullable=True),
    Column("proven", UtcTimestamp, nullable=True),
    ForeignKeyConstraint(
        ["key", "attempt"], ["key_attempts.key", "key_attempts.number"], ondelete="CASCADE", name="fk_key_copies_key"
    ),
    Index(None, "key_server", "key"),
    Index(None, "key_server", "host", "written"),
)

# Copies that the keeper looks at in each round, and those that it need not look at.
_PRESENT = key_copies.c.presence == "present"
for _name, _condition in {
    "unsettled": key_copies.c.presence.in_(("sent", "unknown")),
    "inactive": and_(_PRESENT, key_copies.c.object_state.in_(("", "Pre-Active"))),
    "undescribed": and_(_PRESENT, key_copies.c.descriptor == ""),
    "present": _PRESENT,
}.items():
    _partial_index(f"ix_key_copies_{_name}", key_copies.c.key_server, key_copies.c.key, where=_condition)

# `sees`, `canary`, `operations` and `object_types` are JSON arrays.
server_profiles = Table(
    "server_profiles",
    metadata,
    _text("key_server", primary_key=True),
    _text("form"),
    _text("canary_name"),
    _text("canary"),
    Column("canary_digest", LargeBinary, nullable=False),
    Column("learned", UtcTimestamp, nullable=False),
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
    _text("public_key", server_default=text("''")),
)

# Epoch markers. `unique_identifiers` and `behind` (those of the previous marker) are JSON arrays.
# `due`: the marker must be replaced early.
fences = Table(
    "fences",
    metadata,
    _text("key_server", primary_key=True),
    _text("incarnation"),
    _integer("number"),
    Column("token", LargeBinary, nullable=False),
    _text("state"),
    _text("unique_identifiers"),
    _text("behind"),
    _integer("due", server_default="0"),
)

digest_keys = Table(
    "digest_keys",
    metadata,
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE"), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

incarnations = Table(
    "incarnations",
    metadata,
    _integer("number", primary_key=True),
    _text("uuid"),
    Column("began", UtcTimestamp, nullable=False),
    _text("reason"),
    _text("storage"),
    _integer("destroys"),
    _text("vouching", server_default=text("''")),
    Column("vouching_since", UtcTimestamp, nullable=True),
)

# The nodes that found in a promoted database, by its storage, all that was acknowledged to them.
vouchers = Table(
    "vouchers",
    metadata,
    _text("storage", primary_key=True),
    _text("node", primary_key=True),
    Column("vouched", UtcTimestamp, nullable=False),
)

key_receipts = Table(
    "key_receipts",
    metadata,
    _text("key", primary_key=True),
    _integer("attempt", primary_key=True),
    _text("key_server", primary_key=True),
    _text("host", primary_key=True),
    _text("unique_identifier", primary_key=True),
    _text("action", primary_key=True),
    Column("time", UtcTimestamp, nullable=False),
    _text("incarnation"),
    _text("node"),
)

unclaimed_objects = Table(
    "unclaimed_objects",
    metadata,
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE"), primary_key=True),
    _text("key_server", primary_key=True),
    _text("unique_identifier", primary_key=True),
    _text("name"),
    Column("found", UtcTimestamp, nullable=False),
    # The dismissal: all three columns, or none.
    Column("dismissed", UtcTimestamp, nullable=True),
    Column("dismissed_by", Bytewise, nullable=True),
    Column("dismissed_digest", LargeBinary, nullable=True),
)

# The configuration of a detached key server, until its copies are destroyed. `secondaries` is a JSON array.
detached_key_servers = Table(
    "detached_key_servers",
    metadata,
    _text("uuid", primary_key=True),
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE"), index=True),
    _integer("position"),
    _text("host"),
    _integer("port"),
    _integer("timeout"),
    _integer("create_remove_timeout"),
    _text("username"),
    Column("sealed_password", LargeBinary, nullable=True),
    _text("tls_server_name"),
    _text("replication_domain"),
    _text("secondaries"),
    Column("detached", UtcTimestamp, nullable=False),
)

# What a change proves of keys goes on after a pause: a later call or process relies on the proofs since `began`.
proving_attempts = Table(
    "proving_attempts",
    metadata,
    _text("what", primary_key=True),
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE"), index=True),
    Column("began", UtcTimestamp, nullable=False),
    Column("touched", UtcTimestamp, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    _text("name", primary_key=True),
    _text("holder"),
    Column("token", BigInteger, nullable=False),
    Column("expires", UtcTimestamp, nullable=False),
)

cluster_keys = Table(
    "cluster_keys",
    metadata,
    _text("name", primary_key=True),
    _text("public"),
    Column("sealed", LargeBinary, nullable=False),
)

# `document` is the signed report as users get it.
key_reports = Table(
    "key_reports",
    metadata,
    _text("uuid", primary_key=True),
    _text("key_manager", ForeignKey("key_managers.uuid", ondelete="CASCADE"), index=True),
    _text("kind"),
    Column("time", UtcTimestamp, nullable=False),
    _integer("keys"),
    _integer("unreadable"),
    _integer("failed"),
    _text("document"),
)

# A part of the database has several rows here; see change_marks.py.
change_marks = Table(
    "change_marks",
    metadata,
    _text("part", primary_key=True),
    _integer("slot", primary_key=True),
    Column("mark", BigInteger, nullable=False),
)

# No row, or one that refuses service (copy_mark.py). `state` is `unfinished`: this is an unfinished copy of `other`. Or
# it is `moved`: the data went to `other`. Both sides of a copy have its `uuid`. `storage` is the place of `other`.
database_copy = Table(
    "database_copy",
    metadata,
    _integer("id", primary_key=True),
    _text("uuid"),
    _text("state"),
    _text("other"),
    _text("storage"),
    Column("time", UtcTimestamp, nullable=False),
    CheckConstraint("id = 1", name="one"),
)
