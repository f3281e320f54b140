"""keystead.api.errors: what goes wrong inside is answered as ONTAP's errors, logged without secrets, recorded once."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from keystead.api.errors import described, error_reply
from keystead.core import errors
from keystead.core.errors import OntapError
from tests.api.conftest import PASSWORD
from tests.peers.asgi import assert_error
from tests.peers.fault_servers import FaultServer, silence

if TYPE_CHECKING:
    from pathlib import Path

    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

SVMS = "/api/svm/svms"
CANARY = "c4nary-s3cret"


def destroy(home: Path, table: str) -> None:
    """Take a table away underneath the running service."""
    with sqlite3.connect(home / "keystead.db", isolation_level=None) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO gone")
    database.close()


def test_an_error_body_has_what_there_is() -> None:
    """``code`` a string, target and arguments only when there are some; headers by status."""
    plain = error_reply(OntapError(errors.KEY_SERVER_LIMIT))
    assert plain.body == {"error": {"message": "A maximum of 4 active key servers are allowed.", "code": "65536038"}}
    full = error_reply(OntapError(errors.TOO_MANY_REQUESTS, target="t", arguments=[("a", "b")], retry_after=5))
    assert full.body["error"]["target"] == "t"
    assert full.body["error"]["arguments"] == [{"code": "a", "message": "b"}]
    assert dict(full.headers) == {b"retry-after": b"5"}
    assert full.status == 429


def test_the_log_tells_where_and_not_what() -> None:
    """Types of an exception and its causes, and the places; none of their texts."""

    def fail() -> None:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            raise RuntimeError(CANARY) from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    fields = described(caught.value)
    assert fields["error"] == ["RuntimeError", "ValueError"]
    assert any("fail" in place for place in fields["at"])  # type: ignore[attr-defined]
    assert CANARY not in str(fields)


async def test_a_dead_store_is_500_without_a_trace(api: Api, tmp_path: Path) -> None:
    """262145, and the log says where; a write's failure is an error for the audit log too, if it still works."""
    destroy(tmp_path / "home", "svms")
    with capture_logs() as logs:
        assert_error(await api.admin.get(SVMS), errors.INTERNAL_ERROR)
        assert_error(await api.admin.post(SVMS, {"name": CANARY}), errors.INTERNAL_ERROR)
    assert [entry["event"] for entry in logs] == ["unexpected error"] * 2
    assert CANARY not in str(logs)
    (record,) = await api.audit()
    assert (record.state, record.code) == ("error", "262145")


async def test_unreadable_accounts_are_500(api: Api, tmp_path: Path) -> None:
    """Nobody is let in, and nobody is told that the password was wrong."""
    destroy(tmp_path / "home", "accounts")
    with capture_logs() as logs:
        assert_error(await api.admin.get(SVMS), errors.INTERNAL_ERROR)
    assert PASSWORD not in str(logs)


async def test_unreadable_key_servers_are_65536834(
    api: Api, pki: Pki, pykmip_servers: list[Program], tmp_path: Path
) -> None:
    """500 with its own code when accounts can be read but key servers cannot."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    destroy(tmp_path / "home", "key_servers")
    path = f"/api/security/key-managers/{uuid}/key-servers"
    assert_error(await api.admin.get(path), errors.KEY_SERVERS_UNREADABLE)
    assert_error(await api.admin.get(f"{path}/a"), errors.KEY_SERVERS_UNREADABLE)
    assert_error(await api.admin.post(path, {"server": "a"}), errors.KEY_SERVERS_UNREADABLE)


async def test_a_refusal_stands_without_its_record(api: Api, tmp_path: Path) -> None:
    """When the audit log cannot be written the caller still gets the refusal."""
    destroy(tmp_path / "home", "audit_records")
    with capture_logs() as logs:
        assert_error(await api.readonly.post(SVMS, {"name": "x"}), errors.NOT_AUTHORIZED)
    assert logs


async def test_a_cancelled_call_is_503_and_stores_nothing(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A shutdown in the middle of a probe: 262145, Retry-After, recorded, nothing stored."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    with FaultServer(silence) as server:
        call = asyncio.create_task(api.admin.post(path, {"server": f"127.0.0.1:{server.port}"}))
        while not server.accepted:  # noqa: ASYNC110 - the server is a thread
            await asyncio.sleep(0.01)
        call.cancel()
        answer = await call
    assert_error(answer, errors.SHUTTING_DOWN)
    assert int(answer.headers["retry-after"]) > 0
    assert (await api.admin.get(path)).body["num_records"] == 1
    assert (await api.audit())[-1].code == "262145"
