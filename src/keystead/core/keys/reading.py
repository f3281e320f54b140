"""Reading keys: which may be read, where to read them first, what was tried, and what counts as restored. Pure.

Order: the replication domain that answered best lately, then the next one, secondaries last; addresses that failed
lately after all that did not. Whatever a server returns is compared with the key's digest, so that a copy of doubtful
presence may be tried as well, only later.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import find, secondary_addresses
from keystead.core.keys.model import Copy, KeyState, KeyType, Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from keystead.core.errors import ErrorKind
    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.core.server_address import ServerAddress

RETIRED = "the key was deleted: recover it before it is read"

_TURN = {Presence.PRESENT: 0, Presence.UNKNOWN: 1, Presence.SENT: 1, Presence.MISSING: 1, Presence.DIFFERENT: 2}
"""Copies that may be there, by how likely they are to be read; of one that differed, another look costs little."""

_NEVER_S = float("inf")


def check_readable(key: Key | None, key_type: KeyType) -> Key:
    """Return a key of this type whose material may leave: an acknowledged one.

    Raises 262185 for a retired one, 4 (404) for any other, and for a key of another type whatever its state.
    """
    if key is None or key.key_type is not key_type or key.state not in (KeyState.COMMITTED, KeyState.RETIRED):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
    if key.state is KeyState.RETIRED:
        raise OntapError(errors.INVALID_VALUE, target="key_id", field="key_id", reason=RETIRED)
    return key


def not_restored(key: Key) -> ErrorKind:
    """The code for a key that no server returned."""
    return errors.AUTH_KEY_NOT_RESTORED if key.key_type is KeyType.NSE_AK else errors.VOLUME_KEY_NOT_RESTORED


# --- where to read ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """An address at which a copy may be read. ``host`` is a secondary's, empty for the primary."""

    copy: Copy
    server: KeyServer
    host: str = ""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """What is known of an address: whether it is left alone for a while, and the recent typical time of a Get."""

    avoided: bool
    latency_s: float | None


def sources(copies: Iterable[Copy], servers: Sequence[KeyServer]) -> list[Source]:
    """Where the copies of a key can be read, on servers that are configured: on its secondaries too.

    Of several copies on one server the latest comes first.
    """
    known = {server.uuid: server for server in servers}
    return [
        Source(copy, known[copy.key_server], host)
        for copy in sorted(copies, key=lambda copy: -copy.attempt)
        if copy.key_server in known and copy.unique_identifiers and copy.presence in _TURN
        for host in ("", *known[copy.key_server].secondary_key_servers)
    ]


def in_order(
    found: Iterable[Source], domain_of: Mapping[str, str], health: Callable[[Source], SourceHealth]
) -> list[Source]:
    """The order in which to read: the best place of each domain, then each domain's second best, and so on."""
    ranked = sorted(((_rank(source, health(source)), source) for source in found), key=lambda each: each[0])
    taken: Counter[tuple[object, ...]] = Counter()
    placed = []
    for rank, source in ranked:
        turn = (*rank[:_TIER], domain_of[source.server.uuid])
        placed.append(((*rank[:_TIER], taken[turn], *rank[_TIER:]), source))
        taken[turn] += 1
    return [source for _, source in sorted(placed, key=lambda each: each[0])]


def _rank(source: Source, health: SourceHealth) -> tuple[float, ...]:
    """How good a place is, the least first. The first parts are the tiers, within which domains take turns."""
    latency_s = _NEVER_S if health.latency_s is None else health.latency_s
    return _TURN[source.copy.presence], health.avoided, bool(source.host), latency_s, source.server.position


_TIER = 3
"""Parts of a rank that are tiers."""


# --- what was tried --------------------------------------------------------------------------------------------------

READ, DIFFERENT, OVERTAKEN, NOT_NEEDED = "read", "different_material", "overtaken", "not_needed"
"""Outcomes beside the reasons of faults. ``overtaken``: another server had answered first."""

AVOIDED = "circuit_open"
"""The outcome of a server that failed lately, and was put off for it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One address in the order of a read: how it went, and in how many ms; None for one that was not asked."""

    server: str
    host: str
    outcome: str
    elapsed_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a key was read: from this node's memory (``cached``), or after what was tried, in this order."""

    cached: bool
    tried: tuple[Tried, ...] = ()


def not_asked(health: SourceHealth, presence: Presence) -> str:
    """Why an address was not asked."""
    if presence is Presence.DIFFERENT:
        return DIFFERENT
    return AVOIDED if health.avoided else NOT_NEEDED


# --- what is restored ------------------------------------------------------------------------------------------------


def restoring_server(servers: Sequence[KeyServer], address: ServerAddress) -> KeyServer:
    """Find the server to restore from, or raise 65538500 for a secondary, 65536843 for one that is not configured."""
    found = find(servers, address)
    if found is not None:
        return found
    secondary = any(address in secondary_addresses(server) for server in servers)
    kind = errors.ONLY_PRIMARIES if secondary else errors.KEY_SERVER_NOT_CONFIGURED
    raise OntapError(kind, target="key_server")


def proven_on(copies: Iterable[Copy], available: Collection[str]) -> bool:
    """Whether a node can read a key: it has a proven copy on one of the servers that are available to that node."""
    return any(copy.presence is Presence.PRESENT and copy.key_server in available for copy in copies)


def key_server_of(copies: Iterable[Copy], servers: Sequence[KeyServer], lost: Collection[str] = ()) -> KeyServer | None:
    """The key server that a key id is shown with: the first, in their order, with a proven copy.

    Servers that do not respond (``lost``, uuids) come after all others.
    """
    holding = {copy.key_server for copy in copies if copy.presence is Presence.PRESENT}
    found = [server for server in servers if server.uuid in holding]
    return min(found, key=lambda server: server.uuid in lost, default=None)
