"""Descriptors: the text beside each copy that says which key it holds. Pure.

With descriptors an inventory can be made from key servers alone. A descriptor is canonical JSON under a MAC. The MAC's
key is derived from the key manager's digest key, so that no key server can forge a descriptor. It is written once the
key is committed, and never contains key material.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from keystead.core.keys.model import KeyType
from keystead.core.keys.names import ID_DIGITS, INCARNATION_DIGITS, parse

if TYPE_CHECKING:
    from keystead.core.keys.model import Attempt, Key
    from keystead.core.keys.names import ObjectName
    from keystead.core.secret import Secret

_HEADER: Final = b"keystead descriptor 1\n"
_PURPOSE: Final = b"keystead descriptor v1"
_MAC_BYTES: Final = 32

LONGEST: Final = 64 * 1024
"""The greatest size of a descriptor in bytes. Names and tags are bounded, so a longer text is no descriptor."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """The description of a key. ``svm`` is the uuid of its SVM, empty for the cluster. ``digest`` is the material's.

    ``attempt`` and ``incarnation`` name the attempt that wrote the copies beside the descriptor. If that attempt took
    over an existing object instead, ``adopted`` is the object's name.
    """

    uuid: str
    key_id: str
    key_manager: str
    svm: str
    name: str
    key_tag: str
    key_type: KeyType
    length: int
    created: datetime
    attempt: int
    incarnation: str
    digest: bytes = field(repr=False)
    adopted: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """The values that agree in all descriptors of one key, whichever attempt wrote them.

        A rebuild does not import a key whose descriptors differ in these values.
        """
        values = asdict(self)
        return tuple(value for name, value in values.items() if name not in {"attempt", "incarnation", "adopted"})

    @property
    def written_by(self) -> tuple[str, int, str]:
        """The attempt that the descriptor is about, in the short form of object names.

        The values are the short id of the key, the attempt number, and the short incarnation. The name of the
        descriptor object has the same values.
        """
        return _short(self.uuid, ID_DIGITS), self.attempt, _short(self.incarnation, INCARNATION_DIGITS)

    def is_of(self, attempt: Attempt) -> bool:
        """Return True if it describes copies of this attempt.

        Called before objects of a timed-out attempt are destroyed. True then proves that the attempt was committed.
        """
        return (self.uuid, self.attempt, self.incarnation) == (attempt.key, attempt.number, attempt.incarnation)

    @property
    def copied_by(self) -> tuple[str, int, str]:
        """The attempt in the name of the described copies, in the form of :attr:`written_by`.

        It is ``written_by`` itself, except for an adopted object: the name of that object has the attempt that wrote
        it. A rebuild finds the copies by these values.
        """
        name = parse(self.adopted)
        return self.written_by if name is None else (name.id, name.attempt, name.incarnation)

    def is_named(self, name: ObjectName) -> bool:
        """Return True if this descriptor belongs in an object of this name, because the name has :attr:`written_by`.

        Called by a rebuild. It ignores a descriptor in an object with another name.
        """
        return (name.id, name.attempt, name.incarnation) == self.written_by


def describe(key: Key, attempt: Attempt) -> Descriptor:
    """Return the descriptor for the copies that this attempt writes of the key. Nothing is sent.

    Called when an attempt begins, and when the keeper adds a descriptor that a copy lacks.
    """
    return Descriptor(
        uuid=key.uuid,
        key_id=key.key_id,
        key_manager=key.key_manager,
        svm=key.svm.uuid if key.svm else "",
        name=key.name,
        key_tag=key.key_tag,
        key_type=key.key_type,
        length=key.length,
        created=key.created,
        attempt=attempt.number,
        incarnation=attempt.incarnation,
        digest=key.digest,
        adopted=attempt.adopted,
    )


def encode(descriptor: Descriptor, digest_key: Secret) -> bytes:
    """Return a descriptor as it is stored on a key server: header, MAC, canonical JSON.

    ``adopted`` is left out when it is empty, as for most keys.
    """
    values = asdict(descriptor) | {
        "key_type": descriptor.key_type.value,
        "created": descriptor.created.isoformat(),
        "digest": descriptor.digest.hex(),
    }
    if not descriptor.adopted:
        del values["adopted"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    return _HEADER + _mac(digest_key, text) + text


def decode(content: bytes, digest_key: Secret) -> Descriptor | None:
    """Return the descriptor in these bytes, or None if it was altered or not written under this digest key.

    Called with bytes from a key server: during a rebuild, and before objects of a timed-out attempt are destroyed.
    """
    if not content.startswith(_HEADER) or len(content) > LONGEST:
        return None
    mac, text = content[len(_HEADER) :][:_MAC_BYTES], content[len(_HEADER) + _MAC_BYTES :]
    if not hmac.compare_digest(mac, _mac(digest_key, text)):
        return None
    values = json.loads(text)
    return Descriptor(
        **values
        | {
            "key_type": KeyType(values["key_type"]),
            "created": datetime.fromisoformat(values["created"]),
            "digest": bytes.fromhex(values["digest"]),
        }
    )


def _short(uuid: str, digits: int) -> str:
    """Return the first hex digits of a uuid, without its hyphens, as object names have them."""
    return uuid.replace("-", "")[:digits]


def _mac(digest_key: Secret, text: bytes) -> bytes:
    """Return the MAC of a descriptor's text, under a key that is derived from the digest key."""
    key = hmac.digest(digest_key.reveal(), _PURPOSE, "sha256")
    return hmac.digest(key, _HEADER + text, "sha256")
