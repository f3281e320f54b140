"""Scan all servers of a key manager for orphans: objects under our names that no attempt accounts for.

Only orphans that can be adopted are stored. These are copies of keys, not canaries or descriptors of other
incarnations. An object of an aborted attempt or of a purged key is no orphan if it is found again. Its copy is made
unknown again, so that it is destroyed like other copies. That is done only if the key is this key manager's. Another
key manager's object on a shared server is found by that key manager's own scan.

The scan destroys nothing. It asks only once about an object of another product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core.keys.destroying import Ownership, aborted_elsewhere, as_purging, ownership
from keystead.core.keys.digests import agrees
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import Attempt, Copy, Key, KeyState, Orphan, Presence
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.query.where import Condition, Op, Order
from keystead.service.keys.context import COPIES_PER_READ, topology_of
from keystead.service.keys.looking.visit import visit
from keystead.service.ports.cluster import ClusterRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, OrphanRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.names import ObjectName
    from keystead.core.model import KeyServer
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology

log = structlog.get_logger(__name__)

REMEMBERED: Final = 100_000
"""How many objects of other products are remembered, so that their attributes are requested only once."""

ORPHANS_PER_WRITE: Final = 1024
"""How many orphans one transaction stores. Each object is checked there once more."""

_UUID_PARTS: Final = (0, 8, 12, 16)
"""Where the parts of a uuid begin and end, in the digits that a name has of the uuid."""


class Rows(
    TopologyRows, KeyManagerRows, ListRows, ClusterRows, LeaseRows, KeyRows, AttemptRows, CopyRows, OrphanRows, Protocol
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An object under one of our names on a server, and what the catalogue has under its name.

    ``changed``: it was dismissed, and has other material since.
    """

    unique_identifier: str
    name: str
    ownership: Ownership
    attempt: Attempt | None = None
    changed: bool = False


class OrphanScan:
    """The scan for orphans. The keeper runs it seldom. ``listed`` is how many orphans one transaction lists."""

    def __init__(self, context: KeeperContext, *, listed: int = ORPHANS_PER_WRITE) -> None:
        self._context = context
        self._listed = listed
        self._foreign: set[tuple[str, str]] = set()

    async def scan(self, holding: Holding, key_manager: str) -> None:
        """Scan a key manager's servers for objects that its catalogue does not list. Store the orphans among them.

        Stored orphans that are none any more are deleted. A copy whose object should be destroyed, but was found,
        becomes ``unknown`` again, and its purged key becomes purging again. So the keeper destroys it.

        Called by the keeper about once a day. The stored orphans of a server that cannot be asked, or that hides its
        canary, stay as they are. Raises StoreError, LeaseLost.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return
        await self._context.store.write(lambda tx: _delete_orphans_of_removed_servers(tx, holding, topology))
        for server in topology.servers:
            try:
                found = await self._find_unlisted(topology, server)
            except KeyServerFault as fault:
                log.info("orphan scan skips a key server", address=str(server.address), why=fault.reason)
                continue
            if found is not None:
                await self._store_found(holding, topology, server, found)

    async def _find_unlisted(self, topology: ServerTopology, server: KeyServer) -> list[_Found] | None:
        """Return the objects under our names that the catalogue does not list, each with what accounts for it.

        Return None if the server does not show its canary. Raises KeyServerFault if the server cannot be asked.
        """
        stored = await self._context.store.read(lambda tx: tx.orphans(topology.key_manager.uuid))
        dismissed = [each for each in stored if each.key_server == server.uuid and each.dismissal is not None]
        known = await self._context.store.read(lambda tx: _listed_identifiers(tx, topology, server))
        named: list[tuple[str, str]] = []
        async with visit(self._context, topology, server) as at:
            if not at.canary:
                return None
            for id_ in await at.session.locate_all():
                if id_ not in known and (server.uuid, id_) not in self._foreign:
                    named += await self._own_names(at, id_)
            changed = await self._changed(at, named, dismissed)
        found = await self._context.store.read(lambda tx: [_account_for(tx, topology, *each) for each in named])
        return [replace(each, changed=each.unique_identifier in changed) for each in found]

    async def _changed(self, at: Visit, found: Sequence[tuple[str, str]], dismissed: Sequence[Orphan]) -> set[str]:
        """Return the identifiers of dismissed objects that have other material than when they were dismissed.

        An object that refuses to be read stays dismissed. Raises KeyServerFault if the server does not answer.
        """
        changed: set[str] = set()
        here = set(found)
        by_name = {each.name: each for each in dismissed if (each.unique_identifier, each.name) in here}
        for whole in {whole_name(name) for name in by_name}:
            parts = [by_name[name] for name in all_names(whole) if name in by_name]
            ids = tuple(part.unique_identifier for part in parts)
            await self._context.turn()
            try:
                material = await at.session.get(ids)
            except KeyServerFault as fault:
                if not fault.fault.answered:
                    raise
                continue
            of = parts[0].dismissal
            if of is not None and not agrees(at.digest_key, whole, material, of.digest):
                changed |= set(ids)
        return changed

    async def _own_names(self, at: Visit, id_: str) -> list[tuple[str, str]]:
        """Return the identifier and the first name of ours of an object; empty if it has none or is destroyed.

        Empty also if the server does not have the object any more, or refuses its attributes. An object without a name
        of ours is remembered, so that its attributes are not requested again. Raises KeyServerFault.
        """
        await self._context.turn()
        try:
            attributes = await at.session.get_attributes(id_)
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
            return []  # it is not there, or refused for now: the next scan asks again
        ours = [(id_, name) for name in attributes.names if parse(name) is not None]
        if not ours and len(self._foreign) < REMEMBERED:
            self._foreign.add((at.key_server, id_))
        # A destroyed object is not remembered, because a server that is restored brings it back.
        return [] if attributes.state in DESTROYED_STATES else ours[:1]

    async def _store_found(
        self, holding: Holding, topology: ServerTopology, server: KeyServer, found: Sequence[_Found]
    ) -> None:
        """Store the orphans of a server, delete those that are no orphans any more, and reopen returned copies.

        A returned copy is one whose object should be destroyed, but was found: see :func:`_reopen_copy`.
        """
        unclaimed = [each for each in found if each.ownership is Ownership.UNCLAIMED and _may_be_key(each.name)]
        same = {(each.unique_identifier, each.name) for each in unclaimed if not each.changed}
        stored = await self._context.store.write(lambda tx: _delete_other_orphans(tx, holding, topology, server, same))
        now = self._context.clock.now()
        rows = [
            Orphan(topology.key_manager.uuid, server.uuid, each.unique_identifier, each.name, now)
            for each in unclaimed
            if each.unique_identifier not in stored
        ]
        for start in range(0, len(rows), self._listed):
            batch = rows[start : start + self._listed]
            await self._context.store.write(lambda tx: _put_orphans(tx, holding, topology, batch))  # noqa: B023 - awaited
        await self._context.store.write(lambda tx: _reopen_all(tx, holding, server, found))


def _listed_identifiers(tx: Rows, topology: ServerTopology, server: KeyServer) -> set[str]:
    """Return the identifiers that the catalogue lists on a server: copies, descriptors and canaries.

    The scan asks nothing about these objects. Identifiers on servers of the same domain are included. Destroyed copies
    are left out, and objects of another incarnation's aborted attempts.
    """
    domain = topology.domain_of[server.uuid]
    known: set[str] = set()
    for uuid in (uuid for uuid, of in topology.domain_of.items() if of == domain):
        known |= set(topology.profiles[uuid].canary) if uuid in topology.profiles else set()
        after = ""
        while copies := tx.copies_on(uuid, after, COPIES_PER_READ):
            after = copies[-1].key
            attempts = tx.attempts({copy.key for copy in copies})
            others = {(each.key, each.number) for each in attempts if aborted_elsewhere(each, topology.incarnation)}
            standing = (copy for copy in copies if copy.presence is not Presence.DESTROYED)
            there = [copy for copy in standing if (copy.key, copy.attempt) not in others]
            known |= {id_ for copy in there for id_ in (*copy.unique_identifiers, copy.descriptor)}
    return known


def _delete_orphans_of_removed_servers(tx: Rows, holding: Holding, topology: ServerTopology) -> None:
    """Delete the stored orphans on servers that the key manager does not have any more.

    Called at the beginning of each scan. Raises LeaseLost.
    """
    holding.check(tx)
    for each in tx.orphans(topology.key_manager.uuid):
        if topology.server(each.key_server) is None:
            tx.delete_orphans(each.key_server, [each.unique_identifier])


def _delete_other_orphans(
    tx: Rows, holding: Holding, topology: ServerTopology, server: KeyServer, same: set[tuple[str, str]]
) -> set[str]:
    """Delete a server's stored orphans except these. Return the identifiers that are left.

    ``same`` are the orphans that the scan found again, as they were: identifier and name. Those that are left need not
    be stored again. With the others their dismissals end. Raises LeaseLost.
    """
    holding.check(tx)
    here = [each for each in tx.orphans(topology.key_manager.uuid) if each.key_server == server.uuid]
    left = {each.unique_identifier for each in here if (each.unique_identifier, each.name) in same}
    gone = {each.unique_identifier for each in here} - left
    if gone:
        tx.delete_orphans(server.uuid, gone)
    return left


def _put_orphans(tx: Rows, holding: Holding, topology: ServerTopology, rows: Sequence[Orphan]) -> None:
    """Store orphans, except those that are orphans no more. For example, one may have been adopted meanwhile.

    Locks the cluster. Raises LeaseLost.
    """
    holding.check(tx)
    tx.cluster(lock=True)  # so that nobody adopts one of the objects between the check and the commit
    tx.put_orphans([row for row in rows if is_orphaned(tx, topology, row)])


def _reopen_all(tx: Rows, holding: Holding, server: KeyServer, found: Sequence[_Found]) -> None:
    """Make the copies ``unknown`` again whose objects should be destroyed, but were found. Raises LeaseLost."""
    holding.check(tx)
    for each in found:
        if each.ownership is Ownership.ENDED and each.attempt is not None:
            _reopen_copy(tx, each.attempt, server, each)


def is_orphaned(tx: Rows, topology: ServerTopology, found: Orphan) -> bool:
    """Return True if an object is still an orphan: by its name, no attempt and no key accounts for it.

    The identifier is not compared. An attempt that another incarnation aborted does not count. Called before orphans
    are stored, and before one is adopted.
    """
    return _account_for(tx, topology, found.unique_identifier, found.name).ownership is Ownership.UNCLAIMED


def has_other_owner(tx: Rows, topology: ServerTopology, name: str) -> bool:
    """Return True if a key of another key manager accounts for the object with this name, or any key has adopted it.

    Only the name is compared, not the identifier. Return False for a name that is not one of ours. Called for each
    object before a rebuild stores it as an orphan. If True, it is not stored. ``topology`` is that of the key manager
    whose servers were read.
    """
    if tx.keys_adopting(whole_name(name)):
        return True
    parsed = parse(name)
    key = key_of(tx, parsed) if parsed else None
    if key is None or key.key_manager == topology.key_manager.uuid:
        return False
    unused_id = ""
    return _account_for(tx, topology, unused_id, name).ownership is not Ownership.UNCLAIMED


def _may_be_key(name: str) -> bool:
    """Return True if this is the name of a copy of a key. Only such orphans are stored."""
    parsed = parse(name)
    return parsed is not None and parsed.kind is ObjectKind.KEY


def whole_name(name: str) -> str:
    """Return the name of an object; for one half of a pair, the name of the whole."""
    parsed = parse(name)
    return name if parsed is None else str(replace(parsed, part=0))


def all_names(name: str) -> tuple[str, ...]:
    """Return an object's name as the name of the whole, and of both halves of a pair.

    Servers differ in which of these names they give an object. Called when an object is adopted, to delete all orphans
    with these names.
    """
    parsed = parse(name)
    return (name,) if parsed is None else tuple(str(replace(parsed, part=part)) for part in (0, 1, 2))


def _account_for(tx: Rows, topology: ServerTopology, id_: str, name: str) -> _Found:
    """Return an object with what the catalogue has under its name: who owns it, and the attempt that wrote it.

    Its key may belong to any key manager, because key managers may use the same server. If such an object of another
    key manager should be destroyed, it counts as known here: only that key manager's keeper destroys it.
    """
    if tx.keys_adopting(whole_name(name)):
        return _Found(id_, name, Ownership.KNOWN)
    parsed = parse(name)
    key = key_of(tx, parsed) if parsed else None
    attempts = tx.attempts([key.uuid]) if key and parsed else ()
    attempt = next((each for each in attempts if parsed and each.number == parsed.attempt), None)
    of = ownership(parsed, key, attempt, topology.incarnation)
    if of is Ownership.ENDED and key is not None and key.key_manager != topology.key_manager.uuid:
        of = Ownership.KNOWN  # because this key manager's keeper would never destroy it
    return _Found(id_, name, of, attempt)


def key_of(tx: ListRows, name: ObjectName) -> Key | None:
    """Return the key that a name belongs to, by the first digits of the key's uuid; None if there is none."""
    prefix = "-".join(name.id[one:other] for one, other in pairwise(_UUID_PARTS))
    where = ((Condition("uuid", Op.AT_LEAST, prefix),),)
    found = tx.page(Key, Page(where=where, order=(Order("uuid"),), limit=1))
    return found[0] if found and found[0].uuid.startswith(prefix) else None


def _reopen_copy(tx: Rows, attempt: Attempt, server: KeyServer, found: _Found) -> None:
    """Make the copy of a returned object unknown again, so that the object is destroyed.

    If there is no row for the copy on this server, a row is added. A row that is not destroyed stays as it is, because
    its object is destroyed anyway. A purged key is purging again. Locks the key.
    """
    key = tx.key(attempt.key, lock=True)
    copies = [copy for copy in tx.copies([attempt.key]) if copy.attempt == attempt.number]
    here = [copy for copy in copies if copy.key_server == server.uuid]
    name = parse(found.name)
    known = here[0] if here else Copy(attempt.key, attempt.number, server.uuid, Presence.UNKNOWN)
    if key is None or name is None or (here and known.presence is not Presence.DESTROYED):
        return
    if name.kind is ObjectKind.DESCRIPTOR:
        opened = replace(known, presence=Presence.UNKNOWN, descriptor=found.unique_identifier)
    else:
        opened = replace(known, presence=Presence.UNKNOWN, unique_identifiers=())
    tx.put_copies([opened], new=not here)
    if key.state is KeyState.PURGED:
        tx.change_key(as_purging(key), KeyState.PURGED)
