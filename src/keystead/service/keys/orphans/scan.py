"""Look for objects under our names that no attempt of this incarnation accounts for, on all of a key manager's servers.

What may be adopted is listed: copies of keys, not other lives' canaries and descriptors. One that ought to be gone
(its attempt was aborted, its key purged) and is back is not unclaimed: its copy is opened again, and ends as others do,
if its key is this key manager's; another's, on a server that both use, is found by that one's scan.
Nothing is destroyed here, and nothing is asked twice of what is another product's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.destroying import Ownership, is_anothers, ownership, purging
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import Attempt, Copy, Key, KeyState, Orphan, Presence
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.query.where import Condition, Op, Order
from keystead.service.keys.context import COPIES_PER_READ, topology_of
from keystead.service.keys.looking.look import attributes_of
from keystead.service.keys.looking.visit import visit
from keystead.service.ports.objects import Fault, KeyServerFault
from keystead.service.ports.store import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.names import ObjectName
    from keystead.core.model import KeyServer
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

REMEMBERED: Final = 100_000
"""Objects of other products that are remembered, so that their attributes are asked for once."""

LISTED: Final = 1024
"""Objects that are listed in one transaction: each is accounted for once more."""

_HYPHENS: Final = (0, 8, 12, 16)
"""Where a uuid's hyphens are, in the digits that a name has of it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An object of ours on a server, and what the catalogue has under its name."""

    unique_identifier: str
    name: str
    ownership: Ownership
    attempt: Attempt | None = None


class OrphanScan:
    """Looks for them. The keeper calls it, and seldom."""

    def __init__(self, context: KeeperContext) -> None:
        self._context = context
        self._foreign: set[tuple[str, str]] = set()

    async def scan(self, holding: Holding, key_manager: str) -> None:
        """Look at all objects on a key manager's servers that its catalogue does not list.

        A server that cannot be asked keeps its list. Raises StoreError, LeaseLost.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return
        await self._context.store.write(lambda tx: _forget_removed(tx, holding, topology))
        for server in topology.servers:
            try:
                found = await self._scanned(topology, server)
            except KeyServerFault as fault:
                log.info("objects are not listed", address=str(server.address), why=fault.reason)
                continue
            if found is not None:
                await self._note(holding, topology, server, found)

    async def _scanned(self, topology: ServerTopology, server: KeyServer) -> list[_Found] | None:
        """The objects of ours that are not listed; None when the server does not show what must be there."""
        known = await self._context.store.read(lambda tx: _listed(tx, topology, server))
        named: list[tuple[str, str]] = []
        async with visit(self._context, topology, server) as at:
            if not at.canary:
                return None
            for id_ in await at.session.locate_all():
                if id_ not in known and (server.uuid, id_) not in self._foreign:
                    named += await self._names(at, id_)
        return await self._context.store.read(lambda tx: [_accounted(tx, topology, *each) for each in named])

    async def _names(self, at: Visit, id_: str) -> list[tuple[str, str]]:
        await self._context.turn()
        try:
            facts = await attributes_of(at.session, id_)
        except KeyServerFault as fault:
            if fault.fault is not Fault.NOT_FOUND:
                raise
            return []
        ours = [(id_, name) for name in facts.names if parse(name) is not None]
        if not ours and len(self._foreign) < REMEMBERED:
            self._foreign.add((at.key_server, id_))
        return [] if facts.state in DESTROYED_STATES else ours[:1]  # a server that is restored brings it back

    async def _note(
        self, holding: Holding, topology: ServerTopology, server: KeyServer, found: Sequence[_Found]
    ) -> None:
        """List what is unclaimed, forget what is so no more, and open again what is back."""
        unclaimed = [each for each in found if each.ownership is Ownership.UNCLAIMED and _may_be_key(each.name)]
        ids = {each.unique_identifier for each in unclaimed}
        listed = await self._context.store.write(lambda tx: _forget_others(tx, holding, topology, server, ids))
        now = self._context.clock.now()
        rows = [
            Orphan(topology.key_manager.uuid, server.uuid, each.unique_identifier, each.name, now)
            for each in unclaimed
            if each.unique_identifier not in listed
        ]
        for start in range(0, len(rows), LISTED):
            await self._context.store.write(lambda tx: _list(tx, holding, topology, rows[start : start + LISTED]))  # noqa: B023
        await self._context.store.write(lambda tx: _open_all_again(tx, holding, server, found))


def _listed(tx: Transaction, topology: ServerTopology, server: KeyServer) -> set[str]:
    """The identifiers of objects that the catalogue lists as there: copies, descriptors and canaries.

    Those on servers that replicate with this one are here, too; not what another incarnation's aborted attempt left.
    """
    domain = topology.domain_of[server.uuid]
    known: set[str] = set()
    for uuid in (uuid for uuid, of in topology.domain_of.items() if of == domain):
        known |= set(topology.profiles[uuid].canary) if uuid in topology.profiles else set()
        after = ""
        while copies := tx.copies_on(uuid, after, COPIES_PER_READ):
            after = copies[-1].key
            attempts = tx.attempts({copy.key for copy in copies})
            others = {(each.key, each.number) for each in attempts if is_anothers(each, topology.incarnation)}
            standing = (copy for copy in copies if copy.presence is not Presence.DESTROYED)
            there = [copy for copy in standing if (copy.key, copy.attempt) not in others]
            known |= {id_ for copy in there for id_ in (*copy.unique_identifiers, copy.descriptor)}
    return known


def _forget_removed(tx: Transaction, holding: Holding, topology: ServerTopology) -> None:
    """Take what was found on servers from the list that are no servers of the key manager any more."""
    holding.check(tx)
    for each in tx.unclaimed(topology.key_manager.uuid):
        if topology.server(each.key_server) is None:
            tx.delete_orphans(each.key_server, [each.unique_identifier])


def _forget_others(
    tx: Transaction, holding: Holding, topology: ServerTopology, server: KeyServer, ids: set[str]
) -> set[str]:
    """Take from a server's list all but these identifiers; return those that are listed."""
    holding.check(tx)
    here = [each for each in tx.unclaimed(topology.key_manager.uuid) if each.key_server == server.uuid]
    listed = {each.unique_identifier for each in here}
    if listed - ids:
        tx.delete_orphans(server.uuid, listed - ids)
    return listed & ids


def _list(tx: Transaction, holding: Holding, topology: ServerTopology, rows: Sequence[Orphan]) -> None:
    """List objects, but for those that something accounts for by now: one may have been adopted meanwhile."""
    holding.check(tx)
    tx.cluster(lock=True)  # nobody adopts one before it is listed
    tx.put_orphans([row for row in rows if is_orphaned(tx, topology, row)])


def _open_all_again(tx: Transaction, holding: Holding, server: KeyServer, found: Sequence[_Found]) -> None:
    holding.check(tx)
    for each in found:
        if each.ownership is Ownership.ENDED and each.attempt is not None:
            _open_again(tx, each.attempt, server, each)


def is_orphaned(tx: Transaction, topology: ServerTopology, found: Orphan) -> bool:
    """Whether still nothing accounts for an object that was listed."""
    return _accounted(tx, topology, found.unique_identifier, found.name).ownership is Ownership.UNCLAIMED


def is_kept_elsewhere(tx: Transaction, topology: ServerTopology, name: str) -> bool:
    """Whether another key manager's key accounts for an object, or a key of any that adopted it."""
    if tx.keys_adopting(whole_name(name)):
        return True
    parsed = parse(name)
    key = key_of(tx, parsed) if parsed else None
    anothers = key is not None and key.key_manager != topology.key_manager.uuid
    return anothers and _accounted(tx, topology, "", name).ownership is not Ownership.UNCLAIMED


def _may_be_key(name: str) -> bool:
    parsed = parse(name)
    return parsed is not None and parsed.kind is ObjectKind.KEY


def whole_name(name: str) -> str:
    """An object's name, for half of a pair that of the whole."""
    parsed = parse(name)
    return name if parsed is None else str(replace(parsed, part=0))


def all_names(name: str) -> tuple[str, ...]:
    """An object's name as that of the whole, and of both halves of a pair: servers take the one or the other."""
    parsed = parse(name)
    return (name,) if parsed is None else tuple(str(replace(parsed, part=part)) for part in (0, 1, 2))


def _accounted(tx: Transaction, topology: ServerTopology, id_: str, name: str) -> _Found:
    """Whose an object is; it may belong to a key of any key manager that uses the same server."""
    if tx.keys_adopting(whole_name(name)):
        return _Found(id_, name, Ownership.KNOWN)
    parsed = parse(name)
    key = key_of(tx, parsed) if parsed else None
    attempts = tx.attempts([key.uuid]) if key and parsed else ()
    attempt = next((each for each in attempts if parsed and each.number == parsed.attempt), None)
    of = ownership(parsed, key, attempt, topology.incarnation)
    if of is Ownership.ENDED and key is not None and key.key_manager != topology.key_manager.uuid:
        of = Ownership.KNOWN  # on a server of this key manager nobody would ever end it
    return _Found(id_, name, of, attempt)


def key_of(tx: Transaction, name: ObjectName) -> Key | None:
    """The key whose uuid begins as a name says."""
    prefix = "-".join(name.id[one:other] for one, other in pairwise(_HYPHENS))
    where = ((Condition("uuid", Op.AT_LEAST, prefix),),)
    found = tx.page(Key, Page(where=where, order=(Order("uuid"),), limit=1))
    return found[0] if found and found[0].uuid.startswith(prefix) else None


def _open_again(tx: Transaction, attempt: Attempt, server: KeyServer, found: _Found) -> None:
    """Have an object that ought to be gone ended: its copy is unknown again, and a purged key's end goes on."""
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
        tx.change_key(purging(key), KeyState.PURGED)
