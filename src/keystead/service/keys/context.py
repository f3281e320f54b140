"""The context of work on stored copies: ports, servers with their profiles, copies with their attempts and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from keystead.service.keys.topology import load_topology
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, KeyRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from keystead.core.keys.model import Attempt, Copy, Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.audit.log import AuditLog
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction

T = TypeVar("T")

COPIES_PER_READ: Final = 256
"""How many rows one read from the database returns at most."""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class KeeperContext:
    """The ports of the work with keys.

    ``turn`` limits the keeper's rate: it waits until servers may be asked about one more key. ``copies_per_read`` is
    how many rows a settlement or a sweep reads at a time.
    """

    store: Store[Transaction]
    objects: KeyObjects
    endpoints: Endpoints
    clock: Clock
    node: str
    turn: Callable[[], Awaitable[None]]
    audit: AuditLog
    copies_per_read: int = COPIES_PER_READ


@dataclass(frozen=True, slots=True)
class Site:
    """A key server, configured or detached, and its profile; None if the server was not learned."""

    server: KeyServer
    profile: ServerProfile | None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A copy, the attempt that wrote it, and its key.

    ``primary`` is the row of the same attempt on the primary of the same server, or None if that row was not read.
    """

    copy: Copy
    attempt: Attempt
    key: Key
    primary: Copy | None = None


def topology_of(tx: Rows, key_manager: str) -> ServerTopology | None:
    """Return the topology of a key manager (uuid) as it is now, or None if the key manager was deleted.

    Called at the beginning of the keeper's steps and of a replication job. After None they do nothing.
    """
    manager = tx.key_manager(key_manager)
    return None if manager is None else load_topology(tx, manager)


def tracked(tx: Rows, copies: Sequence[Copy]) -> list[Tracked]:
    """Return each copy with its attempt and its key, in the same order.

    ``primary`` is set only if the row of the primary is among ``copies``, too. Called whenever copies were read that
    are then looked at or destroyed on their servers.
    """
    uuids = {copy.key for copy in copies}
    keys = {key.uuid: key for key in tx.keys(uuids)}
    attempts = {(attempt.key, attempt.number): attempt for attempt in tx.attempts(uuids)}
    primaries = {(copy.key, copy.attempt, copy.key_server): copy for copy in copies if not copy.host}
    return [
        Tracked(
            copy,
            attempts[copy.key, copy.attempt],
            keys[copy.key],
            primaries.get((copy.key, copy.attempt, copy.key_server)),
        )
        for copy in copies
    ]


def by_host(rows: Iterable[Tracked]) -> dict[str, list[Tracked]]:
    """Group copies by ``host``, the address through which they were written: empty for the primary.

    Called so that each address is visited once for all its copies.
    """
    found: dict[str, list[Tracked]] = {}
    for row in rows:
        found.setdefault(row.copy.host, []).append(row)
    return found


def slices(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the rows in slices of at most ``size``. Called to ask a server about a limited number at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
