"""The keys that Keystead stores on key servers, as frozen values. No class here has a field for key material.

A **key** is created by an **attempt**, a durable intent that is stored before the first packet is sent. Each attempt
leaves **copies**: one Managed Object (or a pair) per primary key server. Proven copies are counted by **replication
domain**, because servers that replicate among themselves fail together. Every record that is written names its
**incarnation** of the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import KeyServer, Svm


class KeyType(StrEnum):
    """What a key is for: in ONTAP's words a volume (``vek``) or a self-encrypting drive (``nse_ak``).

    ``kmip`` is the material of an object that an application keeps over KMIP.
    """

    VEK = "vek"
    NSE_AK = "nse_ak"
    KMIP = "kmip"


class KeyState(StrEnum):
    """The state of a key. A key is acknowledged once it is committed; only an aborted or purging key may be destroyed.

    The usual changes: pending -> committed | aborted; committed <-> retired; retired -> purging -> purged. A purged key
    is purging again if one of its objects is found again. A rebuild can commit a pending or aborted key.
    """

    PENDING = "pending"
    COMMITTED = "committed"
    ABORTED = "aborted"
    RETIRED = "retired"
    PURGING = "purging"
    PURGED = "purged"


HOLD_NAMES = (KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED)
"""States in which no other key may have the name of a key."""

IN_USE = (KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED)
"""States in which the loss of a key breaks a promise that was made or is about to be made."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key. ``uuid`` is our id, ``key_id`` is ONTAP's (80 hexadecimal digits). Neither depends on the material.

    ``svm`` is the owner of the key. On an SVM's key manager it is that SVM; on the cluster's it is any SVM, or None for
    the cluster itself. ``length`` is the number of bytes of the material. ``digest`` is its keyed digest. ``version``
    grows with every change that makes cached material stale. ``purge_after`` is when the recovery window of a retired
    key ends. ``retired_in`` is the uuid of the incarnation that retired the key. ``overdue`` says that the recovery
    window has ended by the trusted clock, and that the purge waits for key servers.
    """

    uuid: str
    key_id: str
    key_manager: str
    svm: Svm | None
    name: str
    key_tag: str
    key_type: KeyType
    state: KeyState
    length: int
    created: datetime
    digest: bytes = field(default=b"", repr=False)
    version: int = 1
    committed: datetime | None = None
    retired: datetime | None = None
    purge_after: datetime | None = None
    retired_in: str = ""
    overdue: bool = False

    @property
    def standing(self) -> Standing:
        """The values that make cached material stale when they change.

        A read from memory, and the eviction of cached keys, compare them with the row in the database.
        """
        return Standing(self.version, self.state, self.svm.uuid if self.svm else None)


class Standing(NamedTuple):
    """The values that decide who may read a key: its version, its state and the uuid of its SVM (None: the cluster)."""

    version: int
    state: KeyState
    svm: str | None


class AttemptState(StrEnum):
    """The state of an attempt. It leaves ``pending`` once, by compare-and-set."""

    PENDING = "pending"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Purpose(StrEnum):
    """Why an attempt writes: to create a key, or to copy a key to one server that lacks it."""

    CREATE = "create"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A durable intent to write copies of a key. :func:`names.object_name` makes the name of the objects from it.

    ``token`` is the fencing token: only its holder can end the attempt. After ``expires`` other nodes may abort it.
    ``adopted`` is the name of an existing object that the attempt took over instead of writing one (for a pair: the
    name without its part). Another attempt wrote that object, so it is never destroyed. ``expired`` says that the
    attempt timed out. It may have been committed all the same, in a part of the history that this database has lost.
    """

    key: str
    number: int
    purpose: Purpose
    incarnation: str
    token: str
    node: str
    state: AttemptState
    began: datetime
    expires: datetime
    adopted: str = ""
    expired: bool = False


class Presence(StrEnum):
    """What is known of a copy on its server. ``sent``: Register was sent and not answered.

    ``present``: the copy was read back and proven. ``missing``: the copy was not found, or it never was there, because
    nothing was sent or the server refused. ``different``: the server has other material; it is never overwritten.
    ``destroyed``: the copy is gone for good, and a receipt says how. ``unknown``: none of these is certain.
    """

    SENT = "sent"
    PRESENT = "present"
    MISSING = "missing"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a key: the object or pair that an attempt left on a primary, or on its secondary ``host``.

    ``key_server`` is the uuid of the primary, even after the primary was removed. ``host`` is empty for the primary
    itself. ``unique_identifiers`` has one entry per Managed Object (two for a pair of AES keys); it is empty while
    unknown. ``object_state`` is the KMIP State as last seen. ``descriptor`` is the identifier of the descriptor object,
    or empty.
    """

    key: str
    attempt: int
    key_server: str
    presence: Presence
    host: str = ""
    unique_identifiers: tuple[str, ...] = ()
    object_state: str = ""
    descriptor: str = ""
    written: datetime | None = None
    proven: datetime | None = None


class KeyForm(StrEnum):
    """The form in which a server stores a key: one Secret Data (Seed, Raw), one AES/512 key, or two AES-256 keys."""

    SECRET_DATA = "secret_data"  # noqa: S105 - an Object Type
    SYMMETRIC_KEY = "symmetric_key"
    SYMMETRIC_KEY_PAIR = "symmetric_key_pair"


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """The server profile: what was learned about a primary by writing its canary, a random object that stays there.

    ``sees`` are the uuids of the servers that share canaries with this one: they replicate among themselves.
    ``operations`` and ``object_types`` are the KMIP numbers that Query named; they are empty if Query named none.
    ``application_information``: the server accepts Application Specific Information. ``locate_offset``: Locate accepts
    Offset Items, so that a list can be read in pages. ``batches``: the server answers several items in one message.
    ``public_key`` is the SHA-256 of the server's public key, in hexadecimal, when it last showed its canary.
    """

    key_server: str
    form: KeyForm
    canary_name: str
    canary: tuple[str, ...]
    canary_digest: bytes = field(repr=False)
    learned: datetime
    sees: tuple[str, ...] = ()
    operations: tuple[int, ...] = ()
    object_types: tuple[int, ...] = ()
    version: str = ""
    vendor: str = ""
    application_information: bool = True
    locate_by_name: bool = True
    locate_offset: bool = False
    batches: bool = False
    activates: bool = True
    public_key: str = ""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of this database. A restored, cloned or promoted database begins a new one.

    ``number`` counts from 1. ``storage`` is the place of this database; it tells the database from a clone.
    ``destroys`` is False in a new incarnation until an operator releases destruction. It is False, too, while nodes
    vouch for a promoted database: ``vouching`` is its place, and ``vouching_since`` the time of the first look at it.
    """

    uuid: str
    number: int
    began: datetime
    reason: str
    storage: str
    destroys: bool
    vouching: str = ""
    vouching_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A record of what was done to one object of a key.

    ``action`` is ``revoked``, ``destroyed`` or ``absent`` (not found). Three actions destroy nothing. ``left`` is
    for an adopted object, ``abandoned`` for a copy on a server that was given up. ``not_written`` is for a copy that
    its server refused, or that was not sent.
    """

    key: str
    attempt: int
    key_server: str
    host: str
    unique_identifier: str
    action: str
    time: datetime
    incarnation: str
    node: str


@dataclass(frozen=True, slots=True)
class Dismissal:
    """An administrator's statement that an orphan needs nobody.

    ``digest`` is the keyed digest of the object's material at that time: see :mod:`keystead.core.keys.digests`.
    """

    time: datetime
    account: str
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Orphan:
    """An object under our names that no attempt of this incarnation accounts for. It is never destroyed."""

    key_manager: str
    key_server: str
    unique_identifier: str
    name: str
    found: datetime
    dismissal: Dismissal | None = None


@dataclass(frozen=True, slots=True)
class Detached:
    """A key server, as it was configured, that was removed while copies on it wait to be destroyed."""

    server: KeyServer
    detached: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do some work on one node at a time. ``token``, the fencing token, grows with each new holder.

    ``holder`` is a process: the node's uuid, a slash, and what is new for each process.
    """

    name: str
    holder: str
    token: int
    expires: datetime

    @property
    def node(self) -> str:
        """The uuid of the node whose process holds it."""
        return self.holder.partition("/")[0]


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """A named key pair or secret of the cluster itself. ``public`` is PEM text, or empty for a secret."""

    name: str
    public: str
    sealed: bytes = field(repr=False)


CopyId = tuple[str, int, str, str, tuple[str, ...]]
"""The object, or pair of objects, that was read: key, attempt, key server, host and Unique Identifiers."""


AddressId = tuple[str, str]
"""The id of a key server's address: (server uuid, host). The host is empty for the primary."""


def copy_id(copy: Copy) -> CopyId:
    """Return the id of the copy's objects. A proof of the copy holds for these objects only.

    Called to note which copies were read, were denied, or are in doubt, while servers or certificates are changed.
    """
    return copy.key, copy.attempt, copy.key_server, copy.host, copy.unique_identifiers
