"""What callers are told while PostgreSQL is away, and while its network drops every packet."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url
from structlog.testing import capture_logs

from keystead.api.app import create_app
from keystead.app.initialise import initialise
from keystead.app.wiring import running
from keystead.core import errors
from keystead.settings import Settings
from keystead.store import outage
from keystead.web.app import with_console
from keystead.web.security import COOKIE
from tests.peers.asgi import AsgiClient
from tests.peers.database_link import SOCKET
from tests.peers.keystead import PASSWORD
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from tests.peers.asgi import Response
    from tests.peers.postgres import PostgresServer
    from tests.peers.proxy import Network

ANSWER_S = 5.0
BROWSER = {"accept": "text/html", "authorization": None}
ANONYMOUS = {"authorization": None}


@asynccontextmanager
async def service(postgres: PostgresServer, data: Path) -> AsyncIterator[tuple[AsgiClient, Network]]:
    """Run a service with the console on a database behind a network of its own."""
    with postgres.database() as url, proxy(str(postgres.folder / "socket" / SOCKET)) as (port, network):
        settings = Settings(
            data=data, database=f"postgresql+psycopg://keystead@127.0.0.1:{port}/{make_url(url).database}"
        )
        await asyncio.to_thread(initialise, settings, f"{PASSWORD}\n".encode(), terminal=False)
        async with running(settings) as open_:
            yield AsgiClient(with_console(create_app(open_.services), open_.services), "admin", PASSWORD), network
            network.heal()


async def timed(call: Awaitable[Response]) -> Response:
    """Return an answer that comes in time."""
    began = time.monotonic()
    answer = await call
    assert time.monotonic() - began < ANSWER_S
    return answer


@pytest.mark.parametrize(("fault", "patience_s"), [("reset", 1.0), ("drop", outage.PATIENCE_S)], ids=["reset", "drop"])
async def test_every_answer_comes_in_time_and_says_that_nothing_was_changed(
    postgres: PostgresServer, tmp_path: Path, fault: str, patience_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, with the seconds after which to send the same call again. When the database is back, that works."""
    monkeypatch.setattr(outage, "PATIENCE_S", patience_s)
    async with service(postgres, tmp_path / "home") as (client, network):
        made = await client.post("/api/svm/svms", {"name": "vs0"})
        path = made.headers["location"]
        with capture_logs():
            network.fail(fault)
            answers = await asyncio.gather(
                timed(client.post("/api/svm/svms", {"name": "vs1"})),
                timed(client.delete(path)),
                timed(client.get("/api/svm/svms")),
                timed(client.get("/", headers=BROWSER | {"cookie": f"{COOKIE}=session"})),
                *[timed(client.patch(path, {"name": f"other{number}"})) for number in range(8)],
            )
            late = await timed(client.post("/api/svm/svms", {"name": "vs1"}))
        for answer in (*answers, late):
            assert (answer.status, answer.headers["retry-after"]) == (errors.STORAGE_FAILED.status, "1"), answer
        ready = [await timed(client.get(page, headers=ANONYMOUS)) for page in ("/readyz", "/readyz/reads")]
        assert [(each.status, each.content) for each in ready] == [
            (503, b"not ready: the database does not answer\n"),
            (200, b"ready\n"),
        ]
        network.heal()
        await asyncio.sleep(outage.PAUSE_S)
        listed = await client.get("/api/svm/svms")
        assert [record["name"] for record in listed.body["records"]] == ["vs0"]
        assert (await client.post("/api/svm/svms", {"name": "vs1"})).status == 201
        assert (await client.get("/readyz", headers=ANONYMOUS)).status == 200
