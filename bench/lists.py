"""Lists of key managers through the REST face, in this process, over databases of 1,000 and of 100,000.

Each has an SVM, a certificate's name to look up, a server CA and a key server; nothing watches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from sqlalchemy import insert

from bench.row import Row
from keystead.api.app import create_app
from keystead.app.initialise import initialise
from keystead.app.wiring import running
from keystead.settings import Settings
from keystead.store import tables
from keystead.store.opening import open_database
from tests.peers.asgi import AsgiClient
from tests.peers.keystead import PASSWORD
from tests.peers.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

FEW, MANY = 1_000, 100_000
LISTS = 60
STEP = 10_000  # rows written at a time
LIST = "/api/security/key-managers?enabled=true&order_by=svm.name&fields=*&max_records=100"
_CERTIFICATE = "00000000-0000-4000-8000-000000000001"


def list_of_many(engine: str) -> Row:
    """Time of the first 100 key managers of 100,000, filtered and ordered, as a multiple of that of 1,000."""
    with _databases(engine) as urls, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        few, many = runner.run(_alternating(*urls))
    against = f"100 of {FEW:,} ({few * 1000:.1f} ms)"
    return Row(many / few, "x", 1.5, "lower", against)


def pages_of_many(engine: str) -> Row:
    """Time of the last pages of 100,000 ordered key managers, as a multiple of that of the first."""
    with _databases(engine, (MANY,)) as (settings,), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        first, last = runner.run(_pages(settings))
    return Row(last / first, "x", 1.5, "lower", f"the first pages of 1,000 ({first * 1000:.0f} ms)")


@contextlib.contextmanager
def _databases(engine: str, sizes: tuple[int, ...] = (FEW, MANY)) -> Iterator[list[Settings]]:
    """Make data directories whose databases hold so many key managers."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres_server(None)) if engine == "postgresql" else None
        made = []
        for size in sizes:
            database = stack.enter_context(server.database()) if server else ""
            settings = Settings(data=folder / str(size), database=database)
            initialise(settings, f"{PASSWORD}\n".encode(), terminal=False)
            _fill(settings.database_url, size)
            made.append(settings)
        yield made


def _fill(url: str | Path, size: int) -> None:
    database = open_database(url)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    texts = ("public_certificate", "ca", "serial_number", "hash_function", "authority_key_identifier")
    certificate = dict.fromkeys((*texts, "subject_key_identifier", "common_name", "name"), "text")
    certificate |= {"uuid": _CERTIFICATE, "owner": "", "type": "client"}
    with database.writer.begin() as connection:
        connection.execute(
            insert(tables.certificates), certificate | {"not_before": now, "expiry_time": now, "key_size": 256}
        )
        for start in range(0, size, STEP):
            for table, row in _ROWS.items():
                connection.execute(insert(table), [row(number) for number in range(start, min(start + STEP, size))])
    if database.row_locks:  # PostgreSQL would do so by itself within a minute; SQLite has no statistics
        with database.writer.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    database.dispose()


def _uuid(kind: str, number: int) -> str:
    # Not in the order of the names: a shuffled order is the honest one.
    return f"{number * 2_654_435_761 % 2**32:08x}-0000-4000-8000-{kind * 12}"


_ROWS: dict[Any, Callable[[int], dict[str, Any]]] = {
    tables.svms: lambda number: {"uuid": _uuid("a", number), "name": f"vs{number:06}"},
    tables.key_managers: lambda number: {
        "uuid": _uuid("b", number),
        "owner": _uuid("a", number),
        "svm_uuid": _uuid("a", number),
        "enabled": int(number % 10 != 0),
        "client_certificate": _CERTIFICATE,
    },
    tables.key_manager_server_cas: lambda number: {
        "key_manager": _uuid("b", number),
        "position": 0,
        "certificate": _CERTIFICATE,
    },
    tables.key_servers: lambda number: {
        "uuid": _uuid("c", number),
        "key_manager": _uuid("b", number),
        "position": 1,
        "host": "10.0.0.1",
        "port": 5696,
        "address_key": "10.0.0.1:5696",
        "timeout": 25,
        "create_remove_timeout": 10,
        "username": "",
    },
}


@contextlib.asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator[AsgiClient]:
    async with running(settings) as open_:
        yield AsgiClient(create_app(open_.services), "admin", PASSWORD)


async def _alternating(few: Settings, many: Settings) -> tuple[float, float]:
    """Median seconds of one list of each, taken in turns."""
    times: tuple[list[float], list[float]] = [], []
    async with _client(few) as small, _client(many) as large:
        for _ in range(LISTS):
            for client, into in zip((small, large), times, strict=True):
                seconds, body = await _timed(client, LIST)
                assert body["num_records"] == 100, body
                into.append(seconds)
    return statistics.median(times[0]), statistics.median(times[1])


async def _pages(settings: Settings) -> tuple[float, float]:
    """Median seconds of one of the first and one of the last pages of 1,000, taken in turns, having seen all."""
    urls: list[str] = []
    url: str | None = LIST.replace("enabled=true&", "").replace("max_records=100", "max_records=1000")
    counted = 0
    async with _client(settings) as client:
        while url:
            urls.append(url)
            _, body = await _timed(client, url)
            counted += body["num_records"]
            url = body["_links"].get("next", {}).get("href")
        assert counted == MANY, counted
        turns = [
            (await _timed(client, early), await _timed(client, late))
            for early, late in zip(urls[:20], urls[-20:], strict=True)
        ]
    return statistics.median(early for (early, _), _ in turns), statistics.median(late for _, (late, _) in turns)


async def _timed(client: AsgiClient, url: str) -> tuple[float, Any]:
    started = time.perf_counter()
    answer = await client.get(url)
    seconds = time.perf_counter() - started
    assert answer.status == 200, answer.content
    return seconds, answer.body


ROWS = {
    f"{name}_{engine}": partial(measure, engine)
    for engine in ("sqlite", "postgresql")
    for name, measure in (("list_of_many", list_of_many), ("pages_of_many", pages_of_many))
}
