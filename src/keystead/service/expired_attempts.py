"""Attempts that were aborted for their time alone: whether what they left may be ended.

A database that lacks its last seconds has an attempt's intent and not its commit. But copies are activated, and
described, after the commit: so before anything of such an attempt is ended, every server that may have something of it
is asked. What shows a descriptor of our making was committed: then the database is another than the one that lives on.
Of what is Active, or where nothing could be told, nobody knows: it becomes unclaimed.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from typing import TYPE_CHECKING

import structlog

from keystead.core.keys.descriptors import opened
from keystead.core.keys.destroying import ACTIVE, ENDING, PRE_ACTIVE
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import KeyForm, Presence
from keystead.core.keys.names import fence_name
from keystead.service.incarnations import Cloned
from keystead.service.key_looking import is_named, tracked, visit
from keystead.service.key_ports import KeyServerFault
from keystead.service.object_ending import descriptors, facts_if_there, left_by

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from keystead.core.keys.fencing import Fence
    from keystead.service.key_destroying import Site
    from keystead.service.key_looking import Tools, Tracked, Visit
    from keystead.service.key_places import KeyPlaces
    from keystead.service.leases import Holding
    from keystead.service.ports import Transaction

log = structlog.get_logger(__name__)

Named = tuple[str, int]
"""An attempt: its key's uuid, and its number."""


class Told(Enum):
    """What a server tells of an attempt that has objects there."""

    COMMITTED = "committed"
    NOT_COMMITTED = "not committed"
    NOTHING = "nothing"


class ExpiredAttempts:
    """Finds out about them. ``check`` raises StoreError in a database that is not the one that was looked at."""

    def __init__(self, tools: Tools, check: Callable[[Transaction], None]) -> None:
        self._tools = tools
        self._check = check

    async def may_end(
        self, holding: Holding, places: KeyPlaces, sites: Mapping[str, Site], rows: Sequence[Tracked]
    ) -> list[Tracked]:
        """Those of these copies that may be ended as far as this goes. Raises Cloned, StoreError, LeaseLost.

        An attempt waits while a server with a copy of it, or with what was sent, is not among the ``sites`` (uuids), is
        silent, or does not show its canary.
        """
        expired = {_named(row) for row in rows if row.attempt.expired and row.key.state not in ENDING}
        if not expired:
            return list(rows)
        told, waiting = await self._ask(places, sites, await self._whole(expired))
        unknown = {
            attempt
            for attempt in expired - waiting
            if told[attempt] and (Told.COMMITTED in told[attempt] or Told.NOT_COMMITTED not in told[attempt])
        }
        if unknown:
            await self._tools.store.write(lambda tx: self._disown(tx, holding, unknown))
        return [row for row in rows if _named(row) not in waiting | unknown]

    async def _whole(self, attempts: Collection[Named]) -> list[Tracked]:
        """All copies of attempts that have not come to their end."""
        rows = await self._tools.store.read(lambda tx: tracked(tx, tx.copies({key for key, _ in attempts})))
        return [row for row in rows if _named(row) in attempts and row.copy.presence is not Presence.DESTROYED]

    async def _ask(
        self, places: KeyPlaces, sites: Mapping[str, Site], rows: Sequence[Tracked]
    ) -> tuple[Mapping[Named, set[Told]], set[Named]]:
        """What servers tell of attempts; also those of which not all that may tell did."""
        told: dict[Named, set[Told]] = defaultdict(set)
        waiting: set[Named] = set()
        by_address: dict[tuple[str, str], list[Tracked]] = defaultdict(list)
        for row in rows:
            by_address[row.copy.key_server, row.copy.host].append(row)
        for (uuid, host), some in by_address.items():
            site = sites.get(uuid)
            asked: set[Named] = set()
            try:
                if site is not None:
                    async with visit(self._tools, places, site.server, host, site.profile, exact=True) as at:
                        fence = await self._tools.store.read(lambda tx: tx.fence(uuid))  # noqa: B023 - awaited
                        for row in some if at.canary else ():
                            await self._tools.turn()
                            told[_named(row)] |= await _told(at, row, fence)
                            asked.add(_named(row))
            except KeyServerFault as fault:
                log.info("an attempt is not ended yet", address=str(site and site.server.address), why=fault.reason)
            waiting |= {_named(row) for row in some} - asked
        return told, waiting

    def _disown(self, tx: Transaction, holding: Holding, attempts: Collection[Named]) -> None:
        self._check(tx)
        holding.check(tx)
        for key, number in sorted(attempts):
            log.warning("what may have been committed is unclaimed", key=key, attempt=number)
            tx.disown_attempt(key, number)


async def _told(at: Visit, row: Tracked, fence: Fence | None) -> set[Told]:
    """What a server tells of an attempt; nothing when it has no object of it. Raises Cloned, KeyServerFault."""
    for id_ in await descriptors(at.session, row):
        if await _describes(at, row, id_):
            raise Cloned
    ids = row.copy.unique_identifiers or await left_by(at.session, row)
    found = [await facts_if_there(at.session, id_) for id_ in ids]
    there = [each for each in found if each is not None and each.state not in DESTROYED_STATES]
    ours = [each for each in there if not each.names or is_named(each, row.attempt)]
    if not ours:
        return set()
    if at.profile is not None and at.profile.activates and await _is_inactive(at, fence):
        return {Told.COMMITTED if any(each.state == ACTIVE for each in ours) else Told.NOT_COMMITTED}
    describes = at.profile is not None and at.profile.form is KeyForm.SECRET_DATA
    return {Told.NOT_COMMITTED if describes else Told.NOTHING}


async def _describes(at: Visit, row: Tracked, id_: str) -> bool:
    """Whether an object is the descriptor of an attempt, and of our making. Raises KeyServerFault without an answer."""
    try:
        descriptor = opened((await at.session.get((id_,))).reveal(), at.digest_key)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return False
    return descriptor is not None and descriptor.is_of(row.attempt)


async def _is_inactive(at: Visit, fence: Fence | None) -> bool:
    """Whether the fence, which nobody activates, is Pre-Active: so that what is Active here was activated."""
    if fence is None:
        return False
    name = str(fence_name(fence.incarnation, fence.key_server, fence.number))
    facts = [await facts_if_there(at.session, id_) for id_ in fence.unique_identifiers]
    return any(each is not None and each.state == PRE_ACTIVE and name in each.names for each in facts)


def _named(row: Tracked) -> Named:
    return row.key.uuid, row.attempt.number
