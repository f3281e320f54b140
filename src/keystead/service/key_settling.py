"""Settle what creating left open: attempts whose time is over, copies of which it is not known whether they are there.

An attempt is aborted by compare-and-set, after its state was read; its coordinator, should it wake, finds that it was.
Copies are looked at on their servers, and activated where that was not done. Nothing is destroyed here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.keeping import AHEAD, Look, looked_at
from keystead.core.keys.model import AttemptState, KeyState, Purpose
from keystead.service.key_announcing import different
from keystead.service.key_looking import BATCH, by_host, look, places_of, store_changes, tracked, visit, with_seen
from keystead.service.key_ports import KeyServerFault
from keystead.service.observing import add_events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Attempt
    from keystead.core.model import KeyServer
    from keystead.service.key_looking import Change, Tools, Tracked, Visit
    from keystead.service.key_places import KeyPlaces
    from keystead.service.leases import Holding
    from keystead.service.ports import Transaction

log = structlog.get_logger(__name__)

AT_ONCE: Final = 256
"""Attempts that are aborted in one round at most."""

_ACTIVE = "Active"
_NOT_YET = ("", "Pre-Active")


class KeySettling:
    """Ends expired attempts, and finds out about copies."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    # --- attempts ---

    async def abort_expired(self, holding: Holding) -> int:
        """Abort attempts whose time is over; return how many. Raises StoreError, LeaseLost."""
        now = self._tools.clock.now()
        expired = await self._tools.store.read(lambda tx: tx.expired_attempts(now, now + AHEAD, AT_ONCE))
        aborted = 0
        for attempt in expired:
            aborted += await self._tools.store.write(lambda tx: _abort(tx, holding, attempt))  # noqa: B023 - awaited
        if aborted:
            log.info("attempts aborted", count=aborted)
        return aborted

    # --- copies ---

    async def settle(self, holding: Holding, key_manager: str) -> int:
        """Look at what is open on each of a key manager's servers; return how many copies changed.

        A server that cannot be asked is left for the next round. Raises StoreError, LeaseLost.
        """
        places = await self._tools.store.read(lambda tx: places_of(tx, key_manager))
        if places is None:
            return 0
        known = [server for server in places.servers if server.uuid in places.profiles]
        return sum([await self._settle_server(holding, places, server) for server in known])

    async def _settle_server(self, holding: Holding, places: KeyPlaces, server: KeyServer) -> int:
        profile = places.profiles[server.uuid]
        after, changed = "", 0
        while rows := await self._tools.store.read(
            lambda tx: tracked(tx, tx.open_copies(server.uuid, after, BATCH, inactive=profile.activates))  # noqa: B023
        ):
            after = rows[-1].key.uuid
            try:
                changes = await self._look(places, server, rows)
            except KeyServerFault as fault:
                log.info("copies not settled yet", address=str(server.address), why=fault.reason)
                break
            stored = await self._tools.store.write(lambda tx: self._store(tx, holding, places, server, changes))  # noqa: B023
            changed += len(stored)
            if not stored:
                break  # nothing is to be found out there now: the next round is early enough for the rest
        return changed

    async def _look(self, places: KeyPlaces, server: KeyServer, rows: Sequence[Tracked]) -> list[Change]:
        changes = []
        for host, some in by_host(rows).items():
            async with visit(self._tools, places, server, host) as at:
                for row in some:
                    await self._tools.turn()
                    changes.append(await self._settled(at, row))
        return changes

    async def _settled(self, at: Visit, row: Tracked) -> Change:
        """Look at a copy, and activate it where its server does that and it was not done."""
        seen = await look(at, row)
        after = looked_at(row.copy, seen.look, row.attempt, self._tools.clock.now(), canary=at.canary)
        after = with_seen(after, seen)
        if seen.look is Look.AGREES and at.profile is not None and at.profile.activates and seen.state in _NOT_YET:
            after = replace(after, object_state=await _activated(at, seen.unique_identifiers, seen.state))
        return row.copy, after

    def _store(
        self, tx: Transaction, holding: Holding, places: KeyPlaces, server: KeyServer, changes: Sequence[Change]
    ) -> list[Change]:
        stored = store_changes(tx, holding, changes)
        add_events(tx, different(tx, self._tools, places, server, stored))
        return stored


def _abort(tx: Transaction, holding: Holding, attempt: Attempt) -> bool:
    """Abort an attempt that is still pending, and with it a key that it was to create."""
    holding.check(tx)
    key = tx.key(attempt.key)
    if key is None:
        return False
    tx.key_manager(key.key_manager, lock=True)
    key = tx.key(attempt.key, lock=True)
    if key is None or not tx.end_attempt(attempt, AttemptState.ABORTED):
        return False
    if attempt.purpose is Purpose.CREATE:
        tx.change_key(replace(key, state=KeyState.ABORTED), KeyState.PENDING)
    return True


async def _activated(at: Visit, ids: Sequence[str], state: str) -> str:
    """Activate a copy's objects; return the State that they have then. Raises KeyServerFault without an answer."""
    try:
        for id_ in ids:
            await at.session.activate(id_)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        log.warning("a copy is not activated", key_server=at.key_server, why=fault.reason)
        return state
    return _ACTIVE
