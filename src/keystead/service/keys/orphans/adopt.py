"""List and adopt orphans; never destroy them. An orphan is an object that no attempt of this incarnation accounts for.

Another incarnation of the database wrote the object, or the database has lost its record. An adopted object is not
destroyed either, because it may be another owner's key as well. The purge of its key ends with a receipt ``left``.

The name of the object identifies it. The object belongs to one key at a time, in one key manager, on any number of
servers. The name does not tell the owner, unless the key is in this database. Key managers of several SVMs may use one
server with one certificate. So only calls of the whole cluster see orphans. They are found by
:mod:`keystead.service.keys.orphans.scan`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol
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
from keystead.core.keys.names import is_written_by, parse
from keystead.core.model import KeyManager
from keystead.service.cluster.svms import about_svm
from keystead.service.keys.attempts import still_configured
from keystead.service.keys.orphans.listed import find_listed, listed_orphans, read_object
from keystead.service.keys.orphans.scan import all_names, key_of, whole_name
from keystead.service.keys.writing.create import create_state
from keystead.service.loading import require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, OrphanRows, TopologyRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from keystead.core.model import Svm
    from keystead.core.secret import Secret
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.topology import ServerTopology


AUTHENTICATION_LENGTHS: Final = range(20, 33)
"""How many bytes authentication keys may have."""


class Rows(
    TopologyRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    AuditRows,
    LeaseRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    OrphanRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class OrphanView:
    """An orphan. ``own`` is True if its name says that an incarnation of this database wrote it."""

    of: Orphan
    own: bool


@dataclass(frozen=True, slots=True)
class PlacedOrphan:
    """An orphan, the address of its key server, and the SVM of its key manager.

    ``own`` is as in :class:`OrphanView`. ``server`` is empty if the server is forgotten. ``svm`` is None for the
    cluster.
    """

    of: Orphan
    own: bool
    server: str
    svm: Svm | None


class Orphans:
    """The orphans of key managers: list and adopt them."""

    def __init__(self, context: KeeperContext, audit: AuditLog) -> None:
        self._context = context
        self._audit = audit

    async def list(self, call: Call, key_manager: str) -> tuple[OrphanView, ...]:
        """Return the orphans that the last scan stored, by server, name and identifier.

        A call that is confined to an SVM gets none. Raises 4 (404) if the call does not see the key manager.
        """

        def read(tx: Rows) -> tuple[OrphanView, ...]:
            found, lives = listed_orphans(tx, call, require_key_manager(tx, call, key_manager)), tx.incarnations()
            return tuple(OrphanView(each, is_written_by(each.name, lives)) for each in found)

        return await self._context.store.read(read)

    async def of_all(self, call: Call) -> tuple[PlacedOrphan, ...]:
        """Return the orphans of all enabled key managers, in one read. Raises StoreError.

        Called when the console shows them. A call that is confined to an SVM gets none.
        """

        def read(tx: Rows) -> tuple[PlacedOrphan, ...]:
            managers = {each.uuid: each for each in tx.page(KeyManager, call.within(Page())) if each.enabled}
            servers = (*tx.key_servers_of(managers), *(each.server for each in tx.detached_key_servers()))
            addresses, lives = {each.uuid: str(each.address) for each in servers}, tx.incarnations()
            return tuple(
                PlacedOrphan(
                    each,
                    is_written_by(each.name, lives),
                    addresses.get(each.key_server, ""),
                    managers[each.key_manager].svm,
                )
                for each in tx.orphans(*managers)
            )

        return () if call.scope is not None else await self._context.store.read(read)

    async def adopt(
        self,
        call: Call,
        key_manager: str,
        key_server: str,
        unique_identifier: str,
        name: str,
        svm: Svm | None = None,
    ) -> Key:
        """Make an orphan the first copy of a new key with this name; other copies are then written from it.

        ``key_server`` is the server's uuid. ``svm`` is the owner, as for a new key. 64 bytes make a volume key, 20 to
        32 bytes an authentication key. Of a pair, either part stands for both. A purge leaves the object.

        Raises 4 (404) if the object is not listed as an orphan (any more), and 65536076 if it cannot be read. Raises 1
        (409) if the object is a copy of a key that another owner has in use. Raises what creating a key raises.
        """
        while True:
            key = await self._try_to_adopt(call, key_manager, key_server, unique_identifier, name, svm)
            if key is not None:
                return key

    async def _try_to_adopt(
        self, call: Call, key_manager: str, key_server: str, unique_identifier: str, name: str, svm: Svm | None
    ) -> Key | None:
        """Read the object and adopt it. Return None if it must be read again.

        That is so if the incarnation, the server or the certificate changed after the read. Raises as :meth:`adopt`
        does.
        """
        found = await self._context.store.read(
            lambda tx: find_listed(tx, call, key_manager, key_server, unique_identifier)
        )
        material = await read_object(self._context, found)
        new = _new_key(name, svm, material)
        copy = Copy("", 1, key_server, Presence.PRESENT, unique_identifiers=found.unique_identifiers)
        return await self._context.store.write(
            lambda tx: self._store_adopted(tx, call, found.topology, new, copy, material)
        )

    def _store_adopted(
        self, tx: Rows, call: Call, then: ServerTopology, new: NewKey, copy: Copy, material: Secret
    ) -> Key | None:
        """Store the key as committed with its one copy, after the checks for a new key. Locks the key manager.

        Orphans with its name are deleted from the list, and an audit record is stored. Return None, and store nothing,
        if the object was read at another place, with another certificate, or in another incarnation. Raises OntapError.
        """
        tx.cluster(lock=True)  # so that no other key manager adopts an object of this name meanwhile
        key_manager = then.key_manager.uuid
        manager = require_key_manager(tx, call, key_manager, lock=True)
        topology, parts = find_listed(tx, call, key_manager, copy.key_server, copy.unique_identifiers[0])
        if not still_configured([copy], then, topology):
            return None
        now, uuid = self._context.clock.now(), str(uuid4())
        with about_svm(manager.svm):
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
        tx.delete_orphans_named(all_names(name))  # everywhere, because objects of this name are this key's now
        self._audit.succeed(tx, call, f"adopted key {key.key_id}", svm=key.svm)
        return key

    def _attempt(self, key: Key, topology: ServerTopology, adopted: str) -> Attempt:
        """Return the committed attempt that accounts for the object from now on. ``adopted`` is the object's name."""
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


def _check_owner(tx: ListRows, found: Orphan, new: Key) -> None:
    """Raise 1 (409) if the object's name says that it is a copy of another owner's key that is in use here."""
    name = parse(found.name)
    key = key_of(tx, name) if name else None
    if key is None or key.state not in IN_USE or (key.key_manager, key.svm) == (new.key_manager, new.svm):
        return
    raise OntapError(errors.DUPLICATE_ENTRY, target="unique_identifier", arguments=[("key_id", key.key_id)])


def _new_key(name: str, svm: Svm | None, material: Secret) -> NewKey:
    """Return the new key to plan for an orphan with this material. Raises OntapError if it cannot be a key.

    An authentication key is planned without the material, because ours may be random bytes, not a passphrase.
    """
    length = len(material.reveal())
    if length == LENGTH[KeyType.VEK]:
        check_halves(material, "unique_identifier")
        return NewKey(name, svm=svm, material=material)
    if length not in AUTHENTICATION_LENGTHS:
        raise OntapError(errors.KEY_LENGTH, target="unique_identifier")
    return NewKey(name, svm=svm, key_type=KeyType.NSE_AK)
