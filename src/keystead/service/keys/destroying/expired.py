"""Attempts that timed out: find out whether the objects that they left may be destroyed.

A database that lost its last seconds has the intent of an attempt but not its commit. Copies are activated and get
their descriptor after the commit. So every server that may have objects of the attempt is asked before any object is
destroyed. A descriptor with our MAC proves that the attempt was committed: then this database is a clone or an old
copy. If a server does not deny the commit, the outcome stays unknown, and the objects become orphans.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from keystead.core.keys.descriptors import decode
from keystead.core.keys.destroying import ENDING, PRE_ACTIVE
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import Presence
from keystead.core.keys.names import epoch_marker_name
from keystead.service.cluster.incarnations import CloneFound
from keystead.service.keys.context import tracked
from keystead.service.keys.destroying.objects import attributes_if_present, descriptor_name, objects_of_attempt
from keystead.service.keys.looking.look import is_named
from keystead.service.keys.looking.visit import visit_each
from keystead.service.ports.cluster import LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, EpochMarkerRows, KeyRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from keystead.core.keys.epoch_markers import EpochMarker
    from keystead.core.keys.model import Copy
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext, Site, Tracked
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.cluster import IncarnationRows

log = structlog.get_logger(__name__)

AttemptId = tuple[str, int]
"""The id of an attempt: the uuid of its key, and its number."""


class Rows(TopologyRows, KeyManagerRows, LeaseRows, KeyRows, AttemptRows, CopyRows, EpochMarkerRows, Protocol):
    """The rows that this module reads and writes."""


class TimedOutAttempts:
    """The check of attempts that timed out.

    ``check`` raises StoreError in a transaction on a database that has gone back since the last look at it.
    """

    def __init__(self, context: KeeperContext, check: Callable[[IncarnationRows], None]) -> None:
        self._context = context
        self._check = check

    async def may_end(
        self, holding: Holding, topology: ServerTopology, sites: Mapping[str, Site], rows: Sequence[Tracked]
    ) -> list[Tracked]:
        """Return those of the copies (``rows``) that may be destroyed. The purge calls it before it destroys a batch.

        Copies of attempts that did not time out may be destroyed, and copies of keys that are purging or purged. For
        other attempts, all servers with their copies are asked about the commit:

        - An attempt waits while one of these servers does not answer, hides its canary, or is not in ``sites``.
        - If all of them deny the commit, its copies may be destroyed.
        - Otherwise the outcome stays unknown: its objects become orphans, and this is stored.

        Raises CloneFound if a descriptor proves the commit; StoreError, LeaseLost.
        """
        expired = {attempt_id(row) for row in rows if row.attempt.expired and row.key.state not in ENDING}
        if not expired:
            return list(rows)
        doubted, waiting = await self._ask_servers(topology, sites, await self._undestroyed_copies(expired))
        if unknown := doubted - waiting:
            await self._context.store.write(lambda tx: self._disown(tx, holding, unknown))
        return [row for row in rows if attempt_id(row) not in waiting | unknown]

    async def _undestroyed_copies(self, attempts: Collection[AttemptId]) -> list[Tracked]:
        """Return all copies of these attempts that are not destroyed, on any server.

        Their servers are asked about the commit.
        """
        rows = await self._context.store.read(lambda tx: tracked(tx, tx.copies({key for key, _ in attempts})))
        return [row for row in rows if attempt_id(row) in attempts and row.copy.presence is not Presence.DESTROYED]

    async def _ask_servers(
        self, topology: ServerTopology, sites: Mapping[str, Site], rows: Sequence[Tracked]
    ) -> tuple[set[AttemptId], set[AttemptId]]:
        """Ask the servers about copies. Return two sets of attempts.

        The first has the attempts whose commit a server did not deny. The second has the attempts about which not all
        servers were asked, because a server is unknown or silent, or hides its canary. Raises CloneFound.
        """
        doubted: set[AttemptId] = set()
        asked: set[Copy] = set()
        by_address: dict[tuple[str, str], list[Tracked]] = defaultdict(list)
        for row in rows:
            by_address[row.copy.key_server, row.copy.host].append(row)

        async def ask(marker: EpochMarker | None, at: Visit, row: Tracked) -> None:
            """Ask about one copy, and note the answer. Ask nothing if the server hides its canary."""
            if at.canary:
                doubted.update([attempt_id(row)] * (not await _denies_commit(at, row, marker)))
                asked.add(row.copy)

        for (uuid, _), some in by_address.items():
            site = sites.get(uuid)
            if site is not None:
                marker = await self._context.store.read(lambda tx: tx.epoch_marker(uuid))  # noqa: B023 - awaited
                await visit_each(self._context, topology, site, some, partial(ask, marker))
        return doubted, {attempt_id(row) for row in rows if row.copy not in asked}

    def _disown(self, tx: Rows, holding: Holding, attempts: Collection[AttemptId]) -> None:
        """Store that no incarnation has these attempts, so that their objects are orphans and never destroyed.

        Called when a server did not deny the commit. Raises StoreError if the database has gone back; LeaseLost.
        """
        self._check(tx)
        holding.check(tx)
        for key, number in sorted(attempts):
            log.warning("a timed-out attempt may have been committed: its objects are orphans", key=key, attempt=number)
            tx.orphan_attempt(key, number)


async def _denies_commit(at: Visit, row: Tracked, marker: EpochMarker | None) -> bool:
    """Return True if a server denies that an attempt was committed: no descriptor, and no activated object.

    False means that the commit stays possible, also if the server refuses an answer. A server that was learned after
    the attempt began denies nothing, because it may have been wiped since. Raises CloneFound if the descriptor of the
    attempt is there, KeyServerFault if the server does not answer.
    """
    try:
        for id_ in (row.copy.descriptor,) if row.copy.descriptor else await at.session.locate(descriptor_name(row)):
            descriptor = decode((await at.session.get((id_,))).reveal(), at.digest_key)
            if descriptor is not None and descriptor.is_of(row.attempt):
                raise CloneFound
            return False
        if at.profile is None or at.profile.learned > row.attempt.began:
            return False
        return await _objects_deny_commit(at, row, marker)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return False


async def _objects_deny_commit(at: Visit, row: Tracked, marker: EpochMarker | None) -> bool:
    """Return True if the objects on a server deny the commit: none is left, or none was ever activated.

    Called when there is no descriptor. That none was activated denies the commit only on a server that tells the State.
    There our epoch marker, which nobody activates, is not active: see :func:`_is_marker_inactive`. An object without
    names counts as ours. Raises KeyServerFault.
    """
    found = [
        await attributes_if_present(at.session, id_)
        for id_ in row.copy.unique_identifiers or await objects_of_attempt(at.session, row)
    ]
    there = [each for each in found if each is not None and each.state not in DESTROYED_STATES]
    ours = [each for each in there if not each.names or is_named(each, row.attempt)]
    inactive = all(each.state == PRE_ACTIVE for each in ours)
    return not ours or (
        inactive and at.profile is not None and at.profile.activates and await _is_marker_inactive(at, marker)
    )


async def _is_marker_inactive(at: Visit, marker: EpochMarker | None) -> bool:
    """Return True if the server shows the epoch marker as Pre-Active. No process ever activates a marker.

    So on this server an object is Active only if a process activated it. False if the server has no marker, or tells no
    State.
    """
    if marker is None:
        return False
    name = str(epoch_marker_name(marker.incarnation, marker.key_server, marker.number))
    facts = [await attributes_if_present(at.session, id_) for id_ in marker.unique_identifiers]
    return any(each is not None and each.state == PRE_ACTIVE and name in each.names for each in facts)


def attempt_id(row: Tracked) -> AttemptId:
    """Return the id of the attempt that wrote a copy: the key's uuid and the attempt's number."""
    return row.key.uuid, row.attempt.number
