"""The Managed Objects of a small key server, in memory, and how changes reach the other members of its cluster.

It is for tests (see :mod:`keystead.kmip.testing.server`): keys are in clear, and nothing outlives the process.
:mod:`keystead.kmip.server.responder` decides what may be stored and who may see it. Here are only the objects, and the
faults that tests put into them.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystead.kmip.messages.attributes import Attribute, attribute
from keystead.kmip.messages.objects import Certificate, KeyValue, OpaqueObject, SecretData, SymmetricKey
from keystead.kmip.ttlv.enums import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.kmip.messages.objects import ManagedObject

DESTROYED: Final = frozenset({State.DESTROYED, State.DESTROYED_COMPROMISED})


@dataclass
class Stored:
    """One Managed Object, and its attributes in the order in which they were set.

    ``owner`` is the common name in the certificate of the client that registered it.
    """

    object_type: int
    managed_object: ManagedObject = field(repr=False)
    attributes: list[Attribute]
    owner: str | None = None

    @property
    def state(self) -> State | None:
        """The State attribute, or ``None`` on a server without states."""
        return next((State(value) for value in self.values("State")), None)

    @property
    def destroyed(self) -> bool:
        """True if the object is destroyed and only its attributes are left."""
        return self.state in DESTROYED

    @property
    def names(self) -> set[str]:
        """The values of the Name attribute."""
        return {value.name_value for value in self.values("Name")}

    def values(self, name: str) -> list[Any]:
        """Return the values of all instances of an attribute."""
        return [entry.attribute_value for entry in self.attributes if entry.attribute_name == name]

    def change_state(self, state: State) -> None:
        """Replace the State attribute."""
        self.attributes = [entry for entry in self.attributes if entry.attribute_name != "State"]
        self.attributes.append(attribute("State", state))

    def has(self, wanted: Attribute) -> bool:
        """Return True if the object has the attribute with that value, at any index."""
        return wanted.attribute_value in self.values(wanted.attribute_name)

    def copy(self) -> Stored:
        """Return a copy of the object for another member of the cluster."""
        return dataclasses.replace(self, attributes=list(self.attributes))


class Store:
    """The objects of one key server by Unique Identifier, and all names that were ever taken.

    Two servers with the same store are a cluster whose members always agree. For members that agree later, use one
    store each, of the same :class:`Replication`. Changes made directly in ``objects`` stay on this member.
    """

    def __init__(self, replication: Replication | None = None) -> None:
        self._replication = replication
        self._objects: dict[str, Stored] = {}
        self._taken: set[str] = set()

    @property
    def objects(self) -> dict[str, Stored]:
        """The objects, including the changes that have arrived from other members."""
        if self._replication:
            self._replication.deliver_due()
        return self._objects

    @property
    def names_taken(self) -> set[str]:
        """Every Name that an object ever had here, destroyed or not."""
        return self._taken.union(*(stored.names for stored in self.objects.values()))

    def put(self, identifier: str, stored: Stored) -> None:
        """Store a new or changed object, and send it to the other members."""
        self.receive(identifier, stored)
        if self._replication:
            self._replication.send(self, identifier, stored.copy())

    def remove(self, identifier: str) -> None:
        """Remove an object, and send the removal to the other members. A missing object is no error."""
        self.receive(identifier, None)
        if self._replication:
            self._replication.send(self, identifier, None)

    def receive(self, identifier: str, stored: Stored | None) -> None:
        """Apply a change without sending it. ``None`` is a removal."""
        if stored is None:
            self._objects.pop(identifier, None)
        else:
            self._objects[identifier] = stored
            self._taken |= stored.names

    # --- faults ---

    def rot(self, identifier: str) -> None:
        """Corrupt an object's bytes on this member, as a bad disk does."""
        stored = self.objects[identifier]
        stored.managed_object = spoiled(stored.managed_object)

    def forget(self, identifier: str) -> None:
        """Lose one object on this member, including its names."""
        self._taken -= self.objects.pop(identifier).names

    def forget_all(self) -> None:
        """Lose all objects and names on this member."""
        self._objects.clear()
        self._taken.clear()


class _Change(NamedTuple):
    sent: float
    origin: Store
    identifier: str
    stored: Stored | None


class Replication:
    """The link between the stores of a cluster. Changes arrive ``delay`` seconds later, in order.

    With ``None`` they wait until :meth:`deliver`. ``delay`` may be changed at any time, also for changes under way. The
    last change of an object wins.
    """

    def __init__(self, delay: float | None = 0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.delay = delay
        self._clock = clock
        self._members: list[Store] = []
        self._changes: list[_Change] = []

    def store(self) -> Store:
        """Return the empty store of a new member."""
        member = Store(self)
        self._members.append(member)
        return member

    def send(self, origin: Store, identifier: str, stored: Stored | None) -> None:
        """Take a change for all members except its origin. ``None`` is a removal."""
        self._changes.append(_Change(self._clock(), origin, identifier, stored))

    def deliver_due(self) -> None:
        """Deliver the changes whose delay is over."""
        if self.delay is not None:
            self._deliver(self._clock() - self.delay)

    def deliver(self) -> None:
        """Deliver all changes now."""
        self._deliver(self._clock())

    def _deliver(self, sent_until: float) -> None:
        while self._changes and self._changes[0].sent <= sent_until:
            change = self._changes.pop(0)
            for member in self._members:
                if member is not change.origin:
                    member.receive(change.identifier, change.stored.copy() if change.stored else None)


def spoiled(managed_object: ManagedObject) -> ManagedObject:
    """Return the object with other bytes of the same length. An object without plain bytes is returned unchanged."""
    if isinstance(managed_object, OpaqueObject):
        return dataclasses.replace(managed_object, opaque_data_value=_other(managed_object.opaque_data_value))
    if isinstance(managed_object, Certificate):
        return dataclasses.replace(managed_object, certificate_value=_other(managed_object.certificate_value))
    if isinstance(managed_object, SymmetricKey | SecretData):
        block = managed_object.key_block
        return dataclasses.replace(
            managed_object, key_block=dataclasses.replace(block, key_value=_spoiled_value(block.key_value))
        )
    return managed_object


def _spoiled_value(value: KeyValue | bytes | None) -> KeyValue | bytes | None:
    if isinstance(value, bytes):
        return _other(value)
    if value is not None and isinstance(value.key_material, bytes):
        return dataclasses.replace(value, key_material=_other(value.key_material))
    return value


def _other(data: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in data)
