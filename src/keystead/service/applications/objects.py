"""Use cases of the objects that applications keep over KMIP.

An object's material is a key of type ``kmip``. So it is created, read, kept and destroyed like any other key. Its
attributes and its state are a row beside the key. The row is stored with the intent to create the key, and counts once
the key is committed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from keystead.core.applications.attributes import changed
from keystead.core.applications.model import DESTROYED, ApplicationObject, NewObject, ObjectState
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason, not_found
from keystead.core.applications.states import DATE_OF, Change, following
from keystead.core.keys.creating import NewKey
from keystead.core.keys.model import KeyType
from keystead.service.keys.access import serving_key_manager
from keystead.service.ports.applications import ApplicationObjectRows
from keystead.service.ports.cluster import AuditRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.proven_reads import read_proven

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystead.core.applications.attributes import AttributeChange
    from keystead.core.keys.model import Key
    from keystead.core.model import Svm
    from keystead.core.secret import Secret
    from keystead.service.applications.callers import ApplicationCaller
    from keystead.service.audit.log import AuditLog
    from keystead.service.keys.destroying.retire import KeyRetirement
    from keystead.service.keys.reading.retrieve import KeyReader
    from keystead.service.keys.writing.create import KeyWriter
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


COPYING_S: Final = 5.0
"""Seconds that all copies of a new object may take. KMIP clients give up after 10 s."""


class Rows(ApplicationObjectRows, KeyManagerRows, AuditRows, NodeRows, Protocol):
    """The rows that this module reads and writes."""


class ApplicationObjects:
    """The objects of applications. What belongs to another application does not exist for a caller."""

    def __init__(
        self,
        store: Store[Rows],
        writer: KeyWriter,
        reader: KeyReader,
        retirement: KeyRetirement,
        audit: AuditLog,
        clock: Clock,
        node: str,
    ) -> None:
        self._store = store
        self._writer = writer
        self._reader = reader
        self._retirement = retirement
        self._audit = audit
        self._clock = clock
        self._node = node

    async def create(self, caller: ApplicationCaller, new: NewObject) -> ApplicationObject:
        """Keep a new object, and return it once enough replication domains hold its material.

        Raises ObjectRefusal if the application has an object with one of its names; otherwise what
        :meth:`KeyWriter.create` raises.
        """
        application, now = caller.application, self._seconds()
        manager = await self._store.read_few(lambda tx: _serving(tx, application.svm))
        state = ObjectState.ACTIVE if new.active else ObjectState.PRE_ACTIVE
        facts = {"Initial Date": now, "Last Change Date": now} | ({DATE_OF[state]: now} if new.active else {})
        made: list[ApplicationObject] = []

        def also(tx: Rows, key: Key) -> None:
            made[:] = [
                ApplicationObject(
                    key, application.uuid, new.object_type, new.form, state, facts, attributes=new.attributes
                )
            ]
            _check_names(tx, application.uuid, made[0].names)
            tx.add_application_object(made[0])

        name = f"{application.name}/{uuid4()}"
        wanted = NewKey(name, svm=application.svm, key_type=KeyType.KMIP, material=new.material)
        key = await self._writer.create(caller.call, manager, wanted, also=also, within_s=COPYING_S)
        return replace(made[0], key=key)

    async def find(self, caller: ApplicationCaller, identifier: str) -> ApplicationObject:
        """Return an object, also a destroyed one. A commit proves that there is none. Raises ObjectRefusal."""

        def look(tx: Rows) -> ApplicationObject | None:
            return tx.application_object(caller.application.uuid, identifier)

        found = await self._store.read_few(look) or await read_proven(self._store, self._node, look)
        if found is None:
            raise not_found()
        return found

    async def get(self, caller: ApplicationCaller, identifier: str) -> tuple[ApplicationObject, Secret]:
        """Return an object with its material. The read is recorded, as that of any key.

        Raises ObjectRefusal, and what :meth:`KeyReader.retrieve` raises.
        """
        found = await self.find(caller, identifier)
        if found.state in DESTROYED:
            raise ObjectRefusal(RefusalReason.OBJECT_DESTROYED, "The object is destroyed.")
        key = found.key
        read = await self._reader.retrieve(caller.call, key.key_manager, key.key_id, key_type=KeyType.KMIP)
        return replace(found, key=read.key), read.material

    async def locate(
        self,
        caller: ApplicationCaller,
        matches: Callable[[ApplicationObject], bool],
        *,
        name: str | None = None,
        offset: int = 0,
        maximum: int | None = None,
    ) -> tuple[tuple[str, ...], int]:
        """Return the identifiers of the live objects that match, the oldest first, and how many match in all.

        ``name`` restricts the search to objects with this Name.
        """
        found = await self._store.read(lambda tx: tx.application_objects(caller.application.uuid, name=name))
        matching = [each.identifier for each in found if matches(each)]
        end = None if maximum is None else offset + maximum
        return tuple(matching[offset:end]), len(matching)

    async def change_attributes(
        self, caller: ApplicationCaller, identifier: str, changes: Sequence[AttributeChange]
    ) -> ApplicationObject:
        """Change attributes of an object, all or none. Return it as it is now. Raises ObjectRefusal."""

        def change(tx: Rows, found: ApplicationObject) -> ApplicationObject:
            if found.state in DESTROYED:
                raise ObjectRefusal(RefusalReason.OBJECT_DESTROYED, "The object is destroyed.")
            attributes = found.attributes
            for each in changes:
                attributes = changed(attributes, each)
            after = replace(found, attributes=attributes)
            added = [name for name in after.names if name not in found.names]
            if added:
                tx.key_manager(found.key.key_manager, lock=True)  # because creations check names under this lock
            _check_names(tx, found.application, added)
            return after

        return await self._change(caller, identifier, "changed attributes of", change)

    async def activate(self, caller: ApplicationCaller, identifier: str) -> ApplicationObject:
        """Make an object active, and return it. Raises ObjectRefusal."""

        def activate(_: Rows, found: ApplicationObject) -> ApplicationObject:
            return self._in_state(found, following(found.state, Change.ACTIVATE))

        return await self._change(caller, identifier, "activated", activate)

    async def revoke(
        self, caller: ApplicationCaller, identifier: str, *, compromised: bool, facts: Mapping[str, int]
    ) -> ApplicationObject:
        """Deactivate an object, or mark it as compromised. Return it. ``facts`` are stored with it.

        Raises ObjectRefusal.
        """
        asked = Change.COMPROMISE if compromised else Change.REVOKE

        def revoke(_: Rows, found: ApplicationObject) -> ApplicationObject:
            after = self._in_state(found, following(found.state, asked))
            return replace(after, facts={**after.facts, **facts})

        return await self._change(caller, identifier, "revoked", revoke)

    async def destroy(self, caller: ApplicationCaller, identifier: str) -> ApplicationObject:
        """Destroy an object: retire its key. An administrator can recover it. Raises ObjectRefusal."""
        found = await self.find(caller, identifier)
        following(found.state, Change.DESTROY)
        key = await self._retirement.retire(caller.call, found.key.key_manager, found.key.key_id)
        return replace(found, key=key)

    async def _change(
        self,
        caller: ApplicationCaller,
        identifier: str,
        done: str,
        change: Callable[[Rows, ApplicationObject], ApplicationObject],
    ) -> ApplicationObject:
        """Change an object in one transaction, with an audit record that says what was ``done``."""

        def work(tx: Rows) -> ApplicationObject:
            found = tx.application_object(caller.application.uuid, identifier, lock=True)
            if found is None:
                raise not_found()
            after = change(tx, found)
            facts = {**after.facts, "Last Change Date": self._seconds()}
            after = replace(after, facts=facts, version=found.version + 1)
            tx.change_application_object(after)
            self._audit.succeed(tx, caller.call, f"{done} object {identifier}", svm=caller.application.svm)
            return after

        return await self._store.write(work)

    def _in_state(self, found: ApplicationObject, state: ObjectState) -> ApplicationObject:
        return replace(found, stored_state=state, facts={**found.facts, DATE_OF[state]: self._seconds()})

    def _seconds(self) -> int:
        return int(self._clock.now().timestamp())


def _serving(tx: KeyManagerRows, svm: Svm) -> str:
    """Return the key manager (uuid) that keeps an SVM's keys. Raises ObjectRefusal if there is none."""
    found = serving_key_manager(tx, svm)
    if found is None:
        raise ObjectRefusal(RefusalReason.GENERAL_FAILURE, f"The SVM {svm.name} has no key manager that is enabled.")
    return found.uuid


def _check_names(tx: ApplicationObjectRows, application: str, names: Sequence[str]) -> None:
    """Raise ObjectRefusal if a pending or live object of the application has one of these names."""
    for name in names:
        if tx.application_name_is_held(application, name):
            raise ObjectRefusal(
                RefusalReason.NON_UNIQUE_NAME_ATTRIBUTE, f"Another object of this application is named {name!r}."
            )
