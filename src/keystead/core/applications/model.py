"""Applications and the objects that they keep over KMIP, as frozen values. No class here has a field for material.

An **application** is one or more accounts of an SVM. An **object** is a Managed Object that a KMIP client created or
registered. Its material is that of a key of type ``kmip``, which is kept on key servers like any other key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from keystead.core.keys.model import KeyState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from keystead.core.keys.model import Key
    from keystead.core.model import Svm
    from keystead.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Application:
    """An application. Its name is unique in its SVM."""

    uuid: str
    name: str
    svm: Svm
    created: datetime


class ObjectState(StrEnum):
    """The State attribute (KMIP 1.4 section 3.22)."""

    PRE_ACTIVE = "pre_active"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"
    DESTROYED_COMPROMISED = "destroyed_compromised"


DESTROYED = frozenset({ObjectState.DESTROYED, ObjectState.DESTROYED_COMPROMISED})


@dataclass(frozen=True, slots=True)
class ObjectAttribute:
    """An attribute that the client set. ``value`` is the encoded Attribute structure (KMIP 1.4 section 2.1.1).

    ``index`` tells values of one name apart. It stays the same while the value exists. ``text`` is the Name Value of a
    Name, else empty.
    """

    name: str
    index: int
    value: bytes
    text: str = ""


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object as the client asks for it. ``active``: its Activation Date has come. ``material`` is never shown."""

    object_type: int
    form: Mapping[str, int]
    material: Secret = field(repr=False)
    attributes: tuple[ObjectAttribute, ...] = ()
    active: bool = False


@dataclass(frozen=True, slots=True)
class ApplicationObject:
    """An object of an application.

    ``key`` is the key that holds its material; the key's uuid is the Unique Identifier. ``object_type`` is KMIP's
    number. ``form`` says how the material becomes the object again. ``stored_state`` is the state without regard to
    destruction, which is that of the key: see :attr:`state`. ``facts`` are attributes that the server sets, by name:
    times in seconds since 1970, and the code of the Revocation Reason. ``version`` grows with each change.
    """

    key: Key
    application: str
    object_type: int
    form: Mapping[str, int]
    stored_state: ObjectState
    facts: Mapping[str, int]
    attributes: tuple[ObjectAttribute, ...] = ()
    version: int = 1

    @property
    def identifier(self) -> str:
        """The Unique Identifier."""
        return self.key.uuid

    @property
    def names(self) -> tuple[str, ...]:
        """The values of the attribute Name."""
        return tuple(each.text for each in self.attributes if each.name == "Name")

    @property
    def state(self) -> ObjectState:
        """The State attribute. The object is destroyed while its key is not committed."""
        if self.key.state is KeyState.COMMITTED:
            return self.stored_state
        compromised = self.stored_state is ObjectState.COMPROMISED
        return ObjectState.DESTROYED_COMPROMISED if compromised else ObjectState.DESTROYED
