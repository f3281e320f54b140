"""The keys that Keystead keeps on key servers, as frozen values. No key material is a field of any class here.

A **key** is created by an **attempt**, a durable intent that precedes the first packet. Each attempt leaves **copies**:
one Managed Object per primary key server. Copies that are proven count by **replication domain**: servers that
replicate among themselves are one. Everything written names the **incarnation** of the database that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import KeyServer, Svm


class KeyType(StrEnum):
    """What a key is for, in ONTAP's words: a volume's (``vek``), or a self-encrypting drive's (``nse_ak``)."""

    VEK = "vek"
    NSE_AK = "nse_ak"


class KeyState(StrEnum):
    """Where a key stands. It is acknowledged once it was committed; only an aborted or purging one may be destroyed.

    pending -> committed | aborted; committed <-> retired; retired -> purging -> purged. Aborted is final,
    and purged, too, unless a server that comes back still has an object: then the key is purging again.
    """

    PENDING = "pending"
    COMMITTED = "committed"
    ABORTED = "aborted"
    RETIRED = "retired"
    PURGING = "purging"
    PURGED = "purged"


HOLD_NAMES = (KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED)
"""States in which a key's name is taken."""

IN_USE = (KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED)
"""States in which losing the key would lose something that was, or is about to be, promised."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key. ``uuid`` is ours, ``key_id`` ONTAP's (80 hexadecimal digits); neither says anything about the material.

    ``svm`` is whose key it is: the key manager's SVM, or on the cluster's key manager any SVM or None, the cluster
    itself. ``length`` is that of the material in bytes, ``digest`` its keyed digest. ``version`` grows with every
    change that makes cached material stale. ``purge_after`` is when a retired key's undo ends, ``retired_in`` the
    incarnation (uuid) in which it was retired. ``overdue``: its undo has ended, by a clock that was believed, and its
    end waits for key servers.
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
        """What makes cached material stale when it changes."""
        return Standing(self.version, self.state, self.svm.uuid if self.svm else None)


class Standing(NamedTuple):
    """Whether, and for whom, a key is readable: its version, its state and its SVM's uuid."""

    version: int
    state: KeyState
    svm: str | None


class AttemptState(StrEnum):
    """What became of an attempt. ``pending`` is left once, by compare-and-set."""

    PENDING = "pending"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Purpose(StrEnum):
    """Why an attempt writes: the key is new, or one server lacks its copy."""

    CREATE = "create"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A durable intent to write copies of a key under the name that :func:`names.object_name` makes of it.

    ``token`` fences: who does not hold it can end nothing. After ``expires`` others may abort it. ``adopted`` is the
    name of the object that it took over instead (of a pair: without a part): another wrote it: it is never destroyed.
    ``expired``: it was aborted for its time alone, so that it may have been committed in what a database has lost.
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
    """What is known of a copy. ``sent``: Register left, its answer did not come. ``present``: read back and proven.

    ``missing``: looked for and not there, or never there, since nothing was sent or the server did not take it.
    ``different`` is never overwritten. ``destroyed`` has come to its end, with a receipt that says how.
    """

    SENT = "sent"
    PRESENT = "present"
    MISSING = "missing"
    DIFFERENT = "different"
    UNKNOWN = "unknown"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a key: what an attempt left on a primary key server, or through its secondary ``host``.

    ``key_server`` is the primary's uuid, also once it was removed; ``host`` is empty for the primary itself.
    ``unique_identifiers`` are one per Managed Object (two for a pair of AES keys), none while unknown.
    ``object_state`` is the KMIP State as last seen. ``descriptor`` identifies the companion object, or is empty.
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
    """As what a server keeps a key: one Secret Data (Seed, Raw), one AES/512 key, or two AES-256 keys."""

    SECRET_DATA = "secret_data"  # noqa: S105 - an Object Type
    SYMMETRIC_KEY = "symmetric_key"
    SYMMETRIC_KEY_PAIR = "symmetric_key_pair"


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """What was learned about a primary key server by writing its canary, a random object that stays there.

    ``sees`` are the servers (uuids) whose canaries were found on this one: they replicate among themselves.
    ``operations`` and ``object_types`` are KMIP numbers that Query named; empty when it named none.
    ``application_information``: takes Application Specific Information. ``locate_offset``: pages with Offset Items.
    ``batches``: answers several items.
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


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of this database. A restored, cloned or promoted one begins another, which may not destroy at first.

    ``number`` counts from 1; ``storage`` tells this database's place from a copy's; ``destroys`` is what an operator
    releases.
    """

    uuid: str
    number: int
    began: datetime
    reason: str
    storage: str
    destroys: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done to an object on the way to its end: ``revoked``, ``destroyed``, found ``absent``; or not done.

    ``left`` is an adopted object, ``abandoned`` the copy on a server that was given up.
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
class Orphan:
    """An object under one of our names that no attempt of this incarnation accounts for. It is never destroyed."""

    key_manager: str
    key_server: str
    unique_identifier: str
    name: str
    found: datetime


@dataclass(frozen=True, slots=True)
class Detached:
    """A key server that was removed while copies on it await their end, as it was configured."""

    server: KeyServer
    detached: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Work that one node at a time does. ``token`` grows with each change of hands, and fences the one before."""

    name: str
    holder: str
    token: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """A key pair or secret of the cluster itself, by name. ``public`` is PEM text, or empty for a secret."""

    name: str
    public: str
    sealed: bytes = field(repr=False)


CopyId = tuple[str, int, str, str, tuple[str, ...]]
"""Which object, or pair of objects, was read: key, attempt, server, host and Unique Identifiers."""


AddressId = tuple[str, str]
"""An address of a key server: the server's uuid, and a secondary's host, empty for the primary."""


def copy_id(copy: Copy) -> CopyId:
    """What a proof of this copy is a proof of."""
    return copy.key, copy.attempt, copy.key_server, copy.host, copy.unique_identifiers
