"""Store the keys that a rebuild is certain of: new keys, uncommitted keys, and missing copies of known keys.

A descriptor is written after the commit. So a described key or attempt was committed. If it is pending or aborted in
this database, the database has lost its commit. Such a key is stored as committed once no process can still commit or
abort its attempt.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.attempts import is_expired
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import HOLD_NAMES, Attempt, AttemptState, Copy, Key, KeyState, Presence, Purpose
from keystead.core.keys.names import ObjectKind, object_name
from keystead.core.keys.rebuilding import Doubt, Known
from keystead.core.model import Role, Svm
from keystead.service.context import Call, Caller
from keystead.service.keys.attempts import still_configured
from keystead.service.keys.topology import load_topology
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AuditRows, ClusterRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows, SvmRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, TopologyRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.descriptors import Descriptor
    from keystead.core.keys.rebuilding import CertainKey, FoundCopy, FoundObject, Inventory
    from keystead.service.audit.log import AuditLog
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

KEYS_AT_ONCE: Final = 200
"""How many keys one transaction stores."""

NO_SVM: Final = ""
"""Instead of the uuid of an SVM: the key is the cluster's own."""

CALL: Final = Call(Caller("", Role.ADMIN, ""), "", "keystead key-manager rebuild")
"""The caller for the audit record: nobody logs in to a data directory."""


class Rows(
    TopologyRows, SvmRows, KeyManagerRows, ListRows, ClusterRows, AuditRows, KeyRows, AttemptRows, CopyRows, Protocol
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True)
class _ObjectDetails:
    """More facts about the objects that were found.

    ``states`` are States by server and Unique Identifier. ``descriptors`` are the Unique Identifiers of descriptors, by
    server and attempt.
    """

    states: Mapping[tuple[str, str], str]
    descriptors: Mapping[tuple[str, str, int, str], str]


@dataclass(frozen=True)
class _Uncommitted:
    """Keys (uuids) that this database has not seen committed: they are pending or aborted.

    ``under_way``: an attempt of this incarnation has not expired yet. ``ended``: all others. ``of_other_incarnations``:
    those of ``ended`` without an attempt of this incarnation.
    """

    under_way: set[str]
    ended: set[str]
    of_other_incarnations: set[str]


class KeyImporter:
    """The import of rebuilt keys into the database."""

    def __init__(self, store: Store[Rows], audit: AuditLog, clock: Clock, node: str) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._node = node

    async def store(
        self, topology: ServerTopology, inventory: Inventory, objects: Sequence[FoundObject]
    ) -> tuple[int, int, list[Doubt]]:
        """Store the certain keys of an inventory, and the copies that the database lacks.

        Return how many keys were added, how many keys got missing copies, and why other keys were not stored. Called
        once for each key manager of a rebuild, when its servers were read.
        """
        seen = _ObjectDetails(
            states={(each.key_server, each.unique_identifier): each.state for each in objects},
            descriptors={
                (each.key_server, each.name.id, each.name.attempt, each.name.incarnation): each.unique_identifier
                for each in objects
                if each.name.kind is ObjectKind.DESCRIPTOR
            },
        )
        added, doubts = await self._store_all(inventory.keys, lambda tx, part: self._add(tx, topology, part, seen))
        completed, more = await self._store_all(
            inventory.known, lambda tx, part: self._complete(tx, topology, part, seen)
        )
        return added, completed, doubts + more

    async def _store_all(
        self, keys: Sequence[CertainKey], store: Callable[[Rows, Sequence[CertainKey]], tuple[int, list[Doubt]]]
    ) -> tuple[int, list[Doubt]]:
        """Store keys, some of them in each transaction. Return the sum of what ``store`` returns."""
        stored, doubts = 0, list[Doubt]()
        for first in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[first : first + KEYS_AT_ONCE]
            some, left = await self._store.write(lambda tx: store(tx, part))  # noqa: B023 - awaited
            stored += some
            doubts += left
        return stored, doubts

    def _add(
        self, tx: Rows, topology: ServerTopology, part: Sequence[CertainKey], seen: _ObjectDetails
    ) -> tuple[int, list[Doubt]]:
        """Add keys as committed, with the attempts that wrote their copies, unless the database has them committed.

        Return how many keys were added, and why others were not.
        """
        now = _locked_topology(tx, topology)
        rows = tx.keys([each.descriptor.uuid for each in part])
        uncommitted = _uncommitted(tx, rows, self._clock.now()).ended
        committed = {key.uuid for key in rows} - uncommitted
        added, doubts = 0, list[Doubt]()
        for each in part:
            attempts, copies = self._rows(each, seen)
            uuid = each.descriptor.uuid
            if uuid in committed or any(map(partial(_is_adopted, tx), attempts)):
                continue
            if now is None or not still_configured(copies, topology, now) or not self._free_name(tx, each.descriptor):
                doubts.append(Doubt.CHANGED)
                continue
            if uuid in uncommitted:
                tx.drop_key(uuid)
            owner = each.descriptor.svm
            tx.add_key(_key(each.descriptor, tx.svm(owner) if owner else None, self._clock.now()))
            for attempt in attempts:
                tx.add_attempt(attempt)
            tx.put_copies(copies, new=True)
            added += 1
        if added:
            message = f"rebuilt key manager {topology.key_manager.uuid}: {added} keys"
            self._audit.succeed(tx, CALL, message, svm=topology.key_manager.svm)
        return added, doubts

    def _free_name(self, tx: Rows, found: Descriptor) -> bool:
        """Return True if the key's SVM exists and no other key holds the key's name.

        A pending key does not hold its name any more once its attempts have expired. Its attempts and the key are
        aborted here, as the keeper does it.
        """
        if found.svm and tx.svm(found.svm) is None:
            return False
        holder = tx.key_named(found.key_manager, found.name)
        if holder is None or holder.uuid == found.uuid:
            return True
        if not _uncommitted(tx, [holder], self._clock.now()).ended:
            return False
        for attempt in tx.attempts([holder.uuid]):
            tx.end_attempt(attempt, AttemptState.ABORTED, expired=True)
        return tx.change_key(replace(holder, state=KeyState.ABORTED), KeyState.PENDING)

    def _complete(
        self, tx: Rows, topology: ServerTopology, part: Sequence[CertainKey], seen: _ObjectDetails
    ) -> tuple[int, list[Doubt]]:
        """Add to known keys the attempts, with their copies, that the database lacks or has not seen committed.

        Return how many keys were completed, and a doubt for each key that must wait: its attempt is under way, or the
        configuration has changed. A key that is gone, in another state or with another digest is skipped without a
        doubt: it is not, or not any more, the key that was found. Store an audit record if a key was completed.
        """
        now = _locked_topology(tx, topology)
        completed, doubts = 0, list[Doubt]()
        for each in part:
            attempts, copies = self._rows(each, seen)
            key = tx.key(each.descriptor.uuid, lock=True)
            if key is None or key.state not in KEPT_STATES or key.digest != each.descriptor.digest:
                continue
            new = self._missing_attempts(tx, key, attempts)
            if new is None:  # an attempt of this key has not expired yet
                doubts.append(Doubt.UNDER_WAY)
                continue
            if new and (now is None or not still_configured(copies, topology, now)):
                doubts.append(Doubt.CHANGED)
                continue
            for attempt in new:
                _put_attempt(tx, attempt, [copy for copy in copies if copy.attempt == attempt.number])
            completed += bool(new)
        if completed:
            message = f"rebuilt key manager {topology.key_manager.uuid}: copies of {completed} keys"
            self._audit.succeed(tx, CALL, message, svm=topology.key_manager.svm)
        return completed, doubts

    def _missing_attempts(self, tx: Rows, key: Key, attempts: Iterable[Attempt]) -> list[Attempt] | None:
        """Return those of the ``attempts`` that the database lacks, or has not seen committed.

        Return None if such an uncommitted attempt is the current incarnation's and has not expired yet. An attempt is
        left out if the database has another attempt with its number, or if another key has adopted its object. Called
        when a rebuild completes the known keys.
        """
        known = {attempt.number: attempt for attempt in tx.attempts([key.uuid])}
        current, now = incarnation_of(tx).uuid, self._clock.now()
        uncommitted = {each.number for each in attempts if _is_uncommitted(known.get(each.number), each)}
        if any(known[number].incarnation == current and not is_expired(known[number], now) for number in uncommitted):
            return None
        return [
            each
            for each in attempts
            if (each.number in uncommitted or each.number not in known) and not _is_adopted(tx, each)
        ]

    def _rows(self, each: CertainKey, seen: _ObjectDetails) -> tuple[list[Attempt], list[Copy]]:
        """Return the attempts and the copies of a key, as rows to store: all committed and present."""
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
                    object_state=seen.states.get((copy.key_server, copy.unique_identifiers[0]), ""),
                    descriptor=seen.descriptors.get((copy.key_server, *copy.descriptor.written_by), ""),
                    proven=self._clock.now(),
                )
                for copy in copies
            ]
        return attempts, rows

    def _attempt(self, found: Descriptor, purpose: Purpose) -> Attempt:
        """Return the committed attempt that a descriptor proves, as a row. Its times are unknown, so they are now."""
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
            adopted=found.adopted,
        )


def _by_attempt(copies: Iterable[FoundCopy]) -> dict[int, list[FoundCopy]]:
    """Return the copies by attempt, one for each server, because replicated servers show several.

    If an attempt's number is found with two incarnations, the first incarnation counts.
    """
    chosen: dict[int, dict[str, FoundCopy]] = defaultdict(dict)
    incarnations: dict[int, str] = {}
    for copy in copies:
        number = copy.descriptor.attempt
        if incarnations.setdefault(number, copy.descriptor.incarnation) == copy.descriptor.incarnation:
            chosen[number].setdefault(copy.key_server, copy)
    return {number: list(by_server.values()) for number, by_server in sorted(chosen.items())}


def _locked_topology(tx: Rows, topology: ServerTopology) -> ServerTopology | None:
    """Return the current topology, None if the key manager is gone. Locks the cluster and the key manager.

    So nobody changes the topology or adopts an object until the transaction ends. Called in each transaction of an
    import.
    """
    tx.cluster(lock=True)
    manager = tx.key_manager(topology.key_manager.uuid, lock=True)
    return None if manager is None else load_topology(tx, manager)


def known_of(tx: Rows, topology: ServerTopology, now: datetime) -> Known:
    """Return what the database knows of a key manager's keys, read in one transaction.

    A pending or aborted key without an attempt of this incarnation is not in ``keys``. So its objects can become
    orphans. Called by a rebuild before it makes the inventory, which says which of the found keys are certain.
    """
    keys: list[Key] = []
    under_way, ended = set[str](), set[str]()
    after = ""
    while page := tx.keys_in(topology.key_manager.uuid, tuple(KeyState), after, 1000):
        uncommitted = _uncommitted(tx, page, now)
        keys += (key for key in page if key.uuid not in uncommitted.of_other_incarnations)
        under_way |= uncommitted.under_way
        ended |= uncommitted.ended
        after = page[-1].uuid
    owner = topology.key_manager.svm
    svms = [owner] if owner else tx.page(Svm, Page(limit=2**31 - 1))
    return Known(
        key_manager=topology.key_manager.uuid,
        domain_of=topology.domain_of,
        svms={svm.uuid for svm in svms} | ({NO_SVM} if owner is None else set()),
        keys={key.uuid: key.svm.uuid if key.svm else NO_SVM for key in keys},
        names={key.name for key in keys if key.state in HOLD_NAMES and key.uuid not in ended},
        under_way=under_way,
        ended=ended,
    )


def _uncommitted(tx: Rows, keys: Iterable[Key], now: datetime) -> _Uncommitted:
    """Return those of these keys (uuids) that this database has not seen committed, by :class:`_Uncommitted`.

    Each of them is in ``under_way`` or in ``ended``. A descriptor is written after the commit. So a descriptor of such
    a key proves that this database lost the commit. Called when a rebuild reads what is known, and before it stores.
    """
    current = incarnation_of(tx).uuid
    uuids = {key.uuid for key in keys if key.state in {KeyState.PENDING, KeyState.ABORTED}}
    own = [each for each in tx.attempts(uuids) if each.incarnation == current]
    under_way = {each.key for each in own if not is_expired(each, now)}
    return _Uncommitted(
        under_way=under_way,
        ended=uuids - under_way,
        of_other_incarnations=uuids - {each.key for each in own},
    )


def _is_uncommitted(known: Attempt | None, found: Attempt) -> bool:
    """Return True if the database has an attempt that was found on a server, but has not seen it committed."""
    return known is not None and known.incarnation == found.incarnation and known.state is not AttemptState.COMMITTED


def _is_adopted(tx: KeyRows, attempt: Attempt) -> bool:
    """Return True if another key has adopted the object that the attempt wrote, or itself adopted."""
    names = filter(None, (str(object_name(attempt)), attempt.adopted))
    return any(key.uuid != attempt.key for name in names for key in tx.keys_adopting(name))


def _put_attempt(tx: Rows, attempt: Attempt, found: Sequence[Copy]) -> None:
    """Store a committed attempt with the copies that were found on servers.

    If the database has the same attempt as pending or aborted, replace it. Its copies at other addresses stay.
    """
    addresses = {(copy.key_server, copy.host) for copy in found}
    stored = [copy for copy in tx.copies([attempt.key]) if copy.attempt == attempt.number]
    tx.drop_attempt(attempt.key, attempt.number)
    tx.add_attempt(attempt)
    tx.put_copies([*found, *(copy for copy in stored if (copy.key_server, copy.host) not in addresses)], new=True)


def _key(found: Descriptor, svm: Svm | None, now: datetime) -> Key:
    """Return the committed key that a descriptor describes. ``svm`` is its owner, None for the cluster."""
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
