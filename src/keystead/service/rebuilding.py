"""Give key managers the keys back that their key servers hold, after their database was lost.

Every object under one of our names is looked at, descriptors are read and checked, copies are read and compared; then
what is certain is taken, and the rest listed as unclaimed (:mod:`keystead.core.keys.rebuilding`), unless it belongs to
another key manager of this database: they may share servers. It only reads key
servers, and changes no key that the database has, but for those that it has not seen committed: a database that was
restored may have the beginning of a key, and its descriptor says that it was committed. Objects that were adopted are
their new key's. It can be run again when servers have come back.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.model import Attempt, AttemptState, Copy, Key, KeyState, Presence, Purpose, Unclaimed
from keystead.core.keys.names import ObjectKind, object_name
from keystead.core.keys.rebuilding import Doubt, FoundCopy, FoundObject, Known, inventory
from keystead.core.model import Role, Svm
from keystead.service.context import Call, Caller
from keystead.service.key_attempts import count_still
from keystead.service.key_places import incarnation_of, load_places
from keystead.service.key_ports import KeyServerFault
from keystead.service.ports import Page
from keystead.service.server_contents import Contents, ContentsReader
from keystead.service.unclaimed_scan import is_kept_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.descriptors import Descriptor
    from keystead.core.keys.rebuilding import Certain, Inventory
    from keystead.core.model import KeyManager
    from keystead.service.audit import AuditLog
    from keystead.service.key_places import KeyPlaces, Reacher
    from keystead.service.key_ports import KeyObjects, Reach
    from keystead.service.ports import Clock, Store, Transaction

log = structlog.get_logger(__name__)

KEYS_AT_ONCE: Final = 200
"""Keys that one transaction takes."""

CALL: Final = Call(Caller("", Role.ADMIN, ""), "", "keystead key-manager rebuild")
"""Who does it, for the audit record: nobody logs in at a data directory."""


@dataclass(frozen=True)
class Rebuilt:
    """What came of a key manager: keys taken, doubts by reason, objects that are unclaimed, servers not read."""

    key_manager: KeyManager
    taken: int = 0
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

    places: KeyPlaces
    rebuilt: Rebuilt
    objects: tuple[FoundObject, ...] = ()
    unclaimed: tuple[FoundObject, ...] = ()


class Rebuilder:
    """Rebuilds key managers, one at a time."""

    def __init__(
        self, store: Store, objects: KeyObjects, reacher: Reacher, audit: AuditLog, clock: Clock, node: str
    ) -> None:
        self._store = store
        self._reacher = reacher
        self._contents = ContentsReader(objects)
        self._audit = audit
        self._clock = clock
        self._node = node

    async def rebuild(self, key_managers: Sequence[KeyManager]) -> list[Rebuilt]:
        """Take what is certain of each, then list what is nobody's of them all.

        Raises StoreError; SealError and ValueError when the bundle is not whole.
        """
        left = [await self._rebuild(each) for each in key_managers]
        return [await self._list_left(each) for each in left]

    async def _rebuild(self, key_manager: KeyManager) -> _Left:
        places = await self._store.read(lambda tx: load_places(tx, key_manager))
        if places.sealed_digest_key is None:
            return _Left(places, Rebuilt(key_manager))
        digest_key, read, unread = self._reacher.digest_key(places), list[Contents](), list[tuple[str, str]]()
        for found in await asyncio.gather(*map(self._read, self._reaches(places))):
            if isinstance(found, Contents):
                read.append(found)
            else:
                unread.append(found)
        descriptors = [each for contents in read for each in contents.opened(digest_key)]
        copies = await asyncio.gather(*(self._contents.copies(each, descriptors, digest_key) for each in read))
        objects = [each for contents in read for each in contents.objects]
        known = await self._store.read(lambda tx: _known(tx, places))
        made = inventory(objects, descriptors, [copy for each in copies for copy in each], known)
        taken, doubts = await self._take(places, made, objects)
        rebuilt = Rebuilt(
            key_manager=key_manager,
            taken=taken,
            doubts=tuple(sorted([*made.doubts.values(), *doubts])),
            unread=tuple(unread),
            single_domain=bool(made.keys) and len(set(known.domain_of.values())) == 1,
        )
        return _Left(places, rebuilt, tuple(objects), made.unclaimed)

    def _reaches(self, places: KeyPlaces) -> list[Reach]:
        identity = self._reacher.identity(places)
        return [self._reacher.primary(server, identity) for server in places.servers]

    async def _read(self, reach: Reach) -> Contents | tuple[str, str]:
        """What a server holds, or its address and the reason why it was not read."""
        try:
            return await self._contents.read(reach)
        except KeyServerFault as fault:
            return str(reach.server), fault.reason

    # --- store ---

    async def _take(
        self, places: KeyPlaces, made: Inventory, objects: Sequence[FoundObject]
    ) -> tuple[int, list[Doubt]]:
        """Store what is certain; how many keys were, and why others were not."""
        states = {(each.key_server, each.unique_identifier): each.state for each in objects}
        descriptors = {
            (each.key_server, each.name.id, each.name.attempt, each.name.incarnation): each.unique_identifier
            for each in objects
            if each.name.kind is ObjectKind.DESCRIPTOR
        }
        taken, doubts = 0, list[Doubt]()
        for first in range(0, len(made.keys), KEYS_AT_ONCE):
            part = made.keys[first : first + KEYS_AT_ONCE]
            added, left = await self._store.write(lambda tx: self._add(tx, places, part, states, descriptors))  # noqa: B023
            taken += added
            doubts += left
        return taken, doubts

    async def _list_left(self, left: _Left) -> Rebuilt:
        """List what no key accounts for, whichever key manager's."""
        key_manager, now = left.rebuilt.key_manager, self._clock.now()
        rows: list[Unclaimed] = []
        for first in range(0, len(left.unclaimed), KEYS_AT_ONCE):
            part = left.unclaimed[first : first + KEYS_AT_ONCE]
            rows += [
                Unclaimed(key_manager.uuid, each.key_server, each.unique_identifier, str(each.name), now)
                for each in await self._store.read(lambda tx: _nobodys(tx, left.places, part))  # noqa: B023
            ]
        looked_at = {(each.key_server, each.unique_identifier) for each in left.objects}
        await self._store.write(lambda tx: _list_unclaimed(tx, key_manager, rows, looked_at))
        return replace(left.rebuilt, unclaimed=len(rows))

    def _add(
        self,
        tx: Transaction,
        places: KeyPlaces,
        part: Sequence[Certain],
        states: dict[tuple[str, str], str],
        descriptors: dict[tuple[str, str, int, str], str],
    ) -> tuple[int, list[Doubt]]:
        """Add keys that are not there yet, with the attempts that wrote their copies, all of them committed."""
        tx.cluster(lock=True)  # nobody adopts their objects meanwhile
        manager = tx.key_manager(places.key_manager.uuid, lock=True)
        now = None if manager is None else load_places(tx, manager)
        rows = tx.keys([each.descriptor.uuid for each in part])
        begun = _only_begun(tx, rows)
        there = {key.uuid for key in rows} - begun
        added, doubts = 0, list[Doubt]()
        for each in part:
            attempts, copies = self._rows(each, states, descriptors)
            uuid = each.descriptor.uuid
            if uuid in there or any(tx.keys_adopting(str(object_name(attempt))) for attempt in attempts):
                continue
            holder = tx.key_named(places.key_manager.uuid, each.descriptor.name)
            if now is None or not count_still(copies, places, now) or (holder is not None and holder.uuid != uuid):
                doubts.append(Doubt.CHANGED)
                continue
            if uuid in begun:
                tx.drop_key(uuid)
            owner = each.descriptor.svm
            tx.add_key(_key(each.descriptor, tx.svm(owner) if owner else None, self._clock.now()))
            for attempt in attempts:
                tx.add_attempt(attempt)
            tx.put_copies(copies, new=True)
            added += 1
        if added:
            message = f"rebuilt key manager {places.key_manager.uuid}: {added} keys"
            self._audit.succeed(tx, CALL, message, svm=places.key_manager.svm)
        return added, doubts

    def _rows(
        self,
        each: Certain,
        states: dict[tuple[str, str], str],
        descriptors: dict[tuple[str, str, int, str], str],
    ) -> tuple[list[Attempt], list[Copy]]:
        """The attempts and copies of a key."""
        attempts: list[Attempt] = []
        rows: list[Copy] = []
        for number, copies in _by_attempt(each.copies).items():
            attempts.append(self._attempt(copies[0].descriptor, Purpose.COPY if number > 1 else Purpose.CREATE))
            rows += [
                Copy(
                    key=each.descriptor.uuid,
                    attempt=number,
                    key_server=copy.key_server,
                    presence=Presence.PRESENT,
                    unique_identifiers=copy.unique_identifiers,
                    object_state=states.get((copy.key_server, copy.unique_identifiers[0]), ""),
                    descriptor=descriptors.get((copy.key_server, *copy.descriptor.written_by), ""),
                    proven=self._clock.now(),
                )
                for copy in copies
            ]
        return attempts, rows

    def _attempt(self, found: Descriptor, purpose: Purpose) -> Attempt:
        now = self._clock.now()
        return Attempt(
            key=found.uuid,
            number=found.attempt,
            purpose=purpose,
            incarnation=found.incarnation,
            token=secrets.token_hex(16),
            node=self._node,
            state=AttemptState.COMMITTED,
            began=now,
            expires=now,
        )


def _by_attempt(copies: Iterable[FoundCopy]) -> dict[int, list[FoundCopy]]:
    """One copy for each server and attempt: replicated servers show several. An attempt has one incarnation."""
    chosen: dict[int, dict[str, FoundCopy]] = defaultdict(dict)
    incarnations: dict[int, str] = {}
    for copy in copies:
        number = copy.descriptor.attempt
        if incarnations.setdefault(number, copy.descriptor.incarnation) == copy.descriptor.incarnation:
            chosen[number].setdefault(copy.key_server, copy)
    return {number: list(by_server.values()) for number, by_server in sorted(chosen.items())}


def _known(tx: Transaction, places: KeyPlaces) -> Known:
    """What the database has, read at once."""
    keys: list[Key] = []
    after = ""
    while page := tx.keys_in(places.key_manager.uuid, tuple(KeyState), after, 1000):
        begun = _only_begun(tx, page)
        keys += (key for key in page if key.uuid not in begun)
        after = page[-1].uuid
    owner = places.key_manager.svm
    svms = [owner] if owner else tx.page(Svm, Page(limit=2**31 - 1))
    held = (KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED)
    return Known(
        key_manager=places.key_manager.uuid,
        domain_of=places.domain_of,
        svms={svm.uuid for svm in svms} | ({""} if owner is None else set()),
        keys={key.uuid for key in keys},
        names={key.name for key in keys if key.state in held},
    )


def _nobodys(tx: Transaction, places: KeyPlaces, found: Iterable[FoundObject]) -> list[FoundObject]:
    return [each for each in found if not is_kept_elsewhere(tx, places, str(each.name))]


def _list_unclaimed(
    tx: Transaction, key_manager: KeyManager, rows: Sequence[Unclaimed], looked_at: set[tuple[str, str]]
) -> None:
    """List what is unclaimed, and no more what was looked at and is accounted for by now."""
    listed = {(each.key_server, each.unique_identifier) for each in tx.unclaimed(key_manager.uuid)}
    for key_server, id_ in listed & looked_at - {(each.key_server, each.unique_identifier) for each in rows}:
        tx.delete_unclaimed(key_server, [id_])
    tx.put_unclaimed(rows)


def _only_begun(tx: Transaction, keys: Iterable[Key]) -> set[str]:
    """Those that this database has not seen committed, and that an earlier life of it began: nobody ends them here."""
    current = incarnation_of(tx).uuid
    uuids = {key.uuid for key in keys if key.state in {KeyState.PENDING, KeyState.ABORTED}}
    return uuids - {each.key for each in tx.attempts(uuids) if each.incarnation == current}


def _key(found: Descriptor, svm: Svm | None, now: datetime) -> Key:
    return Key(
        uuid=found.uuid,
        key_id=found.key_id,
        key_manager=found.key_manager,
        svm=svm,
        name=found.name,
        key_tag=found.key_tag,
        key_type=found.key_type,
        state=KeyState.COMMITTED,
        length=found.length,
        created=found.created,
        digest=found.digest,
        committed=now,
    )
