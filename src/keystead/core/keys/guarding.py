"""What keys forbid about the servers that keep them: whether a server can go, and what must be proven before it does.

Pure. A key is safe from a removal when a server that stays holds a copy that was read and agreed less than
:data:`FRESH` ago, and answers still: it may have died since. One that replicates with the removed server counts: the
domain stays, or else no member of a replicated cluster could ever be replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Copy, Key, KeyState, Presence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Attempt
    from keystead.core.model import KeyManager, KeyServer

FRESH: Final = timedelta(seconds=30)
"""How old a proof may be that a removal relies on."""


@dataclass(frozen=True, slots=True)
class Period:
    """When a proof was made that counts. One from the future is of a clock that is ahead: its age is not known."""

    since: datetime
    until: datetime

    def has(self, proven: datetime | None) -> bool:
        """Whether a proof is of this period."""
        return proven is not None and self.since <= proven <= self.until


def fresh(now: datetime, left: timedelta = timedelta()) -> Period:
    """When a proof was made that counts now, and for that long still."""
    return Period(now + left - FRESH, now)


NAMED_KEYS: Final = 10
"""Keys that a refusal names at most; it says how many there are."""

_MAY_BE_THERE = frozenset({Presence.PRESENT, Presence.UNKNOWN, Presence.SENT})

Place = tuple[str, int, str, str, tuple[str, ...]]
"""Which object, or pair of objects, was read: key, attempt, server, host and Unique Identifiers."""


At = tuple[str, str]
"""An address of a key server: the server's uuid, and a secondary's host, empty for the primary."""


def place(copy: Copy) -> Place:
    """What a proof of this copy is a proof of."""
    return copy.key, copy.attempt, copy.key_server, copy.host, copy.unique_identifiers


def may_be_there(copy: Copy) -> bool:
    """Whether a copy is on its server, or may be."""
    return copy.presence in _MAY_BE_THERE


def lasting(copies: Iterable[Copy], attempts: Iterable[Attempt]) -> list[Copy]:
    """The copies that count: what an aborted attempt wrote is no copy."""
    aborted = {(each.key, each.number) for each in attempts if each.state is AttemptState.ABORTED}
    return [copy for copy in copies if (copy.key, copy.attempt) not in aborted]


# --- may a server go? ---


@dataclass(frozen=True, slots=True)
class Removal:
    """A server that goes; or, with ``after``, one that becomes that and so loses secondaries."""

    key_manager: KeyManager
    server: KeyServer
    after: KeyServer | None = None


@dataclass(frozen=True, slots=True)
class Stake:
    """A key that a removal could take away, and its proven copies elsewhere, the one proven last first."""

    key: Key
    elsewhere: tuple[Copy, ...]

    def is_safe(self, period: Period, answering: Collection[At]) -> bool:
        """Whether one of them was proven then, at an address that answers still."""
        return any(period.has(copy.proven) and (copy.key_server, copy.host) in answering for copy in self.elsewhere)


@dataclass(frozen=True, slots=True)
class Going:
    """What goes: a server, or some of its secondaries (``hosts``); and the servers that stay."""

    servers: Collection[str]
    stay: Mapping[str, KeyServer]
    hosts: Collection[str] | None = None

    def takes(self, copy: Copy) -> bool:
        """Whether a copy that is there, or may be, goes with it."""
        goes = copy.key_server in self.servers and (self.hosts is None or copy.host in self.hosts)
        return goes and may_be_there(copy)

    def leaves(self, key_server: str, host: str) -> bool:
        """Whether an address stays: of a configured server, the primary or a secondary that is configured."""
        return _is_configured(key_server, host, self.stay)


def stake(key: Key, copies: Iterable[Copy], going: Going) -> Stake | None:
    """What stands at stake with a key, None for nothing.

    ``copies`` are the lasting ones. A key that is being created is none: its commit counts configured servers only. A
    secondary counts as long as it is configured.
    """
    copies = tuple(copies)
    if not any(map(going.takes, copies)):
        return None
    elsewhere = to_be_read(copies, going.stay)
    return Stake(key, tuple(sorted(elsewhere, key=lambda copy: (copy.proven is not None, copy.proven), reverse=True)))


def sole_copy(keys: Sequence[Key], reason: str = "") -> OntapError:
    """The refusal of a removal: how many keys it is about (as far as was looked), some of them, and why."""
    arguments = [("keys", str(len(keys)))]
    arguments += [("key_id", key.key_id) for key in keys[:NAMED_KEYS]]
    arguments += [("reason", reason)] if reason else []
    return OntapError(errors.SOLE_COPY, target="server", arguments=arguments)


def _is_configured(key_server: str, host: str, servers: Mapping[str, KeyServer]) -> bool:
    server = servers.get(key_server)
    return server is not None and (not host or host in server.secondary_key_servers)


# --- may a key manager go? ---

FINAL: Final = (KeyState.ABORTED, KeyState.PURGED)
"""States of keys that go with their key manager."""

NOT_OVER: Final = tuple(state for state in KeyState if state not in FINAL)
"""States of keys that hold their key manager, and their SVM."""


def check_no_keys(counts: Mapping[KeyState, int], left: int) -> None:
    """Raise 65536867 while a key manager has keys that have not come to their end, one that is being created too.

    ``left`` are those that have, but for objects on key servers that are still to be destroyed: nothing else knows
    whose they are.
    """
    number = left + sum(count for state, count in counts.items() if state in NOT_OVER)
    if number:
        raise OntapError(errors.KEYS_IN_USE, arguments=[("keys", str(number))])


def check_not_at_cluster(keys: int) -> None:
    """Raise 65536878 for an SVM that gets a key manager of its own while the cluster's has keys of it."""
    if keys:
        raise OntapError(errors.KEYS_AT_CLUSTER, arguments=[("keys", str(keys))])


# --- what must be proven with another certificate, or at another address ---


def to_be_read(copies: Iterable[Copy], servers: Mapping[str, KeyServer]) -> list[Copy]:
    """Of lasting copies, those that are present on these servers: a new client certificate must read them."""
    present = (copy for copy in copies if copy.presence is Presence.PRESENT)
    return [copy for copy in present if _is_configured(copy.key_server, copy.host, servers)]


def only_there(
    copies: Iterable[Copy], server: KeyServer, servers: Iterable[KeyServer], domain_of: Mapping[str, str]
) -> list[Copy]:
    """Of a key's lasting copies, those that a server must have where it is going to be: none if another domain has one.

    Its canary is there; but a server that was restored has the canary, and not the keys that came later.
    """
    copies = tuple(copies)
    others = {each.uuid: each for each in servers if domain_of.get(each.uuid) != domain_of.get(server.uuid)}
    return [] if to_be_read(copies, others) else to_be_read(copies, {server.uuid: server})
