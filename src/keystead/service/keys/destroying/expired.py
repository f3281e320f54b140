"""Attempts that were aborted for their time alone: whether what they left may be ended.

A database that lacks its last seconds has an attempt's intent and not its commit. But copies are activated, and
described, after the commit: so before anything of such an attempt is ended, every server that may have something of it
is asked. What shows a descriptor of our making was committed: then the database is another than the one that lives on.
Where one of them does not deny that it was committed, nobody knows: it becomes unclaimed.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

import structlog

from keystead.core.keys.descriptors import opened
from keystead.core.keys.destroying import ENDING, PRE_ACTIVE
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import Presence
from keystead.core.keys.names import epoch_marker_name
from keystead.service.cluster.incarnations import Cloned
from keystead.service.keys.context import tracked
from keystead.service.keys.destroying.objects import attributes_if_present, descriptor_name, left_by
from keystead.service.keys.looking.look import is_named
from keystead.service.keys.looking.visit import visit_each
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.core.keys.model import Copy
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext, Site, Tracked
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

Named = tuple[str, int]
"""An attempt: its key's uuid, and its number."""


class ExpiredAttempts:
    """Finds out about them. ``check`` raises StoreError in a database that is not the one that was looked at."""

    def __init__(self, context: KeeperContext, check: Callable[[Transaction], None]) -> None:
        self._context = context
        self._check = check

    async def may_end(
        self, holding: Holding, topology: ServerTopology, sites: Mapping[str, Site], rows: Sequence[Tracked]
    ) -> list[Tracked]:
        """Those of these copies that may be ended as far as this goes. Raises Cloned, StoreError, LeaseLost.

        An attempt waits while a server with a copy of it, or with what was sent, is not among the ``sites`` (uuids), is
        silent, or does not show its canary.
        """
        expired = {named(row) for row in rows if row.attempt.expired and row.key.state not in ENDING}
        if not expired:
            return list(rows)
        doubted, waiting = await self._ask(topology, sites, await self._whole(expired))
        if unknown := doubted - waiting:
            await self._context.store.write(lambda tx: self._disown(tx, holding, unknown))
        return [row for row in rows if named(row) not in waiting | unknown]

    async def _whole(self, attempts: Collection[Named]) -> list[Tracked]:
        """All copies of attempts that have not come to their end."""
        rows = await self._context.store.read(lambda tx: tracked(tx, tx.copies({key for key, _ in attempts})))
        return [row for row in rows if named(row) in attempts and row.copy.presence is not Presence.DESTROYED]

    async def _ask(
        self, topology: ServerTopology, sites: Mapping[str, Site], rows: Sequence[Tracked]
    ) -> tuple[set[Named], set[Named]]:
        """The attempts that a server does not deny to have been committed; also those of which not all were asked."""
        doubted: set[Named] = set()
        asked: set[Copy] = set()
        by_address: dict[tuple[str, str], list[Tracked]] = defaultdict(list)
        for row in rows:
            by_address[row.copy.key_server, row.copy.host].append(row)

        async def ask(marker: EpochMarker | None, at: Visit, row: Tracked) -> None:
            if at.canary:
                doubted.update([named(row)] * (not await _denies(at, row, marker)))
                asked.add(row.copy)

        for (uuid, _), some in by_address.items():
            site = sites.get(uuid)
            if site is not None:
                marker = await self._context.store.read(lambda tx: tx.epoch_marker(uuid))  # noqa: B023 - awaited
                await visit_each(self._context, topology, site, some, partial(ask, marker))
        return doubted, {named(row) for row in rows if row.copy not in asked}

    def _disown(self, tx: Transaction, holding: Holding, attempts: Collection[Named]) -> None:
        self._check(tx)
        holding.check(tx)
        for key, number in sorted(attempts):
            log.warning("what may have been committed is unclaimed", key=key, attempt=number)
            tx.orphan_attempt(key, number)


async def _denies(at: Visit, row: Tracked, marker: EpochMarker | None) -> bool:
    """Whether a server says that an attempt was not committed. Raises Cloned; KeyServerFault without an answer.

    One that was learned after the attempt began may have been wiped since: that nothing is there says nothing.
    """
    try:
        for id_ in (row.copy.descriptor,) if row.copy.descriptor else await at.session.locate(descriptor_name(row)):
            descriptor = opened((await at.session.get((id_,))).reveal(), at.digest_key)
            if descriptor is not None and descriptor.is_of(row.attempt):
                raise Cloned
            return False
        if at.profile is None or at.profile.learned > row.attempt.began:
            return False
        return await _has_nothing_active(at, row, marker)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return False


async def _has_nothing_active(at: Visit, row: Tracked, marker: EpochMarker | None) -> bool:
    """Whether of an attempt nothing is there, or what was never activated on a server that tells that."""
    found = [
        await attributes_if_present(at.session, id_)
        for id_ in row.copy.unique_identifiers or await left_by(at.session, row)
    ]
    there = [each for each in found if each is not None and each.state not in DESTROYED_STATES]
    ours = [each for each in there if not each.names or is_named(each, row.attempt)]
    inactive = all(each.state == PRE_ACTIVE for each in ours)
    return not ours or (inactive and at.profile is not None and at.profile.activates and await _is_inactive(at, marker))


async def _is_inactive(at: Visit, marker: EpochMarker | None) -> bool:
    """Whether the fence, which nobody activates, is Pre-Active: so that what is Active here was activated."""
    if marker is None:
        return False
    name = str(epoch_marker_name(marker.incarnation, marker.key_server, marker.number))
    facts = [await attributes_if_present(at.session, id_) for id_ in marker.unique_identifiers]
    return any(each is not None and each.state == PRE_ACTIVE and name in each.names for each in facts)


def named(row: Tracked) -> Named:
    """The attempt that wrote a copy."""
    return row.key.uuid, row.attempt.number
