"""Give key managers the keys back that their key servers hold, after their database was lost.

Every object under one of our names is looked at, descriptors are read and checked, copies are read and compared; then
what is certain is taken, and the rest listed as unclaimed (:mod:`keystead.core.keys.rebuilding`), unless it belongs to
another key manager of this database: they may share servers. It only reads key servers. A key that the database has
gets the copies that it does not know of, and is not changed otherwise; but for those of which it has only the beginning
(:mod:`keystead.service.keys.rebuilding.import_keys`). Objects that were adopted are their new key's. It can be run
again when servers have come back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from keystead.core.keys.model import Orphan
from keystead.core.keys.rebuilding import FoundObject, inventory
from keystead.service.keys.looking.verify import CANARY_NOT_SEEN
from keystead.service.keys.orphans.scan import is_kept_elsewhere
from keystead.service.keys.rebuilding.import_keys import KEYS_AT_ONCE, KeyImporter, known_of
from keystead.service.keys.rebuilding.inventory import Contents, ContentsReader
from keystead.service.keys.topology import load_topology
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
    from keystead.service.ports.store import Clock, Store, Transaction

NO_IDENTITY_OF_OURS: Final = "identity"
NO_DIGEST_KEY: Final = "no_digest_key"
NOTHING_SEEN: Final = "nothing_seen"
"""Why a server cannot be asked, what it shows cannot be told apart, or may not be all that it holds."""


@dataclass(frozen=True)
class Rebuilt:
    """What came of a key manager: keys taken, doubts by reason, objects that are unclaimed, servers not read.

    ``completed`` are keys that the database had without some of their copies. A server that was ``unread`` may have
    shown something: by address and reason, a fixed word.
    """

    key_manager: KeyManager
    taken: int = 0
    completed: int = 0
    doubts: tuple[str, ...] = ()
    unclaimed: int = 0
    unread: tuple[tuple[str, str], ...] = ()
    single_domain: bool = False

    @property
    def complete(self) -> bool:
        """Whether every server was read, and nothing is in doubt."""
        return not (self.doubts or self.unclaimed or self.unread)


@dataclass(frozen=True)
class _Left:
    """What came of a key manager so far, the objects that were looked at, and those that are none of its own keys'."""

    topology: ServerTopology
    rebuilt: Rebuilt
    objects: tuple[FoundObject, ...] = ()
    unclaimed: tuple[FoundObject, ...] = ()


class Rebuilder:
    """Rebuilds key managers, one at a time."""

    def __init__(
        self, store: Store, objects: KeyObjects, endpoints: Endpoints, audit: AuditLog, clock: Clock, node: str
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._contents = ContentsReader(objects)
        self._taker = KeyImporter(store, audit, clock, node)
        self._clock = clock

    async def rebuild(self, key_managers: Sequence[KeyManager]) -> list[Rebuilt]:
        """Take what is certain of each, then list what is nobody's of them all. Raises StoreError."""
        left = [await self._rebuild(each) for each in key_managers]
        return [await self._list_left(each) for each in left]

    async def _rebuild(self, key_manager: KeyManager) -> _Left:
        topology = await self._store.read(lambda tx: load_topology(tx, key_manager))
        digest_key, read, unread = self._digest_key(topology), list[Contents](), list[tuple[str, str]]()
        for found in await asyncio.gather(*(self._read(topology, server, digest_key) for server in topology.servers)):
            read += found[0]
            unread += found[1]
        objects = [each for contents in read for each in contents.objects]
        descriptors, copies = await self._described(read, digest_key) if digest_key is not None else ([], [])
        known = await self._store.read(lambda tx: known_of(tx, topology, self._clock.now()))
        made = inventory(objects, descriptors, copies, known)
        taken, completed, doubts = await self._taker.take(topology, made, objects)
        rebuilt = Rebuilt(
            key_manager=key_manager,
            taken=taken,
            completed=completed,
            doubts=tuple(sorted([*made.doubts.values(), *doubts])),
            unread=tuple(unread),
            single_domain=bool(made.keys) and len(set(known.domain_of.values())) == 1,
        )
        return _Left(topology, rebuilt, tuple(objects), made.unclaimed)

    async def _described(
        self, read: Sequence[Contents], digest_key: Secret
    ) -> tuple[list[FoundDescriptor], list[FoundCopy]]:
        """The descriptors that are authentic, whichever server shows them, and the copies that agree with them."""
        descriptors = [each for contents in read for each in contents.opened(digest_key)]
        copies = await asyncio.gather(*(self._contents.copies(each, descriptors, digest_key) for each in read))
        return descriptors, [copy for of_server in copies for copy in of_server]

    def _digest_key(self, topology: ServerTopology) -> Secret | None:
        """What says whose descriptors and copies are; None when there is none, or it cannot be used."""
        try:
            return self._endpoints.digest_key(topology)
        except NO_IDENTITY:
            return None

    async def _read(
        self, topology: ServerTopology, server: KeyServer, digest_key: Secret | None
    ) -> tuple[list[Contents], list[tuple[str, str]]]:
        """What a server shows, and its address with the reason why that is nothing, or may not be all."""
        try:
            endpoint = self._endpoints.primary(server, self._endpoints.identity(topology))
        except NO_IDENTITY:
            return [], [(str(server.address), NO_IDENTITY_OF_OURS)]
        try:
            contents = await self._contents.read(endpoint)
        except KeyServerFault as fault:
            return [], [(str(server.address), fault.reason)]
        reason = await self._hides(contents, topology.profiles.get(server.uuid), digest_key)
        return [contents], [(str(server.address), reason)] * bool(reason)

    async def _hides(self, contents: Contents, profile: ServerProfile | None, digest_key: Secret | None) -> str:
        """Why a server may hold more than is seen of it; empty when nothing says so."""
        if digest_key is None:
            return NO_DIGEST_KEY
        if profile is None:  # nothing is known that it must show
            return "" if contents.objects else NOTHING_SEEN
        return "" if await self._contents.shows_canary(contents, profile, digest_key) else CANARY_NOT_SEEN

    # --- store ---

    async def _list_left(self, left: _Left) -> Rebuilt:
        """List what no key accounts for, whichever key manager's."""
        key_manager, now = left.rebuilt.key_manager, self._clock.now()
        rows: list[Orphan] = []
        for first in range(0, len(left.unclaimed), KEYS_AT_ONCE):
            part = left.unclaimed[first : first + KEYS_AT_ONCE]
            rows += [
                Orphan(key_manager.uuid, each.key_server, each.unique_identifier, str(each.name), now)
                for each in await self._store.read(lambda tx: _nobodys(tx, left.topology, part))  # noqa: B023
            ]
        looked_at = {(each.key_server, each.unique_identifier) for each in left.objects}
        await self._store.write(lambda tx: _list_unclaimed(tx, key_manager, rows, looked_at))
        return replace(left.rebuilt, unclaimed=len(rows))


def _nobodys(tx: Transaction, topology: ServerTopology, found: Iterable[FoundObject]) -> list[FoundObject]:
    return [each for each in found if not is_kept_elsewhere(tx, topology, str(each.name))]


def _list_unclaimed(
    tx: Transaction, key_manager: KeyManager, rows: Sequence[Orphan], looked_at: set[tuple[str, str]]
) -> None:
    """List what is unclaimed, and no more what was looked at and is accounted for by now."""
    listed = {(each.key_server, each.unique_identifier) for each in tx.unclaimed(key_manager.uuid)}
    for key_server, id_ in listed & looked_at - {(each.key_server, each.unique_identifier) for each in rows}:
        tx.delete_orphans(key_server, [id_])
    tx.put_orphans(rows)
