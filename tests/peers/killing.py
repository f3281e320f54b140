"""A harness that ends a process in the middle of its work: at the n-th statement, commit or change of a file.

Run as a program it is a fork server: it has imported everything, and runs each job in a child of its own, which kills
itself at the point that the order names. :class:`Harness` is the way to it from a test.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a job ended: ``result`` is what it returned, or None when it was killed; ``points`` is where it could be."""

    result: Any
    points: list[str]

    @property
    def killed(self) -> bool:
        return self.result is None


class Harness:
    """The fork server's other side. Without ``statements`` a job can be killed at commits and changes of files only.

    A kill at another statement leaves what the kill at the next commit leaves: what was not committed is gone.
    """

    def __init__(self, *, statements: bool = True) -> None:
        self._statements = statements
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=120)

    def run(self, job: str, at: int | None = None, **arguments: Any) -> Outcome:
        """Run a job; kill it at the point of this number (the first is 0), if it comes so far."""
        assert self._server.stdin
        assert self._server.stdout
        order = {"job": job, "at": at, "statements": self._statements, "arguments": arguments}
        print(json.dumps(order), file=self._server.stdin, flush=True)
        return Outcome(**json.loads(self._server.stdout.readline()))


# --- in the child ----------------------------------------------------------------------------------------------------


class Points:
    """Counts the points as the work passes them, and ends the process at one of them. Armed once per process."""

    def __init__(self, at: int | None, *, statements: bool) -> None:
        self._at = at
        self._statements = statements
        self.passed: list[str] = []

    def arm(self, folder: str = "") -> None:
        """From now on every commit (and statement) is a point, and every change of a file below ``folder``."""
        from sqlalchemy import Engine, Pool, event

        def statement(_c: object, _cursor: object, text: str, *_: object) -> None:
            self._pass(f"statement {text.split(None, 1)[0]}")

        if self._statements:
            event.listen(Engine, "before_cursor_execute", statement)
        event.listen(Engine, "commit", lambda _: self._pass("commit"))
        event.listen(Pool, "checkin", lambda *_: self._pass("after the commit"))
        if folder:
            sys.addaudithook(self._file_hook(folder))

    def _file_hook(self, folder: str) -> Callable[[str, tuple[Any, ...]], None]:
        events = {"os.mkdir", "os.rename", "os.link", "os.remove"}

        def hook(name: str, arguments: tuple[Any, ...]) -> None:
            writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            if (name in events or writes) and str(arguments[0]).startswith(folder):
                self._pass(f"{name} {Path(str(arguments[0])).name}")

        return hook

    def _pass(self, label: str) -> None:
        if len(self.passed) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(label)


def initialise(points: Points, data: str, database: str) -> list[str]:
    """``keystead init``."""
    from keystead.app.initialise import initialise
    from keystead.settings import Settings

    points.arm(data)
    return initialise(Settings(data=Path(data), database=database), None, terminal=False)


def join(points: Points, data: str, url: str, token: str) -> list[str]:
    """``keystead init --join``."""
    from keystead.app.join import join
    from keystead.core.secret import Secret
    from keystead.settings import load

    points.arm(data)
    return join(load({"data": Path(data)}, {}), url, Secret(token), lambda _: None)


def copy_database(points: Points, data: str, database: str, to: str) -> list[str]:
    """``keystead db copy``."""
    from keystead.app.database_copy import copy_database
    from keystead.settings import Settings

    points.arm()
    return copy_database(Settings(data=Path(data), database=database), to, keep_source=False)


def add(points: Points, data: str, database: str, key_manager: str, servers: list[dict[str, Any]]) -> str:
    """Add key servers; "stored", or the code of the refusal."""
    from tests.peers.adding import new_key_server

    new = tuple(map(new_key_server, servers))
    return asyncio.run(_add(points, data, database, key_manager, new))


async def _add(points: Points, data: str, database: str, key_manager: str, new: Any) -> str:
    from tests.peers.adding import add, opened, outcome

    async with opened(data, database) as services:
        points.arm()
        return await outcome(add(services, key_manager, new))


def change(points: Points, data: str, database: str, key_manager: str, verb: str, fields: dict[str, Any]) -> str:
    """Modify or remove a key server; "stored", or the code of the refusal."""
    from tests.peers.adding import change, opened, outcome

    async def work() -> str:
        async with opened(data, database) as services:
            points.arm()
            return await outcome(change(services, key_manager, verb, fields))

    return asyncio.run(work())


def create(points: Points, data: str, database: str, new: dict[str, Any], servers: list[dict[str, Any]]) -> str:
    """Create a key manager with its servers; "stored", or the code of the refusal."""
    from tests.peers.adding import CALL, new_key_manager, new_key_server, opened, outcome

    async def work() -> str:
        async with opened(data, database) as services:
            points.arm()
            wanted = new_key_manager(new, [new_key_server(server) for server in servers])
            return await outcome(services.key_managers.create(CALL, wanted))

    return asyncio.run(work())


def create_key(points: Points, data: str, database: str, key_manager: str, name: str) -> str:
    """Create a key; "stored", or the code of the refusal."""
    from tests.peers.adding import outcome

    return asyncio.run(_with_key_node(points, data, database, lambda node: outcome(node.create(key_manager, name))))


def copy_key(points: Points, data: str, database: str, key: str, number: int, material: str) -> str:
    """Copy a key to the server of this number; "True" or "False"."""
    from keystead.core.secret import Secret
    from tests.service.worlds.keys import places_in

    async def copy(node: Any) -> str:
        found = await node.store.read(lambda tx: tx.key(key))
        places = await node.store.read(lambda tx: places_in(tx, found.key_manager))
        server = places.servers[number]
        return str(not await node.writer.copy_to(found, server, Secret(bytes.fromhex(material)), places))

    return asyncio.run(_with_key_node(points, data, database, copy))


async def _with_key_node(points: Points, data: str, database: str, work: Callable[[Any], Awaitable[str]]) -> str:
    from contextlib import AsyncExitStack

    from keystead.app.clock import SystemClock
    from keystead.app.opening import node_uuid
    from keystead.app.wiring import running
    from keystead.settings import Settings
    from tests.service.worlds.keys import key_node

    settings = Settings(data=Path(data), database=database)
    async with running(settings) as open_, AsyncExitStack() as stack:
        audit, uuid = open_.services.audit, node_uuid(settings.data)
        node = key_node(stack, open_.store, open_.sealer, audit, SystemClock(), uuid)
        points.arm()
        return await work(node)


JOBS: dict[str, Callable[..., Any]] = {
    "initialise": initialise,
    "join": join,
    "copy_database": copy_database,
    "add": add,
    "change": change,
    "create": create,
    "create_key": create_key,
    "copy_key": copy_key,
}


IMPORTED_ONCE = (
    "keystead.app.database_copy",
    "keystead.app.initialise",
    "keystead.app.join",
    "keystead.store.upgrade",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.peers.adding",
    "tests.service.worlds.keys",
)


def main() -> None:
    """Serve orders, a line each, until the end of standard input."""
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            points = Points(order["at"], statements=order["statements"])
            result = JOBS[order["job"]](points, **order["arguments"])
            print(json.dumps({"result": result, "points": points.passed}), flush=True)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status == -signal.SIGKILL:
            print(json.dumps({"result": None, "points": []}), flush=True)
        elif status:
            raise SystemExit(f"a job ended with status {status}")


if __name__ == "__main__":
    main()
