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

    Raises 262185 for a retired key. Raises 4 (404) for any other state, for None, and for a key of another type. Called
    at the beginning of each read, before memory or key servers are asked.
    """
    if key is None or key.key_type is not key_type or key.state not in (KeyState.COMMITTED, KeyState.RETIRED):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="key_id")
    if key.state is KeyState.RETIRED:
        raise OntapError(errors.INVALID_VALUE, target="key_id", field="key_id", reason=RETIRED)
    return key


def not_restored(key: Key) -> ErrorKind:
    """Return the kind of the error to raise for a key that no server returned: it depends on the type of the key."""
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

    Of several copies on one server the latest attempt's comes first. A copy that is destroyed, or has no identifiers,
    is left out. Called before a key is read, also by the keeper before it writes a missing copy.
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
    """Return the order in which to read: the best address of each domain, then the second best of each, and so on.

    Domains take such turns only among addresses of equal rank. Before that, proven copies come before others, healthy
    addresses before avoided ones, and primaries before secondaries. ``health`` returns what is known of an address.
    Called before each fetch of a key, and in a reboot drill.
    """
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


def not_askable(copies: Iterable[Copy], found: Iterable[Source]) -> list[Copy]:
    """Return the copies that may exist and cannot be asked for: no source leads to them.

    Their server was removed, or their identifiers are not known. A copy that never was there (``missing``, without
    identifiers) does not count if its server is asked for another copy. ``found`` are all sources of the key. Called
    after a fetch that no server answered with the key.
    """
    asked = {source.server.uuid for source in found}
    return [
        copy
        for copy in copies
        if copy.presence is not Presence.DESTROYED
        and not (copy.key_server in asked and (copy.unique_identifiers or copy.presence is Presence.MISSING))
    ]


def no_server_has(copies: Iterable[Copy], found: Collection[Source], denied: Collection[Source]) -> bool:
    """Return True if no key server has the key: every server that should have it was asked, and each denied it.

    A server counts at all its addresses. ``denied`` are the sources that answered now that the object does not exist.
    Called after a fetch that no server answered with the key: only then the key counts as lost.
    """
    return not not_askable(copies, found) and all(source in denied for source in found)


# --- what was tried --------------------------------------------------------------------------------------------------

READ, DIFFERENT, OVERTAKEN, NOT_NEEDED = "read", "different_material", "overtaken", "not_needed"
"""Outcomes besides the reasons of failures. ``overtaken``: another server answered first."""

UNSETTLED, DETACHED = "unsettled", "detached"
"""Reasons why a key may exist on a server that was not asked.

``unsettled``: the identifiers of the copy are not known. ``detached``: the server was removed.
"""

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
    """Return why an address was not asked, as a fixed word for the explanation of a read.

    ``presence`` is that of the copy at the address.
    """
    if presence is Presence.DIFFERENT:
        return DIFFERENT
    return AVOIDED if health.avoided else NOT_NEEDED


# --- what is restored ------------------------------------------------------------------------------------------------


def restoring_server(servers: Sequence[KeyServer], address: ServerAddress) -> KeyServer:
    """Return the server to restore from. Raise 65538500 for a secondary, 65536843 for one that is not configured.

    Called when a restore into a node's memory names a key server, before its job is created.
    """
    found = find(servers, address)
    if found is not None:
        return found
    secondary = any(address in secondary_addresses(server) for server in servers)
    kind = errors.ONLY_PRIMARIES if secondary else errors.KEY_SERVER_NOT_CONFIGURED
    raise OntapError(kind, target="key_server")


def proven_on(copies: Iterable[Copy], available: Collection[str]) -> bool:
    """Return True if a node can read the key: one of the servers available to it has a proven copy.

    ``available`` are server uuids. Called to show, with the key ids of a node, whether each key is restored.
    """
    return any(copy.presence is Presence.PRESENT and copy.key_server in available for copy in copies)


def key_server_of(copies: Iterable[Copy], servers: Sequence[KeyServer], lost: Collection[str] = ()) -> KeyServer | None:
    """Return the key server to show with a key id: the first with a proven copy, None if there is none.

    Servers that do not respond (``lost``, uuids) come after all others. Called when the key ids of a node are listed.
    """
    holding = {copy.key_server for copy in copies if copy.presence is Presence.PRESENT}
    found = [server for server in servers if server.uuid in holding]
    return min(found, key=lambda server: server.uuid in lost, default=None)
