"""Upgrades: rows of earlier schemas are there, and mean the same, in the present schema."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest
from sqlalchemy import insert, make_url, text

from keystead.core import audit
from keystead.core.announcing import AnnouncedState
from keystead.core.model import Account, AuditRecord, JobState, KeyManager, Options, Role, Svm
from keystead.service.ports.page import Page
from keystead.store import open_store, tables
from keystead.store.opening import open_database
from keystead.store.statements import columns_of
from keystead.store.upgrade import upgrade
from tests.service.worlds.basics import KEYRING
from tests.store import samples
from tests.store.revisions import to_revision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Insert

    from keystead.service.ports.store import Transaction
    from tests.peers.postgres import PostgresServer

T = TypeVar("T")

INCARNATIONS = "number, uuid, began, reason, storage, destroys"
KEYS = "uuid, key_id, key_manager, owner, name, key_tag, key_type, state, length, created, digest, version"
ATTEMPTS = "key, number, purpose, incarnation, token, node, state, began, expires, adopted"
RECORD = "'a', 'l', 's', 'POST', '/p', '', 'success', '', 'm'"
AUDIT_COLUMNS = 'account, location, svm, method, path, input, state, code, message, mac, node, "index", timestamp'
ROWS_OF_0001 = (
    "INSERT INTO svms (uuid, name) VALUES ('svm-1', 'b'), ('svm-2', 'B')",
    "INSERT INTO accounts (name, role, password_hash, version) VALUES ('admin', 'admin', 'hash', 3)",
    "INSERT INTO key_managers (uuid, owner, svm_uuid, enabled, client_certificate)"  # noqa: ISC004
    " VALUES ('km-1', 'svm-1', 'svm-1', 1, 'cert')",
    "INSERT INTO key_servers (uuid, key_manager, position, host, port, address_key, timeout, create_remove_timeout,"  # noqa: ISC004
    " username) VALUES ('ks-1', 'km-1', 1, 'h', 5696, 'h:5696', 25, 10, '')",
    f"INSERT INTO audit_records ({AUDIT_COLUMNS}) VALUES"  # noqa: ISC004, S608 - constants
    f" ({RECORD}, '1', 'n1', 1, '2026-03-01 12:00:00.000001'), ({RECORD}, '2', 'n1', 2, '2026-03-01 11:59:59.5')",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """Yield a database of the first schema with a row of each kind that has changed since."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'old.db'}"
        _fill(url, "0001", *ROWS_OF_0001)
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.empty_database() as url:
        _fill(url, "0001", *ROWS_OF_0001)
        yield url


def _fill(url: str, revision: str, *statements: str | Insert) -> None:
    """Bring a database to a revision, no newer one, and store rows."""
    to_revision(url, revision)
    database = open_database(make_url(url))
    with database.writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL TIME ZONE 'UTC'"))
        for statement in statements:
            connection.execute(text(statement) if isinstance(statement, str) else statement)
    database.dispose()


async def _upgraded(url: str, revision: str, read: Callable[[Transaction], T]) -> T:
    """Upgrade a database that was at a revision, and read what it says now."""
    assert upgrade(url) == revision
    store = open_store(url)
    try:
        return await store.read(read)
    finally:
        await store.close()


async def test_rows_of_the_first_schema(old_url: str) -> None:
    """New columns have defaults; records are ordered by time; names are ordered by bytes."""
    assert upgrade(old_url) == "0001"
    store = open_store(old_url)
    try:
        account = await store.read(lambda tx: tx.account("admin"))
        (manager,) = await store.read(lambda tx: tx.page(KeyManager, Page()))
        (server,) = await store.read(lambda tx: tx.key_servers("km-1"))
        records = await store.read(lambda tx: tx.page(AuditRecord, Page()))
        placed = await store.read(lambda tx: tx.placed_audit_records("n1", 0, 9))
        options = await store.read(lambda tx: tx.options())
        svms = await store.read(lambda tx: tx.page(Svm, Page().within(uuid="svm-2")))
    finally:
        await store.close()
    assert account == Account("admin", Role.ADMIN, "hash", 3)
    assert (manager.policy, manager.configuration_name, manager.monitor_interval) == ("", "default", 0)
    assert server.tls_server_name == ""
    assert [(record.index, record.role, record.svm_uuid) for record in records] == [(2, "", ""), (1, "", "")]
    assert [place for _, place in placed] == [audit.place(record) for record, _ in placed]
    assert options == Options()
    assert svms == (Svm("svm-2", "B"),)


@pytest.mark.parametrize(("lives", "retired_in"), [(("i1",), "i1"), (("i1", "i2"), "")])
async def test_keys_that_were_retired_before(old_url: str, lives: tuple[str, ...], retired_in: str) -> None:
    """Keys retired before belong to the only incarnation; if there were several, none may purge them."""
    retired = "2026-03-02 00:00:00"
    rows = [
        f"{number}, '{life}', '2026-0{3 - number}-01 12:00:00', 'restored', '', 1"
        for number, life in enumerate(lives, 1)
    ]
    key = f"'k', 'k', 'km-1', '', 'k', '', 'vek', 'retired', 64, '{retired}', '', 1, '{retired}'"
    _fill(
        old_url,
        "0003",
        "DELETE FROM incarnations",
        *(f"INSERT INTO incarnations ({INCARNATIONS}) VALUES ({row})" for row in rows),  # noqa: S608 - constants
        f"INSERT INTO keys ({KEYS}, retired) VALUES ({key})",  # noqa: S608 - constants
    )
    (found,) = await _upgraded(old_url, "0003", lambda tx: tx.keys(["k"]))
    assert found.retired_in == retired_in


async def test_reads_that_were_recorded_before(old_url: str) -> None:
    """They are found by their ids, as `audit verify` reads them in the message; no other record has an id."""
    read = "retrieval of key 00ff, read 0123456789abcde"
    messages = [
        *(("success", f"{read}{digit}") for digit in "0f"),
        ("error", f"{read}1"),
        *(
            ("success", text)
            for text in (f"x{read}2", f"{read}34", f"{read}F", f"{read}g", "retrieval of key 00ff", "")
        ),
    ]
    records: list[AuditRecord] = []
    head = None
    for state, message in messages:
        record = replace(samples.audit_record(0), state=state, message=message)
        chained, head = audit.append(record, head, KEYRING.mac)
        records.append(chained)
    _fill(old_url, "0006", "DELETE FROM audit_records", *map(_inserted, records))
    found = await _upgraded(old_url, "0006", lambda tx: tx.audit_records("node-1", 0, 99))
    assert found == tuple(replace(each, read_id=audit.read_id_in_message(each)) for each in records)
    assert [each.read_id for each in found[:3]] == ["0123456789abcde0", "0123456789abcdef", None]
    assert audit.follow("node-1", found, (0, b""), KEYRING.mac) == (len(records), records[-1].mac)
    store = open_store(old_url)
    try:
        ids = ("0123456789abcde0", "0123456789abcde1", "0123456789abcdef")
        assert await store.read(lambda tx: tx.recorded_reads("node-1", ids)) == {ids[0], ids[2]}
    finally:
        await store.close()


def _inserted(record: AuditRecord) -> Insert:
    """Insert a record under a schema before 0007."""
    columns = columns_of(tables.audit_records, record) | {"key": audit.place(record)}
    del columns["read_id"]
    return insert(tables.audit_records).values(columns)


async def test_attempts_that_were_aborted_before(old_url: str) -> None:
    """Attempts aborted before count as timed out, so servers are asked about their copies."""
    time = "'2026-03-02 00:00:00'"
    key = f"'k', 'k', 'km-1', '', 'k', '', 'vek', 'committed', 64, {time}, '', 1"
    rows = [
        f"'k', {number}, 'create', 'i1', 't{number}', 'n1', '{state}', {time}, {time}, ''"
        for number, state in enumerate(("aborted", "committed"), 1)
    ]
    _fill(
        old_url,
        "0005",
        f"INSERT INTO keys ({KEYS}) VALUES ({key})",  # noqa: S608 - constants
        *(f"INSERT INTO key_attempts ({ATTEMPTS}) VALUES ({row})" for row in rows),  # noqa: S608 - constants
    )
    found = await _upgraded(old_url, "0005", lambda tx: tx.attempts(["k"]))
    assert [each.expired for each in found] == [True, False]


async def test_accounts_that_had_read_keys_before(old_url: str) -> None:
    """Their next read is not their first; that of others is, whatever else is recorded of them."""
    account = "'{name}', 'key-reader', 'hash', 1"
    record = replace(samples.audit_record(1), account="reader", read_id="0123456789abcdef")
    other = replace(samples.audit_record(2), account="other")
    _fill(
        old_url,
        "0007",
        *(
            f"INSERT INTO accounts (name, role, password_hash, version) VALUES ({account.format(name=name)})"  # noqa: S608
            for name in ("reader", "other")
        ),
        *(
            insert(tables.audit_records).values(columns_of(tables.audit_records, each) | {"key": audit.place(each)})
            for each in (record, other)
        ),
    )
    found = await _upgraded(old_url, "0007", lambda tx: tx.page(Account, Page()))
    assert {each.name: each.has_read_keys for each in found} == {"admin": False, "other": False, "reader": True}


async def test_jobs_that_failed_before(old_url: str) -> None:
    """Their errors have no arguments, and nothing can go on with them."""
    values = "'job-1', 'n1', 'admin', 'POST /x', 'failure', 'said', 4, 'uuid', '2026-03-02 00:00:00', ''"
    columns = "uuid, node, account, description, state, message, code, target, start_time, results"
    _fill(old_url, "0015", f"INSERT INTO jobs ({columns}) VALUES ({values})")  # noqa: S608 - constants
    found = await _upgraded(old_url, "0015", lambda tx: tx.job("job-1"))
    assert found is not None
    assert (found.state, found.message, found.arguments, found.resumable) == (JobState.FAILURE, "said", (), None)


async def test_key_servers_that_were_lost_before(old_url: str) -> None:
    """Their loss was announced by each node: their return is announced, and the loss not again."""
    seen = "node, key_server, host, state, since, stage, reason, certificates, keys_visible"
    rows = (
        "'n1', 'ks-1', '', 'not_responding', '2026-03-01 12:00:00', 'tls', 'expired', '[]', 0",
        "'n2', 'ks-1', '', 'available', '2026-03-01 12:00:00', '', '', '[]', 1",
        "'n1', 'ks-1', 'second', 'available', '2026-03-01 12:00:00', '', '', '[]', NULL",
        "'n2', 'ks-1', 'third', 'unknown', '2026-03-01 12:00:00', '', 'look_failed', '[]', 0",
    )
    _fill(old_url, "0026", *(f"INSERT INTO observations ({seen}) VALUES ({row})" for row in rows))  # noqa: S608
    found = await _upgraded(old_url, "0026", lambda tx: tx.announced_states())
    lost = AnnouncedState("ks-1", "", "expired", keys_hidden=True)
    assert found == (lost, AnnouncedState("ks-1", "third", keys_hidden=True))
