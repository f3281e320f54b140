"""Several processes on one database: what each checks before it writes is still true when it commits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from keystead.core.audit import append, check_end, follow
from keystead.core.model import KeyManager, Svm
from tests.store import samples

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

ROUNDS = 12
PROCESSES = ("a", "b")
ADDING = Path(__file__).with_name("adding.py")


async def test_two_processes_never_make_five_servers(store: SqlStore, database_url: str) -> None:
    """Of eight concurrent attempts on each key manager, two for the same servers, exactly four add a server."""
    managers = [KeyManager(f"km-{number}", None, False, "c", ("ca",)) for number in range(ROUNDS)]
    await store.write(lambda tx: [tx.add_key_manager(manager) for manager in managers])
    start = str(time.time() + 0.8)
    commands = [[sys.executable, str(ADDING), database_url, name, start, str(ROUNDS)] for name in PROCESSES]
    running = [await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for command in commands]
    outcomes = [(await process.communicate())[0].decode().split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert [len(outcome) for outcome in outcomes] == [4 * ROUNDS] * 2
    assert sum(outcome.count("added") for outcome in outcomes) == 4 * ROUNDS
    for manager in managers:
        servers = await store.read(lambda tx: tx.key_servers(manager.uuid))  # noqa: B023 - run at once
        assert [server.position for server in servers] == [1, 2, 3, 4]
        assert len({server.address for server in servers}) == 4


async def test_writers_of_one_node_make_one_chain(store: SqlStore) -> None:
    """Concurrent writers append records without a repeated or a missing index."""

    def work(tx: Transaction) -> None:
        record, head = append(samples.audit_record(0), tx.audit_head("node-1"), _mac)
        tx.add_audit_records([record], head)

    await asyncio.gather(*[store.write(work) for _ in range(40)])
    records, head = await store.read(lambda tx: (tx.audit_records("node-1", 0, 100), tx.audit_head("node-1")))
    last = follow("node-1", records, (0, b""), _mac)
    assert last[0] == 40
    check_end("node-1", last, head, _mac)


async def test_what_one_process_creates_twice_at_once_exists_once(store: SqlStore) -> None:
    """The loser of a race runs again and sees the winner's row, so that no conflict is raised."""

    def create(tx: Transaction) -> str:
        if tx.svm_named("svm1") is not None:
            return "exists"
        tx.add_svm(samples.SVM)
        return "created"

    outcomes = await asyncio.gather(*[store.write(create) for _ in range(12)])
    assert sorted(outcomes) == ["created"] + ["exists"] * 11


def _mac(message: bytes) -> bytes:
    return b"%d" % hash(message)


async def test_an_svm_is_not_deleted_under_what_is_made_for_it(store: SqlStore) -> None:
    """Either the certificate is stored and the SVM stays, or the SVM is deleted and no certificate of it is left."""

    def install(tx: Transaction, number: int) -> str:
        svm = tx.svm(f"svm-{number}")
        if svm is None:
            return "no SVM"
        tx.add_certificate(samples.certificate(f"cert-{number}", svm))
        return "installed"

    def delete(tx: Transaction, number: int) -> str:
        if tx.svm(f"svm-{number}", lock=True) is None or any(tx.svm_contents(f"svm-{number}").values()):
            return "in use"
        tx.delete_svm(f"svm-{number}")
        return "deleted"

    await store.write(lambda tx: [tx.add_svm(Svm(f"svm-{number}", f"vs{number}")) for number in range(20)])
    works = [partial(work, number=number) for number in range(20) for work in (install, delete)]
    outcomes = await asyncio.gather(*[store.write(work) for work in works])
    assert {*zip(outcomes[::2], outcomes[1::2], strict=True)} <= {("installed", "in use"), ("no SVM", "deleted")}
