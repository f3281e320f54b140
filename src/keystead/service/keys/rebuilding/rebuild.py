"""Give key managers the keys back that their key servers hold, after the database was lost.

Every object under one of our names is looked at. Descriptors are read and checked. Copies are read and compared. Then
the certain keys are stored, and other objects are listed as orphans: see :mod:`keystead.core.keys.rebuilding`. An
object is not listed if it belongs to another key manager of this database, because key managers may share servers.

The rebuild only reads key servers. A key in the database gets the copies that the database does not know, and is not
changed otherwise. A key that the database has not seen committed is stored again: see
:mod:`keystead.service.keys.rebuilding.import_keys`. An adopted object belongs to the key that adopted it. The rebuild
can be run again when more servers answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.model import Orphan
from keystead.core.keys.rebuilding import FoundObject, inventory
from keystead.service.keys.looking.canaries import CANARY_NOT_SEEN
from keystead.service.keys.orphans.scan import has_other_owner
from keystead.service.keys.rebuilding.import_keys import KEYS_AT_ONCE, KeyImporter, known_of
from keystead.service.keys.rebuilding.inventory import Contents, ContentsReader
from keystead.service.keys.topology import load_topology
from keystead.service.ports.cluster import AuditRows, ClusterRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows, SvmRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, OrphanRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.core.keys.model import ServerProfile
    from keystead.core.keys.rebuilding import FoundCopy, FoundDescriptor
    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.secret import Secret
    from keystead.service.audit.log import AuditLog
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

NO_IDENTITY_OF_OURS: Final = "identity"
NO_DIGEST_KEY: Final = "no_digest_key"
NOTHING_SEEN: Final = "nothing_seen"
"""Reasons why a server's objects are missing or incomplete.

``identity``: the server cannot be asked. ``no_digest_key``: its objects cannot be told apart. ``nothing_seen``: it
shows no object, and no canary of it is known.
"""


class Rows(
    TopologyRows,
    SvmRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    AuditRows,
    LeaseRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    OrphanRows,
    Protocol,
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True)
class Rebuilt:
    """The result for one key manager.

    ``added`` is the number of keys that were added. ``completed`` is the number of keys in the database that got
    missing copies. ``doubts`` are the reasons for keys that were not added. ``unclaimed`` is the number of stored
    orphans, without the ``dismissed`` ones. ``unproven`` are copies that were not read with the material of their keys:
    the server's address, a reason, and how many. ``unread`` are servers that were not read, or may have more than they
    showed: address and reason, a fixed word. ``single_domain``: keys were found, and the key manager has only one
    domain.
    """

    key_manager: KeyManager
    added: int = 0
    completed: int = 0
    doubts: tuple[str, ...] = ()
    unclaimed: int = 0
    dismissed: int = 0
    unproven: tuple[tuple[str, str, int], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    single_domain: bool = False

    @property
    def complete(self) -> bool:
        """True if every server and every copy was read, no key is in doubt, and each orphan is dismissed."""
        return not (self.doubts or self.unclaimed or self.unread or self.unproven)


@dataclass(frozen=True)
class _ImportResult:
    """The result of the import of one key manager's keys, before orphans are stored.

    ``objects`` are the objects that were looked at. ``unclaimed`` are those of them that no key of this key manager
    accounts for.
    """

    topology: ServerTopology
    rebuilt: Rebuilt
    objects: tuple[FoundObject, ...] = ()
    unclaimed: tuple[FoundObject, ...] = ()


class Rebuilder:
    """The rebuild of key managers, one after the other."""

    def __init__(
        self, store: Store[Rows], objects: KeyObjects, endpoints: Endpoints, audit: AuditLog, clock: Clock, node: str
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._contents = ContentsReader(objects)
        self._importer = KeyImporter(store, audit, clock, node)
        self._clock = clock

    async def rebuild(self, key_managers: Sequence[KeyManager]) -> list[Rebuilt]:
        """Store the certain keys of each key manager, then the orphans of all. Raises StoreError.

        Called by the command ``keystead key-manager rebuild``. Return one result for each key manager.
        """
        results = [await self._rebuild(each) for each in key_managers]
        return [await self._store_orphans(each) for each in results]

    async def _rebuild(self, key_manager: KeyManager) -> _ImportResult:
        """Read all servers of a key manager, and store the keys that are certain.

        Orphans are stored later, because an object may belong to a key of another key manager. Raises StoreError.
        """
        topology = await self._store.read(lambda tx: load_topology(tx, key_manager))
        digest_key, read, unread = self._digest_key(topology), list[Contents](), list[tuple[str, str]]()
        for found in await asyncio.gather(*(self._read(topology, server, digest_key) for server in topology.servers)):
            read += found[0]
            unread += found[1]
        objects = [each for contents in read for each in contents.objects]
        descriptors, copies, unproven = await self._described(read, digest_key)
        known = await self._store.read(lambda tx: known_of(tx, topology, self._clock.now()))
        found_keys = inventory(objects, descriptors, copies, known)
        added, completed, doubts = await self._importer.store(topology, found_keys, objects)
        rebuilt = Rebuilt(
            key_manager=key_manager,
            added=added,
            completed=completed,
            doubts=tuple(sorted([*found_keys.doubts.values(), *doubts])),
            unproven=tuple(unproven),
            unread=tuple(unread),
            single_domain=bool(found_keys.keys) and len(set(known.domain_of.values())) == 1,
        )
        return _ImportResult(topology, rebuilt, tuple(objects), found_keys.unclaimed)

    async def _described(
        self, read: Sequence[Contents], digest_key: Secret | None
    ) -> tuple[list[FoundDescriptor], list[FoundCopy], list[tuple[str, str, int]]]:
        """Return the authentic descriptors of all servers, the copies that agree with them, and the unproven copies.

        All are empty without a digest key.
        """
        if digest_key is None:
            return [], [], []
        descriptors = [each for contents in read for each in contents.opened(digest_key)]
        copies = await asyncio.gather(*(self._contents.copies(each, descriptors, digest_key) for each in read))
        unproven = [
            (str(contents.endpoint.server), reason, number)
            for contents, (_, others) in zip(read, copies, strict=True)
            for reason, number in sorted(others.items())
        ]
        return descriptors, [copy for agreeing, _ in copies for copy in agreeing], unproven

    def _digest_key(self, topology: ServerTopology) -> Secret | None:
        """Return the digest key, which tells our descriptors and copies from others.

        None if there is no digest key, or it cannot be unsealed.
        """
        try:
            return self._endpoints.digest_key(topology)
        except NO_IDENTITY:
            return None

    async def _read(
        self, topology: ServerTopology, server: KeyServer, digest_key: Secret | None
    ) -> tuple[list[Contents], list[tuple[str, str]]]:
        """Read a server's objects.

        Return the contents, and the server's address with the reason if contents are missing or may be incomplete.
        """
        try:
            endpoint = self._endpoints.primary(server, self._endpoints.identity(topology))
        except NO_IDENTITY:
            return [], [(str(server.address), NO_IDENTITY_OF_OURS)]
        try:
            contents = await self._contents.read(endpoint)
        except KeyServerFault as fault:
            return [], [(str(server.address), fault.reason)]
        reason = await self._why_incomplete(contents, topology.profiles.get(server.uuid), digest_key)
        return [contents], [(str(server.address), reason)] * bool(reason)

    async def _why_incomplete(
        self, contents: Contents, profile: ServerProfile | None, digest_key: Secret | None
    ) -> str:
        """Return the reason why a server may hold more than it shows; empty if there is none."""
        if digest_key is None:
            return NO_DIGEST_KEY
        if profile is None:  # so there is no canary that it must show
            return "" if contents.objects else NOTHING_SEEN
        return "" if await self._contents.shows_canary(contents, profile, digest_key) else CANARY_NOT_SEEN

    # --- store ---

    async def _store_orphans(self, result: _ImportResult) -> Rebuilt:
        """Store the objects that no key of any key manager accounts for, as orphans.

        Return the result with their number. Called when the keys of all key managers are stored.
        """
        key_manager, now = result.rebuilt.key_manager, self._clock.now()
        rows: list[Orphan] = []
        for first in range(0, len(result.unclaimed), KEYS_AT_ONCE):
            part = result.unclaimed[first : first + KEYS_AT_ONCE]
            rows += [
                Orphan(key_manager.uuid, each.key_server, each.unique_identifier, str(each.name), now)
                for each in await self._store.read(lambda tx: _without_key(tx, result.topology, part))  # noqa: B023
            ]
        looked_at = {(each.key_server, each.unique_identifier) for each in result.objects}
        dismissed = await self._store.write(lambda tx: _replace_orphans(tx, key_manager, rows, looked_at))
        return replace(result.rebuilt, unclaimed=len(rows) - dismissed, dismissed=dismissed)


def _without_key(tx: Rows, topology: ServerTopology, found: Iterable[FoundObject]) -> list[FoundObject]:
    """Return those objects that no other key manager's key accounts for, and that no key has adopted."""
    return [each for each in found if not has_other_owner(tx, topology, str(each.name))]


def _replace_orphans(
    tx: OrphanRows, key_manager: KeyManager, rows: Sequence[Orphan], looked_at: set[tuple[str, str]]
) -> int:
    """Store the orphans; return how many of them are dismissed.

    Delete stored orphans that were looked at and are no orphans now, or have another name.
    """
    same = {(each.key_server, each.unique_identifier, each.name) for each in rows}
    for each in tx.orphans(key_manager.uuid):
        place = (each.key_server, each.unique_identifier)
        if place in looked_at and (*place, each.name) not in same:
            tx.delete_orphans(each.key_server, [each.unique_identifier])
    tx.put_orphans(rows)
    there = {(each.key_server, each.unique_identifier) for each in rows}
    dismissed = (each for each in tx.orphans(key_manager.uuid) if each.dismissal is not None)
    return sum((each.key_server, each.unique_identifier) in there for each in dismissed)
