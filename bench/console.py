"""The console's first page over 200 key managers with 800 key servers and 2,000 keys, in this process.

The node saw every key server; one of eighty is lost. Nothing watches them while it is measured.
"""

from __future__ import annotations

import asyncio
import gzip
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_OID, uuid5

import uvloop

from bench.row import Row
from keystead.api.app import create_app
from keystead.app.initialise import initialise
from keystead.app.wiring import running
from keystead.core.keys.model import Attempt, AttemptState, Copy, Key, KeyState, KeyType, Presence, Purpose
from keystead.core.keys.names import key_id
from keystead.core.model import KeyManager, KeyServer, Observation, PeerCertificate, State, Svm
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.settings import Settings
from keystead.web.app import with_console
from keystead.web.security import COOKIE
from tests.peers.asgi import AsgiClient
from tests.peers.keystead import PASSWORD
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from keystead.service.ports.store import Store, Transaction
    from tests.peers.asgi import Response

    Write = Callable[[int, Transaction], None]

MANAGERS: Final = 200
SERVERS: Final = 4
KEYS: Final = 10
PAGES: Final = 15
FIRST_RECORD: Final = 1_000_000
LOST: Final = 80
"""One key server of so many is lost."""

_NOW: Final = datetime.now(UTC)


def overview_cpu() -> Row:
    """CPU of one first page."""
    seconds, _ = _measured({})
    return Row(seconds * 1000, "ms", 50, "lower", f"{MANAGERS} key managers, {MANAGERS * SERVERS} key servers")


def overview_poll_cpu() -> Row:
    """CPU of one poll of an open first page, which finds nothing new."""
    seconds, answer = _measured({"x-poll": "1"})
    assert answer.status == 304
    return Row(seconds * 1000, "ms", 15, "lower", f"{MANAGERS} key managers, {MANAGERS * SERVERS} key servers")


def overview_audited_cpu() -> Row:
    """CPU of one first page after an audit record."""
    seconds, _ = _measured({}, write=_audit)
    return Row(seconds * 1000, "ms", 50, "lower", "after an audit record")


def overview_audited_poll_cpu() -> Row:
    """CPU of one poll after an audit record, which finds nothing new."""
    seconds, answer = _measured({"x-poll": "1"}, write=_audit)
    assert answer.status == 304
    return Row(seconds * 1000, "ms", 15, "lower", "after an audit record")


def overview_observed_cpu() -> Row:
    """CPU of one first page after another observation of one key server."""
    seconds, _ = _measured({}, write=_observe)
    return Row(seconds * 1000, "ms", 50, "lower", "after another observation of one key server")


def overview_rekeyed_cpu() -> Row:
    """CPU of one first page after a key was created."""
    seconds, _ = _measured({}, write=_create)
    return Row(seconds * 1000, "ms", None, "lower", "after a new key: all keys are counted again")


def overview_size() -> Row:
    """Bytes of the first page, compressed as a proxy would."""
    _, answer = _measured({}, pages=1)
    size = len(gzip.compress(answer.content))
    return Row(size / 1000, "kB", 60, "lower", f"not compressed: {len(answer.content) / 1000:.0f} kB")


def _measured(headers: dict[str, str], pages: int = PAGES, write: Write | None = None) -> tuple[float, Response]:
    """Return the median CPU seconds of a page and the last answer. A poll has the tag of the page before.

    ``write`` is committed before each page, and not measured. It gets the number of the page.
    """
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        settings = Settings(data=Path(name) / "data")
        initialise(settings, f"{PASSWORD}\n".encode(), terminal=False)
        return runner.run(_measure(settings, headers, pages, write))


async def _measure(
    settings: Settings, headers: dict[str, str], pages: int, write: Write | None
) -> tuple[float, Response]:
    async with _console(settings) as (client, cookie, store):
        sent: dict[str, str | None] = {"accept": "text/html", "authorization": None, "cookie": cookie, **headers}
        answer = await client("GET", "/", headers=sent)
        assert answer.status == 200, answer.content
        if headers:
            sent["if-none-match"] = answer.headers["etag"]
        times = []
        for number in range(pages):
            if write:
                await store.write(partial(write, number))
            began = time.process_time()
            answer = await client("GET", "/", headers=sent)
            times.append(time.process_time() - began)
    return statistics.median(times), answer


@asynccontextmanager
async def _console(settings: Settings) -> AsyncIterator[tuple[AsgiClient, str, Store[Transaction]]]:
    """Run a console over a filled database, and yield a client with the cookie of a session, and the database."""
    async with running(settings) as open_:
        await open_.store.write(_fill)
        token = await open_.services.sessions.begin("admin", Secret(PASSWORD), "127.0.0.1")
        app = create_app(open_.services, pages=lambda api: with_console(api, open_.services))
        yield AsgiClient(app), f"{COOKIE}={token}", open_.store


def _audit(number: int, tx: Transaction) -> None:
    (node,) = tx.nodes()
    index = FIRST_RECORD + number
    tx.add_audit_records([samples.audit_record(index, node.uuid)], samples.audit_head(index, node.uuid))


def _observe(number: int, tx: Transaction) -> None:
    (seen,) = tx.observations([_uuid(_uuid("manager", 1), 1)])
    tx.put_observations([replace(seen, latency_ms=10 + number)], new=False)


def _create(number: int, tx: Transaction) -> None:
    manager = tx.key_manager(_uuid("manager", 1))
    assert manager
    _add_key(tx, manager, [], tx.nodes()[0].uuid, KEYS + number)


def _fill(tx: Transaction) -> None:
    (node,) = tx.nodes()
    for number in range(MANAGERS):
        svm = Svm(_uuid("svm", number), f"svm{number:03}")
        manager = KeyManager(_uuid("manager", number), svm, True, _uuid("certificate", 0), ())  # noqa: FBT003
        servers = [_server(manager, position) for position in range(1, SERVERS + 1)]
        tx.add_svm(svm)
        tx.add_key_manager(manager)
        tx.add_key_servers(servers)
        seen = [_seen(node.uuid, each, number * SERVERS + at) for at, each in enumerate(servers)]
        tx.put_observations(seen, new=True)
        for key in range(KEYS):
            _add_key(tx, manager, servers, node.uuid, key)


def _server(manager: KeyManager, position: int) -> KeyServer:
    address = ServerAddress.parse(f"ks{position}.{manager.uuid[:8]}.example.com")
    return KeyServer(_uuid(manager.uuid, position), manager.uuid, position, address, 25, 10, "", ())


def _seen(node: str, server: KeyServer, number: int) -> Observation:
    shown = PeerCertificate(server.address.host, "Key Server CA", f"{number:040X}", _NOW + timedelta(days=20 + number))
    if number % LOST:
        return Observation(
            node, server.uuid, "", State.AVAILABLE, _NOW, certificates=(shown,), latency_ms=3, keys_visible=True
        )
    reason = "connection_refused"
    return Observation(node, server.uuid, "", State.NOT_RESPONDING, _NOW, "connect", reason, (shown,))


def _add_key(tx: Transaction, manager: KeyManager, servers: list[KeyServer], node: str, number: int) -> None:
    uuid = _uuid(f"key {manager.uuid}", number)
    name = f"vol{number}"
    id_ = key_id(KeyType.VEK, uuid)
    tx.add_key(
        Key(uuid, id_, manager.uuid, manager.svm, name, "", KeyType.VEK, KeyState.COMMITTED, 64, _NOW, committed=_NOW)
    )
    tx.add_attempt(Attempt(uuid, 1, Purpose.CREATE, "", "", node, AttemptState.COMMITTED, _NOW, _NOW))
    copies = [
        Copy(uuid, 1, each.uuid, Presence.PRESENT, unique_identifiers=(uuid,), written=_NOW, proven=_NOW)
        for each in servers
    ]
    tx.put_copies(copies, new=True)


def _uuid(kind: str, number: int) -> str:
    return str(uuid5(NAMESPACE_OID, f"{kind} {number}"))


ROWS = {
    "overview_cpu": overview_cpu,
    "overview_poll_cpu": overview_poll_cpu,
    "overview_audited_cpu": overview_audited_cpu,
    "overview_audited_poll_cpu": overview_audited_poll_cpu,
    "overview_observed_cpu": overview_observed_cpu,
    "overview_rekeyed_cpu": overview_rekeyed_cpu,
    "overview_size": overview_size,
}
