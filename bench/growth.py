"""What a key manager of 100,000 keys costs, against one of 1,000, on SQLite and PostgreSQL: CPU of this process.

Four key servers give canned answers, in processes of their own. The rows of the keys are stored in bulk and analysed.
Each engine is measured once, for all of its rows: making the keys takes longer than measuring.
"""

from __future__ import annotations

import contextlib
import time
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import uvloop

from bench.keys import CALL, Home, home
from bench.row import Row
from keystead.api.app import create_app
from keystead.core.keys.creating import NewKey
from keystead.store.opening import open_database
from tests.peers.asgi import AsgiClient
from tests.peers.keystead import PASSWORD
from tests.peers.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from keystead.app.wiring import Running

    Work = Callable[[], Awaitable[object]]

FEW, MANY = 1_000, 100_000
SERVERS = 4
TIMES = 5


class Budget(NamedTuple):
    """What a piece of work may cost at :data:`MANY` keys: milliseconds, or a multiple (x) of its cost at few."""

    most: float
    unit: str


BUDGETS = {
    "page": Budget(1.5, "x"),
    "by_create_time": Budget(1.5, "x"),
    "by_name": Budget(1.5, "x"),
    "create": Budget(1.2, "x"),
    "count": Budget(10, "ms"),
    "survival": Budget(300, "ms"),
    "quiet_round": Budget(1000, "ms"),
}


def cost(engine: str, what: str) -> Row:
    """CPU of one piece of work with many keys."""
    few, many = (costs[what] for costs in _costs(engine))
    most, unit = BUDGETS[what]
    against = f"{FEW:,} keys {few:.1f} ms, {MANY:,} keys {many:.1f} ms"
    return Row(many / few if unit == "x" else many, unit, most, "lower", against)


ROWS: dict[str, Callable[[], Row]] = {
    f"growth_{engine}_{what}": partial(cost, engine, what) for engine in ("sqlite", "postgresql") for what in BUDGETS
}


@cache
def _costs(engine: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the CPU milliseconds of each piece of work, with few keys and with many."""
    with _homes(engine) as (few, many):
        return uvloop.run(_measured(few)), uvloop.run(_measured(many))


@contextlib.contextmanager
def _homes(engine: str) -> Iterator[list[Home]]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server(None)) if engine == "postgresql" else None
        urls = [stack.enter_context(server.database()) if server else "" for _ in (FEW, MANY)]
        made = [
            stack.enter_context(home(size, SERVERS, database=url)) for size, url in zip((FEW, MANY), urls, strict=True)
        ]
        for each in made:
            database = open_database(each.settings.database_url)
            with database.writer.begin() as connection:
                connection.exec_driver_sql("ANALYZE")
            database.dispose()
        yield made


async def _measured(made: Home) -> dict[str, float]:
    async with made.node() as open_:
        rounds = open_.keys.keeper._rounds
        async with rounds.holding() as holding:
            assert holding is not None
            works = await _works(made, open_) | {"quiet_round": lambda: rounds.keep(holding, made.manager)}
            return {what: await _least_cpu(work) for what, work in works.items()}


async def _works(made: Home, open_: Running) -> dict[str, Work]:
    client = AsgiClient(create_app(open_.services), "admin", PASSWORD)
    path = f"/api/security/key-managers/{made.manager}/volume-keys"

    async def get(query: str) -> list[dict[str, str]]:
        answer = await client.get(f"{path}?{query}")
        assert answer.status == 200, answer.content
        return list(answer.body.get("records", ()))

    (newest,) = await get("max_records=1&fields=name")
    page = "max_records=100&fields=*"
    return {
        "page": lambda: get(page),
        "by_create_time": lambda: get(f"{page}&order_by=create_time"),
        "by_name": lambda: get(f"{page}&name={quote(newest['name'])}"),
        "create": lambda: open_.keys.writer.create(CALL, made.manager, NewKey(f"new {uuid4()}")),
        "count": lambda: get("return_records=false"),
        "survival": lambda: open_.keys.survival.survival(CALL, made.manager),
    }


async def _least_cpu(work: Work) -> float:
    """Return the milliseconds of the cheapest of some runs, of all threads."""
    spent = []
    for _ in range(TIMES):
        began = time.process_time()
        await work()
        spent.append(time.process_time() - began)
    return min(spent) * 1000
