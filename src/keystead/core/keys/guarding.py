"""What keys forbid about the servers that keep them: whether a server can go, and what must be proven before it does.

Pure. A key is safe from a removal when a server that stays holds a copy that was read and agreed less than
:data:`FRESH` ago, and answers still: it may have died since. One that replicates with the removed server counts: the
domain stays, or else no member of a replicated cluster could ever be replaced.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.attempts import is_expired
from keystead.core.keys.model import AddressId, AttemptState, Copy, CopyId, Key, KeyState, Presence, copy_id

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


LATELY: Final = timedelta(hours=2)
"""How old a proof on another server may be that a move relies on: every copy is read once an hour."""

NAMED_KEYS: Final = 10
"""Keys that a refusal names at most; it says how many there are."""

_who = attrgetter("address", "username")

_MAY_BE_THERE = frozenset({Presence.PRESENT, Presence.UNKNOWN, Presence.SENT})

_IN_DOUBT = frozenset({Presence.MISSING, Presence.DIFFERENT})


def may_be_there(copy: Copy) -> bool:
    """Whether a copy is on its server, or may be: one look at which it was not there, or differed, may be wrong."""
    return copy.presence in _MAY_BE_THERE or is_in_doubt(copy)


def is_in_doubt(copy: Copy) -> bool:
    """Whether a copy was not what it must be at the last look, and another look can be had at its objects."""
    return copy.presence in _IN_DOUBT and bool(copy.unique_identifiers)


def is_on_its_way(copy: Copy, attempt: Attempt, now: datetime) -> bool:
    """Whether a copy that was never proven may still arrive: that it is not there yet says nothing."""
    return copy.proven is None and not is_expired(attempt, now)


def without_aborted(copies: Iterable[Copy], attempts: Iterable[Attempt]) -> list[Copy]:
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
class KeyAtRisk:
    """A key that a removal could take away: the copies that go, and those that stay, the one proven last first."""

    key: Key
    going: tuple[Copy, ...]
    elsewhere: tuple[Copy, ...]

    def is_safe(self, period: Period, answering: Collection[AddressId]) -> bool:
        """Whether one of them was proven then, at an address that answers still."""
        return any(period.has(copy.proven) and (copy.key_server, copy.host) in answering for copy in self.elsewhere)


@dataclass(frozen=True, slots=True)
class Departure:
    """What goes: a server, or some of its secondaries (``hosts``); and the servers that stay.

    ``gone`` is what was asked for since at each address that goes: it is not there.
    """

    servers: Collection[str]
    stay: Mapping[str, KeyServer]
    hosts: Collection[str] | None = None
    gone: Collection[CopyId] = ()

    def takes(self, copy: Copy) -> bool:
        """Whether a copy that is there, or may be, goes with it.

        So may one that is not known to be where it was written: a secondary that goes may be the last to have it.
        """
        if copy.key_server not in self.servers or not may_be_there(copy):
            return False
        goes = self.goes(copy.key_server, copy.host) or copy.presence is not Presence.PRESENT
        return goes and not (self.frees(copy) and copy_id(copy) in self.gone)

    def goes(self, key_server: str, host: str) -> bool:
        """Whether an address goes."""
        return key_server in self.servers and (self.hosts is None or host in self.hosts)

    def frees(self, copy: Copy) -> bool:
        """Whether a copy does not hold what goes, once it was asked for there in vain."""
        here = self.goes(copy.key_server, copy.host)
        return is_in_doubt(copy) if here else copy.presence is not Presence.PRESENT

    def leaves(self, key_server: str, host: str) -> bool:
        """Whether an address stays: of a configured server, the primary or a secondary that is configured."""
        return is_configured(key_server, host, self.stay)


@dataclass(frozen=True, slots=True)
class RemovalFindings:
    """What was found out for one removal, and is added to meanwhile.

    ``answering`` are addresses that answered; ``gone`` are copies in doubt that are at no address that goes.
    """

    answering: set[AddressId] = field(default_factory=set)
    gone: set[CopyId] = field(default_factory=set)


def key_at_risk(key: Key, copies: Iterable[Copy], going: Departure) -> KeyAtRisk | None:
    """What stands at stake with a key, None for nothing.

    ``copies`` are the lasting ones. A key that is being created is none: its commit counts configured servers only. A
    secondary counts as long as it is configured.
    """
    copies = tuple(copies)
    goes = tuple(filter(going.takes, copies))
    if not goes:
        return None
    elsewhere = sorted(
        present_on(copies, going.stay), key=lambda copy: (copy.proven is not None, copy.proven), reverse=True
    )
    return KeyAtRisk(key, goes, tuple(elsewhere))


def sole_copy(keys: Sequence[Key], reason: str = "") -> OntapError:
    """The refusal of a removal: how many keys it is about (as far as was looked), some of them, and why."""
    arguments = [("keys", str(len(keys)))]
    arguments += [("key_id", key.key_id) for key in keys[:NAMED_KEYS]]
    arguments += [("reason", reason)] if reason else []
    return OntapError(errors.SOLE_COPY, target="server", arguments=arguments)


def is_configured(key_server: str, host: str, servers: Mapping[str, KeyServer]) -> bool:
    """Whether an address is one of these servers (by uuid): the primary, or a secondary that is configured."""
    server = servers.get(key_server)
    return server is not None and (not host or host in server.secondary_key_servers)


# --- may a key manager go? ---

TERMINAL_STATES: Final = (KeyState.ABORTED, KeyState.PURGED)
"""States of keys that go with their key manager."""

ACTIVE_STATES: Final = tuple(state for state in KeyState if state not in TERMINAL_STATES)
"""States of keys that hold their key manager, and their SVM."""


def check_no_keys(counts: Mapping[KeyState, int], left: int) -> None:
    """Raise 65536867 while a key manager has keys that have not come to their end, one that is being created too.

    ``left`` are those that have, but for objects on key servers that are still to be destroyed: nothing else knows
    whose they are.
    """
    number = left + sum(count for state, count in counts.items() if state in ACTIVE_STATES)
    if number:
        raise OntapError(errors.KEYS_IN_USE, arguments=[("keys", str(number))])


def check_not_at_cluster(keys: int) -> None:
    """Raise 65536878 for an SVM that gets a key manager of its own while the cluster's has keys of it."""
    if keys:
        raise OntapError(errors.KEYS_AT_CLUSTER, arguments=[("keys", str(keys))])


# --- what must be proven with another certificate, or at another address ---


def present_on(copies: Iterable[Copy], servers: Mapping[str, KeyServer]) -> list[Copy]:
    """Of lasting copies, those that are present on these servers."""
    present = (copy for copy in copies if copy.presence is Presence.PRESENT)
    return [copy for copy in present if is_configured(copy.key_server, copy.host, servers)]


def to_be_read(copies: Iterable[Copy], servers: Mapping[str, KeyServer]) -> list[Copy]:
    """Of a key's lasting copies, those on these servers that must be read: by a new client certificate, for one.

    Those that are present; where none is, those that may be there: what was sent and not answered, too, and on the
    primary what a secondary was given that is none any more.
    """
    copies = tuple(copies)
    maybe = (copy for copy in copies if copy.key_server in servers and may_be_there(copy))
    return present_on(copies, servers) or [
        copy if is_configured(copy.key_server, copy.host, servers) else replace(copy, host="") for copy in maybe
    ]


def is_elsewhere(before: KeyServer, after: KeyServer) -> bool:
    """Whether what is known of a server's objects does not hold any more: it is elsewhere, or we are another user.

    Behind one address each name may lead to another server; the name that is used anyway is no other one.
    """
    hosts = [after.address.host, *before.secondary_key_servers, *after.secondary_key_servers]
    return _who(before) != _who(after) or _names(before, hosts) != _names(after, hosts)


def _names(server: KeyServer, hosts: Iterable[str]) -> list[str]:
    """Under which name a server is reached at each of these hosts: the one that it was given, or the host itself."""
    return [(server.tls_server_name or host).removesuffix(".").lower() for host in hosts]


def only_there(copies: Iterable[Copy], server: KeyServer, others: Collection[AddressId], period: Period) -> list[Copy]:
    """Of a key's lasting copies, those that a server must have where it is going to be: none if another has one.

    Its canary is there; but a server that was restored has the canary, and not the keys that came later. ``others`` are
    addresses of servers of other domains which answer; what was proven at one of them counts if it was in ``period``.
    """
    copies = tuple(copies)
    there = (copy for copy in copies if (copy.key_server, copy.host) in others and copy.presence is Presence.PRESENT)
    proven = any(period.has(copy.proven) for copy in there)
    return [] if proven else to_be_read(copies, {server.uuid: server})


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server has shown, or another certificate, and is added to meanwhile.

    ``read`` was read, by key (uuid); ``spared`` was in doubt, and is there under another identifier, or could not be
    read before either. ``unreached`` are addresses that are silent, now and then: what each has, another has shown.
    """

    read: defaultdict[str, set[CopyId]] = field(default_factory=partial(defaultdict, set))
    spared: set[CopyId] = field(default_factory=set)
    unreached: Collection[AddressId] = ()

    def covers(self, copy: Copy) -> bool:
        """Whether a copy that must be readable is, or need not be: what was in doubt and is lost, or has a better one.

        What is present now is not lost.
        """
        needed = copy.presence is Presence.PRESENT and (copy.key_server, copy.host) not in self.unreached
        spare = copy.presence is not Presence.PRESENT and copy_id(copy) in self.spared
        return spare or (not needed and copy.key in self.read) or copy_id(copy) in self.read.get(copy.key, ())


@dataclass(frozen=True, slots=True)
class Relocation:
    """A server as it will be, and what the call that moves it relies on.

    ``others`` are the addresses that answer; ``began`` is when it was asked to show first what it has there.
    """

    server: KeyServer
    others: frozenset[AddressId]
    began: datetime
    shown: Shown = field(default_factory=Shown)
