"""The rules of reading keys: which may be read, in which order to ask servers, and what counts as restored. Pure.

The order: the best address of the domain that answered fastest lately, then the next domain; secondaries last.
Addresses that failed lately come after all others. What a server returns is compared with the key's digest. So even a
copy that may be missing is safe to try, only later.
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

_ORDER = {Presence.PRESENT: 0, Presence.UNKNOWN: 1, Presence.SENT: 1, Presence.MISSING: 1, Presence.DIFFERENT: 2}
"""Presences of copies that may be read, with their order: the likeliest first.

A different copy comes last, because another look costs little.
"""

_UNKNOWN_LATENCY_S = float("inf")


def check_readable(key: Key | None, key_type: KeyType) -> Key:
    """Return the key if it has this type and its material may be read, because it is committed.

    Raises 262185 for a retired key. Raises 4 (404) for any other state, for None, and for a key of another type.
    """
    if key is None or key.key_type is not key_type or key.state not in (KeyState.COMMITTED, KeyState.RETIRED):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
    if key.state is KeyState.RETIRED:
        raise OntapError(errors.INVALID_VALUE, target="key_id", field="key_id", reason=RETIRED)
    return key


def not_restored(key: Key) -> ErrorKind:
    """Return the error kind for a key that no server returned."""
    return errors.AUTH_KEY_NOT_RESTORED if key.key_type is KeyType.NSE_AK else errors.VOLUME_KEY_NOT_RESTORED


# --- where to read ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """An address at which a copy may be read. ``host`` is that of a secondary, empty for the primary."""

    copy: Copy
    server: KeyServer
    host: str = ""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """What is known of an address: whether its circuit is open (``avoided``), and the typical time of a Get lately."""

    avoided: bool
    latency_s: float | None


def sources(copies: Iterable[Copy], servers: Sequence[KeyServer]) -> list[Source]:
    """Return the addresses at which the key can be read: configured servers with a copy, and their secondaries.

    Of several copies on one server the latest attempt's comes first.
    """
    known = {server.uuid: server for server in servers}
    return [
        Source(copy, known[copy.key_server], host)
        for copy in sorted(copies, key=lambda copy: -copy.attempt)
        if copy.key_server in known and copy.unique_identifiers and copy.presence in _ORDER
        for host in ("", *known[copy.key_server].secondary_key_servers)
    ]


def in_order(
    found: Iterable[Source], domain_of: Mapping[str, str], health: Callable[[Source], SourceHealth]
) -> list[Source]:
    """Return the order in which to read: the best address of each domain, then the second best of each, and so on."""
    ranked = sorted(((_rank(source, health(source)), source) for source in found), key=lambda each: each[0])
    ranked_before: Counter[tuple[object, ...]] = Counter()
    placed = []
    for rank, source in ranked:
        turn = (*rank[:_TIERS], domain_of[source.server.uuid])
        placed.append(((*rank[:_TIERS], ranked_before[turn], *rank[_TIERS:]), source))
        ranked_before[turn] += 1
    return [source for _, source in sorted(placed, key=lambda each: each[0])]


def _rank(source: Source, health: SourceHealth) -> tuple[float, ...]:
    """Return the rank of an address; the lowest is the best. Domains take turns among equal first parts (the tiers)."""
    latency_s = _UNKNOWN_LATENCY_S if health.latency_s is None else health.latency_s
    return _ORDER[source.copy.presence], health.avoided, bool(source.host), latency_s, source.server.position


_TIERS = 3
"""How many parts of a rank are tiers."""


# --- what was tried --------------------------------------------------------------------------------------------------

READ, DIFFERENT, OVERTAKEN, NOT_NEEDED = "read", "different_material", "overtaken", "not_needed"
"""Outcomes besides the reasons of failures. ``overtaken``: another server answered first."""

AVOIDED = "circuit_open"
"""The outcome of a server that was not asked because it failed lately."""


@dataclass(frozen=True, slots=True)
class Tried:
    """An address in the order of a read: the outcome, and the time in ms (None if the address was not asked)."""

    server: str
    host: str
    outcome: str
    elapsed_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a key was read: from this node's memory (``cached``), or from servers, which were tried in this order."""

    cached: bool
    tried: tuple[Tried, ...] = ()


def not_asked(health: SourceHealth, presence: Presence) -> str:
    """Return why an address was not asked."""
    if presence is Presence.DIFFERENT:
        return DIFFERENT
    return AVOIDED if health.avoided else NOT_NEEDED


# --- what is restored ------------------------------------------------------------------------------------------------


def restoring_server(servers: Sequence[KeyServer], address: ServerAddress) -> KeyServer:
    """Find the server to restore from. Raise 65538500 for a secondary, 65536843 for one that is not configured."""
    found = find(servers, address)
    if found is not None:
        return found
    secondary = any(address in secondary_addresses(server) for server in servers)
    kind = errors.ONLY_PRIMARIES if secondary else errors.KEY_SERVER_NOT_CONFIGURED
    raise OntapError(kind, target="key_server")


def proven_on(copies: Iterable[Copy], available: Collection[str]) -> bool:
    """Return True if a node can read the key: one of the servers available to it has a proven copy."""
    return any(copy.presence is Presence.PRESENT and copy.key_server in available for copy in copies)


def key_server_of(copies: Iterable[Copy], servers: Sequence[KeyServer], lost: Collection[str] = ()) -> KeyServer | None:
    """Return the key server to show with a key id: the first with a proven copy, None if there is none.

    Servers that do not respond (``lost``, uuids) come after all others.
    """
    holding = {copy.key_server for copy in copies if copy.presence is Presence.PRESENT}
    found = [server for server in servers if server.uuid in holding]
    return min(found, key=lambda server: server.uuid in lost, default=None)
