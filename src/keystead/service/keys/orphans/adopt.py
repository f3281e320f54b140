"""Objects under our names that no attempt of this incarnation accounts for: listed, adopted, never destroyed.

They come from other lives of the database, or were written by what was forgotten. One that was adopted is not destroyed
either: it may be somebody else's key as well, so that its purge ends with a receipt that it was ``left``. Its name says
which object it is: it is one key's at a time, whatever key manager's, and on however many servers it lies. It does not
say whose key it was, unless that key is here, and key managers of several SVMs may use one server with one certificate:
so they are for calls of the whole cluster only. Who looks for them: :mod:`keystead.service.keys.orphans.scan`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.creating import LENGTH, NewKey, check_halves, plan_create
from keystead.core.keys.digests import digest
from keystead.core.keys.model import (
    IN_USE,
    Attempt,
    AttemptState,
    Copy,
    Key,
    KeyState,
    KeyType,
    Orphan,
    Presence,
    Purpose,
)
from keystead.core.keys.names import ObjectKind, is_written_by, parse
from keystead.service.cluster.svms import concerning
from keystead.service.keys.attempts import count_still
from keystead.service.keys.looking.visit import visit
from keystead.service.keys.orphans.scan import all_names, is_orphaned, key_of, whole_name
from keystead.service.keys.topology import load_topology
from keystead.service.keys.writing.create import create_state
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import KeyManager, Svm
    from keystead.core.secret import Secret
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction


AUTHENTICATION_LENGTHS: Final = range(20, 33)
"""Bytes that authentication keys have."""


@dataclass(frozen=True, slots=True)
class OrphanView:
    """An object, and whether an incarnation of this database wrote it, as its name tells."""

    of: Orphan
    own: bool


class Orphans:
    """Lists and adopts them."""

    def __init__(self, context: KeeperContext, audit: AuditLog) -> None:
        self._context = context
        self._audit = audit

    async def list(self, call: Call, key_manager: str) -> tuple[OrphanView, ...]:
        """Return what was found last, by server, name and identifier; nothing to a call that is confined to an SVM."""

        def read(tx: Transaction) -> tuple[OrphanView, ...]:
            found, lives = _found(tx, call, _seen(tx, call, key_manager)), tx.incarnations()
            return tuple(OrphanView(each, is_written_by(each.name, lives)) for each in found)

        return await self._context.store.read(read)

    async def adopt(
        self,
        call: Call,
        key_manager: str,
        key_server: str,
        unique_identifier: str,
        name: str,
        svm: Svm | None = None,
    ) -> Key:
        """Make an unclaimed object a key of this name, whose first copy it is; the others are written from it.

        ``key_server`` is the server's uuid, ``svm`` whose key it will be, as for a new key. 64 bytes are a volume's
        key, 20 to 32 an authentication key. Raises 4 (404) for what is not unclaimed (any more), 65536076 when it
        cannot be read, 1 (409) for a copy of a key that another owner has in use, and what creating a key raises. Of a
        pair, either part stands for both. A purge leaves it.
        """
        while True:
            key = await self._try(call, key_manager, key_server, unique_identifier, name, svm)
            if key is not None:
                return key

    async def _try(
        self, call: Call, key_manager: str, key_server: str, unique_identifier: str, name: str, svm: Svm | None
    ) -> Key | None:
        """Read it and adopt it; None when server or certificate were changed after it was read."""
        topology, parts = await self._context.store.read(
            lambda tx: _adoptable(tx, call, key_manager, key_server, unique_identifier)
        )
        server = topology.server(key_server)
        if server is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="key_server")
        ids = tuple(part.unique_identifier for part in parts)
        try:
            async with visit(self._context, topology, server) as at:
                await _check_names(at, parts)
                material = await at.session.get(ids)
        except KeyServerFault as fault:
            with concerning(topology.key_manager.svm):
                arguments = [("server", str(server.address)), ("reason", fault.reason)]
                raise OntapError(errors.NOT_PUSHED, target="unique_identifier", arguments=arguments) from None
        new = _new_key(name, svm, material)
        copy = Copy("", 1, key_server, Presence.PRESENT, unique_identifiers=ids)
        return await self._context.store.write(lambda tx: self._adopt(tx, call, topology, new, copy, material))

    def _adopt(
        self, tx: Transaction, call: Call, then: ServerTopology, new: NewKey, copy: Copy, material: Secret
    ) -> Key | None:
        """Plan under the key manager's lock as for a new key, and store it as committed, with its one copy.

        None when that copy was read somewhere else, or as somebody else.
        """
        tx.cluster(lock=True)  # nobody adopts an object of this name into another key manager meanwhile
        key_manager = then.key_manager.uuid
        manager = _seen(tx, call, key_manager, lock=True)
        topology, parts = _adoptable(tx, call, key_manager, copy.key_server, copy.unique_identifiers[0])
        if not count_still([copy], then, topology):
            return None
        now, uuid = self._context.clock.now(), str(uuid4())
        with concerning(manager.svm):
            planned = plan_create(create_state(tx, call.scope, topology, new), new, uuid, now)
        _check_owner(tx, parts[0], planned)
        key = replace(
            planned,
            state=KeyState.COMMITTED,
            committed=now,
            length=len(material.reveal()),
            digest=digest(self._context.endpoints.digest_key(topology), uuid, material),
        )
        tx.add_key(key)
        name = whole_name(parts[0].name)
        tx.add_attempt(self._attempt(key, topology, name))
        tx.put_copies([replace(copy, key=uuid, written=now, proven=now)], new=True)
        tx.delete_orphans_named(all_names(name))  # of other servers and key managers, too: it is this key's now
        self._audit.succeed(tx, call, f"adopted key {key.key_id}", svm=key.svm)
        return key

    def _attempt(self, key: Key, topology: ServerTopology, adopted: str) -> Attempt:
        """What accounts for the object from now on."""
        return Attempt(
            key=key.uuid,
            number=1,
            purpose=Purpose.CREATE,
            incarnation=topology.incarnation.uuid,
            token=secrets.token_hex(16),
            node=self._context.node,
            state=AttemptState.COMMITTED,
            began=key.created,
            expires=key.created,
            adopted=adopted,
        )


async def _check_names(at: Visit, parts: Sequence[Orphan]) -> None:
    """Raise 4 (404) when an identifier is another object's by now: it was listed hours ago. Raises KeyServerFault."""
    for part in parts:
        if part.name not in (await at.session.get_attributes(part.unique_identifier)).names:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")


def _check_owner(tx: Transaction, found: Orphan, new: Key) -> None:
    """Raise 1 (409) for what is, by its name, a copy of somebody else's key that is in use here."""
    name = parse(found.name)
    key = key_of(tx, name) if name else None
    if key is None or key.state not in IN_USE or (key.key_manager, key.svm) == (new.key_manager, new.svm):
        return
    raise OntapError(errors.DUPLICATE_ENTRY, target="unique_identifier", arguments=[("key_id", key.key_id)])


def _new_key(name: str, svm: Svm | None, material: Secret) -> NewKey:
    """The key that an object's material makes; raises for material of no key."""
    length = len(material.reveal())
    if length == LENGTH[KeyType.VEK]:
        check_halves(material, "unique_identifier")
        return NewKey(name, svm=svm, material=material)
    if length not in AUTHENTICATION_LENGTHS:
        raise OntapError(errors.KEY_LENGTH, target="unique_identifier")
    return NewKey(name, svm=svm, key_type=KeyType.NSE_AK)


def _seen(tx: Transaction, call: Call, uuid: str, *, lock: bool = False) -> KeyManager:
    """The key manager, for those who see it itself."""
    found = tx.key_manager(uuid, lock=lock)
    if found is None or not call.sees(found.svm):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return found


def _found(tx: Transaction, call: Call, key_manager: KeyManager) -> tuple[Orphan, ...]:
    """What was found last, none of it for a call that is confined to an SVM: it may be another's."""
    return tx.unclaimed(key_manager.uuid) if call.scope is None else ()


def _adoptable(
    tx: Transaction, call: Call, key_manager: str, key_server: str, unique_identifier: str
) -> tuple[ServerTopology, tuple[Orphan, ...]]:
    """The object, or both parts of a pair. Raises 4 (404) when it is not listed, or no copy of a key."""
    topology = load_topology(tx, _seen(tx, call, key_manager))
    here = [each for each in _found(tx, call, topology.key_manager) if each.key_server == key_server]
    asked = next((each for each in here if each.unique_identifier == unique_identifier), None)
    name = parse(asked.name) if asked else None
    if asked is None or name is None or name.kind is not ObjectKind.KEY or not is_orphaned(tx, topology, asked):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")
    if not name.part:
        return topology, (asked,)
    by_name = {each.name: each for each in here}
    parts = [by_name.get(str(replace(name, part=part))) for part in (1, 2)]
    whole = tuple(part for part in parts if part is not None)
    if len(whole) != len(parts):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="unique_identifier")
    return topology, whole
