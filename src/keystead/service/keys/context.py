"""What work on stored copies needs: the keeper's ports, servers with their profiles, and copies with their attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.service.keys.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from keystead.core.keys.model import Attempt, Copy, Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.store import Clock, Store, Transaction


COPIES_PER_READ: Final = 256
"""Copies that are read from the database at a time."""


@dataclass(frozen=True, slots=True)
class KeeperContext:
    """What keeping works with. ``turn`` waits until one more key may be asked about: it caps the rate."""

    store: Store
    objects: KeyObjects
    endpoints: Endpoints
    clock: Clock
    node: str
    turn: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Site:
    """A server, configured or detached, and what is known of it."""

    server: KeyServer
    profile: ServerProfile | None


@dataclass(frozen=True, slots=True)
class Tracked:
    """A copy, the attempt that wrote it, and its key.

    ``primary`` is what the same attempt left on the server itself, if both rows were read.
    """

    copy: Copy
    attempt: Attempt
    key: Key
    primary: Copy | None = None


def topology_of(tx: Transaction, key_manager: str) -> ServerTopology | None:
    """Where a key manager's keys are kept; None for one that is gone."""
    manager = tx.key_manager(key_manager)
    return None if manager is None else load_topology(tx, manager)


def tracked(tx: Transaction, copies: Sequence[Copy]) -> list[Tracked]:
    """Copies with what they belong to."""
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
    """Copies by the address through which they were written."""
    found: dict[str, list[Tracked]] = {}
    for row in rows:
        found.setdefault(row.copy.host, []).append(row)
    return found


def slices(rows: Sequence[Tracked], size: int) -> Iterator[Sequence[Tracked]]:
    """Rows, so many at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
