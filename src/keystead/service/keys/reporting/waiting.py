"""List the work on copies that waits: copies to settle, objects to destroy, and for what each of them waits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.away import away
from keystead.core.keys.destroying import may_arrive, not_written
from keystead.core.keys.epoch_markers import EpochMarkerState
from keystead.core.keys.model import KeyState, Presence
from keystead.core.keys.waiting import Hindrances, WaitingCopy, destroying, purging, settling
from keystead.service.loading import incarnation_of, require_key_manager
from keystead.service.ports.cluster import IncarnationRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, KeyServerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, EpochMarkerRows, KeyRows, ReceiptRows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from keystead.core.keys.model import Copy
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

MOST: Final = 1000
"""How many copies of each kind are listed at most."""


class Rows(
    KeyRows,
    AttemptRows,
    CopyRows,
    ReceiptRows,
    EpochMarkerRows,
    DetachedRows,
    KeyManagerRows,
    KeyServerRows,
    IncarnationRows,
    NodeRows,
    ObservationRows,
    Protocol,
):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class WaitingView:
    """A copy with work that waits, and the address of its primary key server."""

    of: WaitingCopy
    server: str


class WaitingWork:
    """The work on copies that waits, by key manager."""

    def __init__(self, store: Store[Rows], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, call: Call, key_manager: str) -> tuple[WaitingView, ...]:
        """Return the copies with work that waits, the oldest first. Raises 4 (404) if the call may not see it.

        A call that is confined to an SVM gets those of its keys. No key server is asked.
        """

        def read(tx: Rows) -> tuple[WaitingView, ...]:
            manager = require_key_manager(tx, call, key_manager)
            servers = tx.key_servers(manager.uuid)
            detached = [each.server for each in tx.detached_key_servers(manager.uuid)]
            gone = set(away(servers, tx.observations([each.uuid for each in servers]), tx.nodes()))
            gone |= {each.uuid for each in detached}
            addresses = {each.uuid: str(each.address) for each in (*servers, *detached)}
            waiting = _waiting(tx, manager.uuid, list(addresses), gone, self._clock.now())
            found = [each for each in waiting if call.sees(each.key.svm)]
            found.sort(key=lambda each: (each.since, each.copy.key, each.copy.attempt, each.copy.key_server))
            return tuple(WaitingView(each, addresses.get(each.copy.key_server, "")) for each in found)

        return await self._store.read(read)


def _waiting(tx: Rows, key_manager: str, servers: list[str], gone: set[str], now: datetime) -> Iterator[WaitingCopy]:
    """Yield the copies with work that waits. ``gone`` are the servers (uuids) that cannot be asked now."""
    incarnation = incarnation_of(tx)
    hindrances = Hindrances(gone, _unmarked(tx, servers), destroys=incarnation.destroys)
    unsettled = [
        copy for server in servers for copy in tx.open_copies(server, "", MOST, inactive=False, undescribed=False)
    ]
    aborted = tx.aborted_copies(key_manager, incarnation.uuid, "", MOST)
    ending = tx.keys_in(key_manager, (KeyState.PURGING,), "", MOST)
    left = _left(tx, [key.uuid for key in ending])
    uuids = sorted({copy.key for copy in (*unsettled, *aborted, *left)})
    keys = {key.uuid: key for key in (*tx.keys(uuids), *ending)}
    attempts = {(each.key, each.number): each for each in tx.attempts(uuids)}
    absent = not_written(tx.receipts(uuids))

    def arriving(copy: Copy) -> bool:
        return may_arrive(copy, attempts[copy.key, copy.attempt], absent, now)

    for copy in unsettled:
        yield settling(copy, keys[copy.key], attempts[copy.key, copy.attempt], gone)
    by_attempt: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for copy in aborted:
        by_attempt[copy.key, copy.attempt].add(copy.key_server)
    for copy in aborted:
        place = copy.key, copy.attempt
        others = by_attempt[place] - {copy.key_server}
        key, attempt = keys[copy.key], attempts[place]
        yield destroying(copy, key, attempt, others, hindrances, arriving=arriving(copy))
    for copy in left:
        yield purging(copy, keys[copy.key], hindrances, arriving=arriving(copy))


def _unmarked(tx: Rows, servers: list[str]) -> set[str]:
    """Return the servers (uuids) that were sent our next epoch marker and have not shown it yet."""
    found = {server: tx.epoch_marker(server) for server in servers}
    return {server for server, marker in found.items() if marker and marker.state is EpochMarkerState.SENT}


def _left(tx: Rows, keys: list[str]) -> list[Copy]:
    """Return the copies of purging keys that are not destroyed."""
    return [copy for copy in tx.copies(keys) if copy.presence is not Presence.DESTROYED] if keys else []
