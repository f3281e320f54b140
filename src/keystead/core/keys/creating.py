"""The rules of a new key: who may create which key where, and what its name, tag and material may be.

Pure: facts in, the key as it will be, or one :class:`OntapError`. Material is looked at and never kept. Sources:
ONTAP's page of ``auth-keys`` (9.12) for its codes; ``volume-keys`` is ours.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import check_certificates
from keystead.core.keys.model import Key, KeyState, KeyType
from keystead.core.keys.names import key_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from keystead.core.model import Certificate, KeyManager, KeyServer, Svm
    from keystead.core.secret import Secret

NAME_LIMIT = 255  # characters
TAG_LIMIT = 32  # characters
AUTH_KEY_LIMIT = 128
LENGTH = {KeyType.VEK: 64, KeyType.NSE_AK: 32}
"""Bytes of the material that is made for a key: two AES-256 keys for XTS, or an authentication key."""

_PASSPHRASE = range(20, 33)  # bytes
_VISIBLE_ASCII = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as the caller asks for it.

    ``name``: 1 to 255 printable characters, composed (NFC), that neither begin nor end with a blank; an authentication
    key that is given none is named by its key id. ``svm`` is whose key it will be; None leaves that to whose the call,
    or else the key manager, is: on the cluster's key manager, for a call that is confined to no SVM, the key is the
    cluster's own. ``material`` is imported: 64 bytes whose halves differ, or an authentication key's passphrase; None
    has it made.
    """

    name: str
    key_tag: str = ""
    svm: Svm | None = None
    key_type: KeyType = KeyType.VEK
    material: Secret | None = None


@dataclass(frozen=True, slots=True)
class CreateState:
    """What decides about a creation.

    ``scope`` is the SVM that the call is confined to, ``serving`` which key manager (uuid) keeps the keys of the SVM
    that is asked for, ``named`` the key that holds the name. ``certificates`` are the installed ones, by uuid.
    ``authentication_keys`` counts those that there are.
    """

    key_manager: KeyManager
    certificates: Mapping[str, Certificate]
    servers: tuple[KeyServer, ...]
    scope: Svm | None = None
    serving: str | None = None
    named: Key | None = None
    authentication_keys: int = 0


def owner_of(key_manager: KeyManager, scope: Svm | None, request: NewKey) -> Svm | None:
    """Whose the key will be, None for the cluster. Raises 262185 for an SVM that the key is not made for there."""
    if request.key_type is KeyType.NSE_AK:
        if key_manager.svm is not None:
            raise OntapError(errors.NOT_CLUSTERS_KEY_MANAGER, target="uuid")
        if scope is not None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
        if request.svm is not None:
            raise _invalid("svm", "an authentication key is the cluster's.")
        return None
    confined = key_manager.svm or scope
    asked = request.svm or confined
    if confined is not None and asked is not None and asked.uuid != confined.uuid:
        raise _invalid("svm", "the key manager, or the call, is another SVM's.")
    return asked


def plan_create(state: CreateState, request: NewKey, uuid: str, now: datetime) -> Key:
    """Return the key as it will be, pending, its digest still missing; or raise the first rule that is broken."""
    manager = state.key_manager
    if not manager.enabled:
        raise OntapError(errors.NOT_ENABLED)
    owner = owner_of(manager, state.scope, request)
    if owner is not None and state.serving != manager.uuid:
        raise _invalid("svm", "another key manager keeps the keys of this SVM.")
    check_certificates(manager, state.certificates)
    if not state.servers:
        raise OntapError(errors.NO_KEY_SERVERS)
    id_ = key_id(request.key_type, uuid)
    name = request.name or (id_ if request.key_type is KeyType.NSE_AK else "")
    _check_name(name)
    check_tag(request.key_tag)
    length = LENGTH[request.key_type]
    if request.material is not None:
        check_material(request.key_type, request.material)
        length = len(request.material.reveal())
    if request.key_type is KeyType.NSE_AK and state.authentication_keys >= AUTH_KEY_LIMIT:
        raise OntapError(errors.AUTH_KEY_LIMIT)
    if state.named is not None:
        raise OntapError(errors.DUPLICATE_ENTRY, target="name", arguments=_naming(state.named, state.scope))
    return Key(
        uuid=uuid,
        key_id=id_,
        key_manager=manager.uuid,
        svm=owner,
        name=name,
        key_tag=request.key_tag,
        key_type=request.key_type,
        state=KeyState.PENDING,
        length=length,
        created=now,
    )


def check_tag(key_tag: str) -> None:
    """Raise 65536056 for a tag that is longer than 32 characters, or holds what cannot be seen."""
    if any(character.isspace() for character in key_tag):
        raise OntapError(errors.KEY_TAG_BLANKS, target="key_tag")
    if len(key_tag) > TAG_LIMIT or not key_tag.isprintable():
        raise OntapError(errors.KEY_TAG_INVALID, target="key_tag")


def check_material(key_type: KeyType, material: Secret) -> None:
    """Raise what is wrong with material that was given; no error quotes it."""
    value = material.reveal()
    if key_type is KeyType.NSE_AK:
        if len(value) not in _PASSPHRASE or not all(byte in _VISIBLE_ASCII for byte in value):
            raise OntapError(errors.PASSPHRASE_LENGTH, target="passphrase")
        return
    if len(value) != LENGTH[key_type]:
        raise OntapError(errors.KEY_LENGTH, target="material")
    check_halves(material, "material")


def check_halves(material: Secret, target: str) -> None:
    """Raise 262185 for a volume's key that is one key twice; ``target`` is the field that it came from."""
    if not halves_differ(material):
        raise _invalid(target, "the two halves must differ: XTS with one key twice protects less.")


def halves_differ(material: Secret) -> bool:
    """Whether the two keys of an XTS key are two. Source: FIPS 140-3 Implementation Guidance, C.I."""
    value = material.reveal()
    middle = len(value) // 2
    return value[:middle] != value[middle:]


def _check_name(name: str) -> None:
    if not unicodedata.is_normalized("NFC", name):  # two that look alike would be two
        raise _invalid("name", "its characters are composed ones, as Unicode's normal form C has them.")
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        reason = f"1 to {NAME_LIMIT} printable characters are a name, the first and last of them no blanks."
        raise _invalid("name", reason)


def _naming(holder: Key, scope: Svm | None) -> list[tuple[str, str]]:
    """Which key holds a name. Its id is told to those who see the key; names are shared by all of a key manager."""
    seen = scope is None or (holder.svm is not None and holder.svm.uuid == scope.uuid)
    return [("key_id", holder.key_id)] * seen + [("name", holder.name)]


def _invalid(field: str, reason: str) -> OntapError:
    return OntapError(errors.INVALID_VALUE, target=field, field=field, reason=reason)
