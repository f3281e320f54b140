"""keystead.api.errors: what goes wrong inside is answered as ONTAP's errors, logged without secrets, recorded once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from keystead.api.app import create_app
from keystead.api.body import ClientGoneError
from keystead.api.errors import ErrorBoundary, error_reply
from keystead.api.request import CALLER
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Role
from keystead.service.context import Caller
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.databases import raw_sqlite
from tests.peers.fault_servers import FaultServer, silence
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from keystead.service.context import Call
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

SVMS = "/api/svm/svms"
CERTIFICATES = "/api/security/certificates"
CANARY = "c4nary-s3cret"


def destroy(home: Path, table: str) -> None:
    """Take a table away underneath the running service."""
    with raw_sqlite(home / "keystead.db") as database:
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


async def test_a_dead_store_is_500_without_a_trace(api: Api, pki: Pki, home: Path) -> None:
    """262145, and the log says where; a write's failure is an error for the audit log too, if it still works."""
    destroy(home, "certificates")
    with capture_logs() as logs:
        assert_error(await api.admin.get(CERTIFICATES), errors.INTERNAL_ERROR)
        new = {"name": CANARY, "type": "server_ca", "public_certificate": pki.server_ca.pem}
        assert_error(await api.admin.post(CERTIFICATES, new), errors.INTERNAL_ERROR)
    assert [entry["event"] for entry in logs] == ["unexpected error"] * 2
    assert CANARY not in str(logs)
    (record,) = await api.audit()
    assert (record.state, record.code) == ("error", "262145")


async def test_a_fault_about_an_svm_is_recorded_as_such(api: Api, pki: Pki, sound_ports: list[int], home: Path) -> None:
    """An unexpected exception while an SVM's things are changed: 500, and the record names the SVM."""
    assert (await api.admin.post(SVMS, {"name": "vs0"})).status == 201
    server = f"127.0.0.1:{sound_ports[0]}"
    uuid = await api.key_manager(pki, [server], svm={"name": "vs0"})
    path = f"/api/security/key-managers/{uuid}"
    before = len(await api.audit())

    with raw_sqlite(home / "keystead.db") as database:
        database.executescript("""
            CREATE TRIGGER t1 BEFORE UPDATE ON key_servers BEGIN SELECT * FROM nowhere; END;
            CREATE TRIGGER t2 BEFORE DELETE ON key_servers BEGIN SELECT * FROM nowhere; END;
            CREATE TRIGGER t3 BEFORE INSERT ON key_servers BEGIN SELECT * FROM nowhere; END;
            CREATE TRIGGER t4 BEFORE DELETE ON key_managers BEGIN SELECT * FROM nowhere; END;
        """)
    database.close()
    with capture_logs():
        for answer in (
            await api.admin.patch(f"{path}/key-servers/{server}", {"timeout": 9}),
            await api.admin.delete(f"{path}/key-servers/{server}"),
            await api.admin.post(f"{path}/key-servers", {"server": f"127.0.0.1:{sound_ports[1]}"}),
            await api.admin.delete(path),
        ):
            assert_error(answer, errors.INTERNAL_ERROR)
    recorded = [(record.code, record.svm) for record in (await api.audit())[before:]]
    assert recorded == [(str(errors.INTERNAL_ERROR.code), "vs0")] * 4


async def test_unreadable_accounts_are_500(api: Api, home: Path) -> None:
    """Nobody is let in, and nobody is told that the password was wrong."""
    destroy(home, "accounts")
    with capture_logs() as logs:
        assert_error(await api.admin.get(SVMS), errors.INTERNAL_ERROR)
    assert PASSWORD not in str(logs)


async def test_unreadable_key_servers_are_65536834(
    api: Api, pki: Pki, pykmip_servers: list[Program], home: Path
) -> None:
    """500 with its own code when accounts can be read but key servers cannot."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    destroy(home, "key_servers")
    path = f"/api/security/key-managers/{uuid}/key-servers"
    assert_error(await api.admin.get(path), errors.KEY_SERVERS_UNREADABLE)
    assert_error(await api.admin.get(f"{path}/a"), errors.KEY_SERVERS_UNREADABLE)
    assert_error(await api.admin.post(path, {"server": "a"}), errors.KEY_SERVERS_UNREADABLE)


async def test_a_refusal_stands_without_its_record(api: Api, home: Path) -> None:
    """When the audit log cannot be written the caller still gets the refusal."""
    destroy(home, "audit_records")
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


class Unwritable:
    """An audit log with a fault of its own."""

    async def refuse(self, call: Call, error: OntapError) -> None:
        """Fail in a way that is no StoreError."""
        raise RuntimeError(f"{CANARY} {call} {error}")

    async def answered(self, call: Call, error: OntapError | None) -> None:
        """Reads are not recorded."""


def failing(*events: object) -> ASGIApp:
    """Return an application that sends these messages or raises these exceptions, with a caller known."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        scope[CALLER] = Caller("admin", Role.ADMIN, "")
        for event in events:
            if isinstance(event, BaseException):
                raise event
            await send(event)  # type: ignore[arg-type]

    return app


async def test_a_fault_of_the_audit_log_changes_no_answer() -> None:
    """Log whatever it raises without its text, and answer the refusal."""
    client = AsgiClient(ErrorBoundary(failing(OntapError(errors.KEY_SERVER_LIMIT)), Unwritable()))  # type: ignore[arg-type]
    with capture_logs() as logs:
        assert_error(await client.post("/x"), errors.KEY_SERVER_LIMIT)
    assert [entry["event"] for entry in logs] == ["refusal not recorded"]
    assert CANARY not in str(logs)


async def test_an_answer_that_began_is_not_answered_again() -> None:
    """A call that is cancelled while its answer leaves is neither answered twice nor recorded as refused."""
    start = {"type": "http.response.start", "status": 201, "headers": []}
    body = {"type": "http.response.body", "body": b"{}"}
    app = failing(start, body, asyncio.CancelledError())
    with capture_logs() as logs:
        answer = await AsgiClient(ErrorBoundary(app, Unwritable())).post("/x")  # type: ignore[arg-type]
    assert (answer.status, answer.body, logs) == (201, {}, [])


async def test_a_client_that_left_gets_no_answer() -> None:
    """Nothing is sent or recorded for a request that was never complete."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    boundary = ErrorBoundary(failing(ClientGoneError()), Unwritable())  # type: ignore[arg-type]
    await boundary({"type": "http", "method": "POST", "headers": [], "raw_path": b"/x"}, send, send)  # type: ignore[arg-type]
    assert sent == []


async def test_servers_that_speak_lifespan_are_answered(api: Api) -> None:
    """A start and a stop pass through every layer."""
    incoming: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await create_app(api.services)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_refusal_names_its_svm(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Refusals about an SVM's key manager or certificate are recorded with the SVM, the cluster's with none."""
    await api.admin.post(SVMS, {"name": "vs0"})
    of_svm = await api.certificate("server_ca", pki.server_ca.pem, name="ca", svm={"name": "vs0"})
    server = pykmip_servers[0].address
    key_manager = await api.key_manager(pki, [server], svm={"name": "vs0"})
    path = f"/api/security/key-managers/{key_manager}/key-servers"
    again = {"type": "server_ca", "public_certificate": pki.server_ca.pem, "name": "ca", "svm": {"name": "vs0"}}
    for call in (
        api.admin.post(path, {"server": server}),
        api.admin.post(path, {"nonsense": 1}),
        api.admin.post("/api/security/certificates", again),
        api.admin.post(SVMS, {"name": "vs0"}),
    ):
        assert (await call).status in {400, 409}
    refusals = [(record.path, record.svm) for record in await api.audit() if record.state == "error"]
    assert refusals == [(path, "vs0"), (path, "vs0"), ("/api/security/certificates", "vs0"), (SVMS, "")]
    assert of_svm
