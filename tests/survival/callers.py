"""Callers of three nodes at once, who note what they did and were told."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self

import click

from keystead.cli.client import Api, Refused
from keystead.cli.login import Login
from keystead.core.errors.common import INTERNAL_ERROR, OUTCOME_UNKNOWN
from keystead.testing.tour import KEY_READER
from tests.survival.history import History, Kind, Outcome, check
from tests.survival.nodes import OFFLINE_READS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.survival.history import Operation
    from tests.survival.nodes import Node, Trouble

READER: Final = str(KEY_READER["name"])
CALLERS: Final = 4
PAUSE_S: Final = 0.08
ANSWER_S: Final = 20
"""How long a caller waits. What it asked for may happen later."""
ABSENT: Final = "4"
"""The code for what is not there. It is an answer about the key, which no trouble excuses."""


class Callers:
    """Threads that use the keys and key servers of one key manager by all nodes, until the block ends.

    ``servers`` are the addresses that may be key servers, the first ``most`` of which are.
    """

    def __init__(
        self, nodes: Sequence[Node], key_manager: str, servers: Sequence[str], most: int, trouble: Trouble
    ) -> None:
        self.history = History(time.monotonic, late=True)
        self.unexpected: list[str] = []
        self._nodes, self._servers, self._trouble = nodes, servers, trouble
        self._path = f"/security/key-managers/{key_manager}"
        self._names: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        for server in servers[:most]:
            with self.history.operation(Kind.ADD_SERVER, server) as operation:
                operation.ok()

    @contextlib.contextmanager
    def calling(self, seed: int) -> Iterator[Self]:
        """Have them call until the block ends."""
        threads = [
            threading.Thread(target=self._work, args=(Random(f"{seed} {number}"),), daemon=True)  # noqa: S311 - no secret
            for number in range(CALLERS)
        ]
        for each in threads:
            each.start()
        try:
            yield self
        finally:
            self._ending.set()
            for each in threads:
                each.join()

    def look_over(self) -> None:
        """Read all keys and key servers by each node."""
        for node in self._nodes:
            with Connections(node) as connections:
                self._list_servers(connections)
                listed = connections.admin.records(f"{self._path}/volume-keys", fields="name")
                names = {each["key_id"]: each["name"] for each in listed}
                for key, name in (names | self._names).items():
                    self._read(connections, key, name)

    def verdict(self) -> list[str]:
        """Return what is wrong, a line each."""
        return [*check(self.history.operations, OFFLINE_READS_S), *self.unexpected]

    def count(self) -> str:
        """Return how many operations of which kind had which outcome."""
        counted = Counter((each.kind, each.outcome) for each in self.history.operations)
        kinds = dict.fromkeys(kind for kind, _ in counted)
        return "; ".join(
            f"{kind}: {', '.join(f'{counted[kind, each]} {each}' for each in Outcome if counted[kind, each])}"
            for kind in kinds
        )

    def _work(self, random: Random) -> None:
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(Connections(node)) for node in self._nodes]
            while not self._ending.wait(random.uniform(0, 2 * PAUSE_S)):
                (do,) = random.choices([each for each, _ in self._WHAT], [weight for _, weight in self._WHAT])
                do(self, random.choice(connections), random)

    # --- what they do ---

    def _create(self, connections: Connections, _: Random) -> None:
        name = f"vol{next(self._numbers)}"
        with self._noting(Kind.CREATE, connections, name) as operation:
            (made,) = connections.admin.create(f"{self._path}/volume-keys", {"name": name})
            operation.ok(key=made["key_id"])
            self._names[made["key_id"]] = name

    def _read_one(self, connections: Connections, random: Random) -> None:
        if self._names:
            key, name = random.choice(list(self._names.items()))
            self._read(connections, key, name)

    def _read(self, connections: Connections, key: str, name: str) -> None:
        with self._noting(Kind.READ, connections, name, key) as operation:
            found = connections.reader.call("POST", f"{self._path}/volume-keys/{key}/retrieve")
            operation.ok(material=found["material"].encode())

    def _retire(self, connections: Connections, random: Random) -> None:
        if self._names:
            key, name = random.choice(list(self._names.items()))
            with self._noting(Kind.RETIRE, connections, name, key) as operation:
                connections.admin.call("DELETE", f"{self._path}/volume-keys/{key}")
                operation.ok()

    def _recover(self, connections: Connections, random: Random) -> None:
        retired = [each for each in self.history.operations if each.kind is Kind.RETIRE and each.may_have_happened]
        if retired:
            of = random.choice(retired)
            with self._noting(Kind.RECOVER, connections, of.name, of.key) as operation:
                connections.admin.call("PATCH", f"{self._path}/volume-keys/{of.key}", {"state": "committed"})
                operation.ok()

    def _add_server(self, connections: Connections, random: Random) -> None:
        server = random.choice(self._servers)
        with self._noting(Kind.ADD_SERVER, connections, server) as operation:
            connections.admin.call("POST", f"{self._path}/key-servers", {"server": server})
            operation.ok()

    def _remove_server(self, connections: Connections, random: Random) -> None:
        server = random.choice(self._servers)
        with self._noting(Kind.REMOVE_SERVER, connections, server) as operation:
            connections.admin.call("DELETE", f"{self._path}/key-servers/{server}")
            operation.ok()

    def _see_servers(self, connections: Connections, _: Random) -> None:
        self._list_servers(connections)

    def _list_servers(self, connections: Connections) -> None:
        with self._noting(Kind.SERVERS, connections) as operation:
            listed = connections.admin.records(f"{self._path}/key-servers")
            operation.servers = frozenset(each["server"] for each in listed)
            operation.ok()

    _WHAT: Final[Sequence[tuple[Callable[[Callers, Connections, Random], None], int]]] = (
        (_read_one, 50),
        (_create, 20),
        (_retire, 8),
        (_recover, 8),
        (_see_servers, 6),
        (_add_server, 4),
        (_remove_server, 4),
    )
    """What callers do, and how often."""

    @contextlib.contextmanager
    def _noting(self, kind: Kind, connections: Connections, name: str = "", key: str = "") -> Iterator[Operation]:
        """Note an operation with what the block is told."""
        before = self._trouble.mark()
        with self.history.operation(kind, name, key) as operation:
            absent = False
            try:
                yield operation
            except Refused as refused:
                if refused.message == INTERNAL_ERROR.text:
                    self.unexpected.append(f"an unexpected error: {operation} by {connections.name}")
                elif refused.message != OUTCOME_UNKNOWN.text:
                    operation.failed()
                absent = refused.error.get("code") == ABSENT
                operation.said = refused.message
            except click.ClickException as gone:
                operation.said = str(gone.message)
                connections.renew()
            calm = before is not None and before == self._trouble.mark()
            operation.guaranteed, operation.alone = calm or absent, not calm
            operation.by = connections.name


class Connections:
    """The connections of one caller to one node: as administrator, and as reader of keys."""

    def __init__(self, node: Node) -> None:
        self.name = node.name
        self._node = node
        self._made: dict[str, Api] = {}

    @property
    def admin(self) -> Api:
        """The administrator's."""
        return self._connection(self._node.service.user)

    @property
    def reader(self) -> Api:
        """The reader's."""
        return self._connection(READER)

    def renew(self) -> None:
        """Close them. Others are made when they are needed."""
        while self._made:
            self._made.popitem()[1].__exit__()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.renew()

    def _connection(self, user: str) -> Api:
        if user not in self._made:
            service: Any = self._node.service
            self._made[user] = Api(Login(service.url, user, service.ca, service.password), timeout_s=ANSWER_S)
        return self._made[user]
