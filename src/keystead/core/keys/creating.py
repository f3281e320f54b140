"""The rules of creating keys: who may create which key where, and its name, tag and material. Pure.

From facts they make the key to store, or raise one :class:`OntapError`. Material is checked and not stored. Sources:
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
"""The number of bytes of generated material: two AES-256 keys for XTS, or an authentication key."""

KMIP_LIMIT = 16 * 1024
"""Most bytes of material of an application's object."""

_PASSPHRASE = range(20, 33)  # bytes
_VISIBLE_ASCII = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as the caller asks for it.

    ``name`` has 1 to 255 printable characters, composed (NFC), and no blank at either end. An authentication key
    without a name gets its key id as its name. ``svm`` is the owner. None leaves the owner to the key manager, or else
    to the call. On the cluster's key manager, in a call that is confined to no SVM, None makes a key of the cluster.
    ``material`` is imported: 64 bytes with different halves, the passphrase of an authentication key, or the material
    of an application's object. None has the material generated, but not for an object.
    """

    name: str
    key_tag: str = ""
    svm: Svm | None = None
    key_type: KeyType = KeyType.VEK
    material: Secret | None = None


@dataclass(frozen=True, slots=True)
class CreateState:
    """The facts that decide about a creation.

    ``scope`` is the SVM that the call is confined to. ``serving`` is the uuid of the key manager for the keys of the
    requested SVM. ``named`` is the key that has the name already. ``certificates`` are the installed ones, by uuid.
    ``authentication_keys`` is the number of authentication keys.
    """

    key_manager: KeyManager
    certificates: Mapping[str, Certificate]
    servers: tuple[KeyServer, ...]
    scope: Svm | None = None
    serving: str | None = None
    named: Key | None = None
    authentication_keys: int = 0


def owner_of(key_manager: KeyManager, scope: Svm | None, request: NewKey) -> Svm | None:
    """Return the SVM that is to own a new key, or None if the cluster is to own it.

    That is the SVM in the request, else the key manager's, else the one that the call is confined to. Raise 262185 if
    the request names another SVM than these allow, or any SVM for an authentication key. For an authentication key
    raise 65538802 on an SVM's key manager, and 4 (404) in a call that is confined to an SVM. Called when the creation
    or the adoption of a key is planned.
    """
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
    """Return the key to store, pending and without its digest; or raise the error of the first rule that is broken.

    Nothing is stored here. Called when a key is created: before servers are learned, and again in the transaction that
    stores the key. Called also when an orphan is adopted as a key.
    """
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
    if request.material is not None:
        check_material(request.key_type, request.material)
        length = len(request.material.reveal())
    else:
        length = LENGTH[request.key_type]
    if request.key_type is KeyType.NSE_AK and state.authentication_keys >= AUTH_KEY_LIMIT:
        raise OntapError(errors.AUTH_KEY_LIMIT)
    if state.named is not None:
        raise OntapError(errors.DUPLICATE_ENTRY, target="name", arguments=_about_holder(state.named, state.scope))
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
    """Raise 65536056 for a tag that is longer than 32 characters, or has blanks or unprintable characters.

    For blanks, the error with this code has a text of its own. An empty tag passes. Called when a key is planned.
    """
    if any(character.isspace() for character in key_tag):
        raise OntapError(errors.KEY_TAG_BLANKS, target="key_tag")
    if len(key_tag) > TAG_LIMIT or not key_tag.isprintable():
        raise OntapError(errors.KEY_TAG_INVALID, target="key_tag")


def check_material(key_type: KeyType, material: Secret) -> None:
    """Raise the error for imported material of a wrong length, with wrong characters, or with two equal halves.

    Called when a key is planned and the request has the material. No error quotes the material.
    """
    value = material.reveal()
    if key_type is KeyType.NSE_AK:
        if len(value) not in _PASSPHRASE or not all(byte in _VISIBLE_ASCII for byte in value):
            raise OntapError(errors.PASSPHRASE_LENGTH, target="passphrase")
        return
    if key_type is KeyType.KMIP:
        if not 0 < len(value) <= KMIP_LIMIT:
            raise _invalid("material", f"an object has 1 to {KMIP_LIMIT} bytes of material.")
        return
    if len(value) != LENGTH[key_type]:
        raise OntapError(errors.KEY_LENGTH, target="material")
    check_halves(material, "material")


def check_halves(material: Secret, target: str) -> None:
    """Raise 262185 if the two halves of a volume key are equal. ``target`` is the request's field that the error names.

    Called for imported material, and for the material of an orphan that is to be adopted.
    """
    if not halves_differ(material):
        raise _invalid(target, "the two halves must differ: XTS with one key twice protects less.")


def halves_differ(material: Secret) -> bool:
    """Return True if the two halves of an XTS key differ. Source: FIPS 140-3 Implementation Guidance, C.I.

    Called for material from outside, and for random material, which is made again if its halves are equal.
    """
    value = material.reveal()
    middle = len(value) // 2
    return value[:middle] != value[middle:]


def _check_name(name: str) -> None:
    """Raise 262185 for a name that breaks a rule: see ``name`` of :class:`NewKey`."""
    if not unicodedata.is_normalized("NFC", name):  # so that no two names look alike
        raise _invalid("name", "its characters are composed ones, as Unicode's normal form C has them.")
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        reason = f"1 to {NAME_LIMIT} printable characters are a name, the first and last of them no blanks."
        raise _invalid("name", reason)


def _about_holder(holder: Key, scope: Svm | None) -> list[tuple[str, str]]:
    """Return the arguments of the error that another key has the name: they tell about that key.

    All callers of a key manager share its names. So the arguments always have the name. They have the key id only if
    the call is not confined to an SVM, or is confined to the SVM that owns the key.
    """
    seen = scope is None or (holder.svm is not None and holder.svm.uuid == scope.uuid)
    return [("key_id", holder.key_id)] * seen + [("name", holder.name)]


def _invalid(field: str, reason: str) -> OntapError:
    return OntapError(errors.INVALID_VALUE, target=field, field=field, reason=reason)
