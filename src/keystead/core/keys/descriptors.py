"""Descriptors: what a key is, written beside each copy of it, so that an inventory can be made of key servers alone.

A descriptor is canonical JSON under a MAC whose key is derived from the key manager's digest key: nobody else can write
one, a key server least of all. It is written once a key is committed, and never holds key material. Pure.
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
"""Bytes of a descriptor at most: names and tags are bounded, so anything longer is none."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is said of a key. ``svm`` is its SVM's uuid, empty for the cluster's; ``digest`` is that of its material.

    ``attempt`` and ``incarnation`` are those that wrote the copies which it stands beside, or took another one's object
    over instead: ``adopted`` is its name then.
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
        """What all descriptors of a key agree on, whatever attempt wrote them."""
        values = asdict(self)
        return tuple(value for name, value in values.items() if name not in {"attempt", "incarnation", "adopted"})

    @property
    def written_by(self) -> tuple[str, int, str]:
        """The attempt, as the names of its objects say it."""
        return _short(self.uuid, ID_DIGITS), self.attempt, _short(self.incarnation, INCARNATION_DIGITS)

    def is_of(self, attempt: Attempt) -> bool:
        """Whether it describes this attempt's copies."""
        return (self.uuid, self.attempt, self.incarnation) == (attempt.key, attempt.number, attempt.incarnation)

    @property
    def copied_by(self) -> tuple[str, int, str]:
        """The attempt whose name the copies bear, as :attr:`written_by`: that of an adopted object is another's."""
        name = parse(self.adopted)
        return self.written_by if name is None else (name.id, name.attempt, name.incarnation)

    def is_named(self, name: ObjectName) -> bool:
        """Whether this descriptor belongs under a name: that of the attempt that is described."""
        return (name.id, name.attempt, name.incarnation) == self.written_by


def described(key: Key, attempt: Attempt) -> Descriptor:
    """The descriptor of a key's copies that an attempt writes."""
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


def written(descriptor: Descriptor, digest_key: Secret) -> bytes:
    """A descriptor as it is stored on a key server: header, MAC, canonical JSON.

    Of most keys no object was adopted; their descriptors do not speak of it.
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


def opened(content: bytes, digest_key: Secret) -> Descriptor | None:
    """Read a descriptor back; None for one that was not written under this digest key, or was altered."""
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
    return uuid.replace("-", "")[:digits]


def _mac(digest_key: Secret, text: bytes) -> bytes:
    key = hmac.digest(digest_key.reveal(), _PURPOSE, "sha256")
    return hmac.digest(key, _HEADER + text, "sha256")
