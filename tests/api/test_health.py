"""``/healthz``, ``/readyz`` and ``/metrics``: who may read them, and what they say."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from keystead.api.app import create_app
from keystead.app.wiring import running
from keystead.core import errors
from keystead.core.model import Account, Role
from keystead.service.cluster import health
from keystead.settings import Settings
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD
from tests.store.commits import last_commit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

ANONYMOUS = {"authorization": None}


@pytest.mark.parametrize(
    ("path", "text"),
    [("/healthz", b"ok\n"), ("/readyz", b"ready\n"), ("//readyz/", b"ready\n"), ("/readyz/reads", b"ready\n")],
)
async def test_health_needs_no_login_and_says_one_word(api: Api, path: str, text: bytes) -> None:
    """200 and the word, in plain text; HEAD without it; nothing else may be asked of them."""
    answer = await api.admin.get(path, headers=ANONYMOUS)
    assert (answer.status, answer.content) == (200, text)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    head = await api.admin("HEAD", path, headers=ANONYMOUS)
    assert (head.status, head.content, head.headers["content-length"]) == (200, b"", str(len(text)))
    refused = await api.admin.post(path, {}, headers=ANONYMOUS)
    assert_error(refused, errors.METHOD_NOT_SUPPORTED)
    options = await api.admin("OPTIONS", path, headers=ANONYMOUS)
    assert (options.status, options.body) == (200, {})
    assert refused.headers["allow"] == options.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_process_without_its_database_is_alive_and_not_ready(api: Api) -> None:
    """503 and what fails, while the process itself is well; so with another release's schema."""
    with api.store.database.writer.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.exec_driver_sql("UPDATE compatibility SET writes_min = '9999'")
        connection.commit()
    answer = await api.admin.get("/readyz", headers=ANONYMOUS)
    assert (answer.status, answer.content) == (503, b"not ready: the database's schema is not this release's\n")
    await api.store.close()
    answer = await api.admin.get("/readyz", headers=ANONYMOUS)
    assert (answer.status, answer.content) == (503, b"not ready: the database does not answer\n")
    assert (await api.admin.get("/healthz", headers=ANONYMOUS)).status == 200


async def test_a_database_that_commits_nothing_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller's commit waits in the database, the others wait for it; nothing is left to do once it goes on."""
    monkeypatch.setattr(health, "COMMIT_S", 0.2)
    monkeypatch.setattr(health, "PROVE_COMMIT_S", 0.0)
    with api.store.database.writer.connect() as other:
        other.exec_driver_sql("UPDATE nodes SET name = name")  # holds the row on PostgreSQL, the file on SQLite
        answers = await asyncio.gather(*(api.admin.get("/readyz", headers=ANONYMOUS) for _ in range(3)))
        assert {(each.status, each.content) for each in answers} == {
            (503, b"not ready: the database commits nothing\n")
        }
        other.rollback()
    monkeypatch.setattr(health, "COMMIT_S", 10.0)
    assert (await api.admin.get("/readyz", headers=ANONYMOUS)).status == 200


async def test_one_commit_proves_for_some_seconds(api: Api) -> None:
    """So a load balancer that asks every second makes no commit a second."""
    await api.admin.get("/readyz", headers=ANONYMOUS)
    version = await last_commit(api.store)
    assert (await api.admin.get("/readyz", headers=ANONYMOUS)).status == 200
    assert await last_commit(api.store) == version


@pytest.mark.parametrize("table", ["accounts", "key_managers"])
async def test_what_every_call_needs_must_be_readable(api: Api, table: str) -> None:
    """Else the process is not ready, though its database answers."""
    with api.store.database.writer.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO elsewhere")
    assert (await api.admin.get("/readyz", headers=ANONYMOUS)).status == 503


async def test_metrics_are_shown_when_the_database_fails(api: Api) -> None:
    """To whom has just read them: that is when they matter. Nobody else gets in, nor anywhere else."""
    assert (await api.readonly.get("/metrics")).status == 200
    with api.store.database.writer.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO elsewhere")
    assert (await api.readonly.get("/metrics")).status == 200
    assert_error(await AsgiClient(api.admin.app, "nobody", PASSWORD).get("/metrics"), errors.INTERNAL_ERROR)
    assert_error(await api.readonly.get("/api/cluster"), errors.INTERNAL_ERROR)


async def test_metrics_are_the_whole_clusters(api: Api) -> None:
    """Not an SVM's: a call that is confined to one is refused. OPTIONS is answered as everywhere."""
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    assert_error(await api.admin.get("/metrics", headers={"x-dot-svm-name": "vs0"}), errors.NOT_AUTHORIZED)
    options = await api.admin("OPTIONS", "/metrics")
    assert (options.status, options.body, options.headers["allow"]) == (200, {}, "GET, HEAD, OPTIONS")


async def test_metrics_need_a_cluster_account(api: Api) -> None:
    """Nobody without a login, no SVM account; a reader of the cluster may."""
    assert_error(await api.admin.get("/metrics", headers=ANONYMOUS), errors.AUTHENTICATION_FAILED)
    assert (await api.readonly.get("/metrics")).status == 200
    assert_error(await api.admin.post("/metrics", {}), errors.METHOD_NOT_SUPPORTED)
    svm = (await api.admin.post("/api/svm/svms?return_records=true", {"name": "vs0"})).body["records"][0]

    def add(tx: object) -> None:
        stored = tx.svm(svm["uuid"])  # type: ignore[attr-defined]
        admin = tx.account("admin")  # type: ignore[attr-defined]
        tx.put_account(Account("owner", Role.VSADMIN, admin.password_hash, svm=stored))  # type: ignore[attr-defined]

    await api.store.write(add)
    owner = AsgiClient(create_app(api.services), "owner", PASSWORD)
    assert_error(await owner.get("/metrics"), errors.NOT_AUTHORIZED)


async def test_a_setting_opens_the_metrics(home: Path) -> None:
    """``metrics_public``: no login for ``/metrics``, and for nothing else."""
    async with running(Settings(data=home, metrics_public=True)) as open_:
        client = AsgiClient(create_app(open_.services))
        assert (await client.get("/metrics", headers=ANONYMOUS)).status == 200
        assert_error(await client.get("/api/cluster", headers=ANONYMOUS), errors.AUTHENTICATION_FAILED)


async def test_the_metrics_are_in_prometheus_format(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Well-formed, ours only, with the answers counted by method and status, and no secret or password among them."""
    from prometheus_client.parser import text_string_to_metric_families

    await api.key_manager(pki, [pykmip_servers[0].address])
    await api.admin.get("/api/security/key-managers/nope")
    await api.admin("BREW", "/api/cluster")
    answer = await api.admin.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.content.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert all(re.fullmatch(r"(keystead|process)_[a-z_]+", name) for name in families)
    counted = {
        (sample.labels["method"], sample.labels["status"]): sample.value
        for sample in families["keystead_http_requests"].samples
        if sample.name.endswith("_total")
    }
    assert counted["POST", "201"] == 3
    assert counted["GET", "404"] == 1
    assert counted["other", "405"] == 1
    assert PASSWORD not in text
    assert families["keystead_probe_queue"].samples[0].value == 0
    assert families["keystead_jobs_running"].samples[0].value == 0
