"""The rules of writing copies: where a copy may be written, and when there are enough. Pure.

The guarantee: a key is acknowledged only when enough replication domains hold a proven copy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.keys.domains import proven_domains, wanted_copies
from keystead.core.keys.guarding import is_elsewhere
from keystead.core.keys.model import AttemptState, Copy, KeyForm, Presence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.keys.model import Attempt
    from keystead.core.model import KeyServer

SETTLED = frozenset({Presence.PRESENT, Presence.DIFFERENT})
"""Presences that end the work on a server, because its copy was read back. A different copy is never overwritten."""

UNSETTLED = frozenset({Presence.SENT, Presence.UNKNOWN})
"""Presences of a copy that may be on its server: something was sent, and the outcome must still be found out."""

GONE = frozenset({Presence.MISSING, Presence.DESTROYED})
"""Presences of a copy that is not on its server."""

_LENGTHS: Mapping[KeyForm, frozenset[int]] = {
    KeyForm.SYMMETRIC_KEY: frozenset({16, 24, 32, 64}),
    KeyForm.SYMMETRIC_KEY_PAIR: frozenset({32, 48, 64}),
}


def fits(form: KeyForm, length: int) -> bool:
    """Return True if the form can hold material of this length in bytes. Secret Data can hold any length.

    One AES key has 16, 24 or 32 bytes, or 64 as a whole XTS key. A pair is two keys of 16, 24 or 32 bytes each. Called
    to choose the servers to which a key can be written.
    """
    return form not in _LENGTHS or length in _LENGTHS[form]


def is_open(copies: Iterable[Copy], attempts: Iterable[Attempt], key_server: str) -> bool:
    """Return True if the server has, or may still get, a copy of an attempt that was not aborted.

    ``attempts`` must have the attempt of each copy. Called before the keeper writes a missing copy. If it is True,
    nothing is written.
    """
    states = {(attempt.key, attempt.number): attempt.state for attempt in attempts}
    return any(
        state is AttemptState.PENDING or (state is AttemptState.COMMITTED and copy.presence not in GONE)
        for copy in copies
        if copy.key_server == key_server
        for state in [states[copy.key, copy.attempt]]
    )


def still_counts(copy: Copy, then: Mapping[str, KeyServer], now: Mapping[str, KeyServer]) -> bool:
    """Return True if the copy is at an address that its key manager still uses.

    ``then`` are the servers as they were when the copy was written, ``now`` as they are, by uuid. The server must be in
    both, must not have moved, and must still have the copy's secondary if the copy is on a secondary. Called when
    proven copies are counted for a commit, and before adopted or rebuilt copies are stored.
    """
    before, after = then.get(copy.key_server), now.get(copy.key_server)
    if before is None or after is None or is_elsewhere(before, after):
        return False
    return not copy.host or copy.host in after.secondary_key_servers


def after_moves(copies: Iterable[Copy], then: Sequence[KeyServer], now: Sequence[KeyServer]) -> list[Copy]:
    """Return the copies; a present copy becomes ``unknown`` if its server has moved since ``then``.

    Called when an attempt to create a key ends, before its copies are stored.
    """
    before, after = ({server.uuid: server for server in servers} for servers in (then, now))
    moved = {uuid for uuid in before.keys() & after.keys() if is_elsewhere(before[uuid], after[uuid])}
    return [
        replace(copy, presence=Presence.UNKNOWN)
        if copy.presence is Presence.PRESENT and copy.key_server in moved
        else copy
        for copy in copies
    ]


def domains_still_proven(
    copies: Iterable[Copy], then: Sequence[KeyServer], now: Sequence[KeyServer], domain_of: Mapping[str, str]
) -> set[str]:
    """Return the replication domains with a proven copy, counting only servers that are configured as they were.

    Called while copies are written, and in the transaction that commits or aborts the attempt.
    """
    before, after = ({server.uuid: server for server in servers} for servers in (then, now))
    return proven_domains((copy for copy in copies if still_counts(copy, before, after)), domain_of, now)


def domains_as_seen(domain_of: Mapping[str, str], copies: Sequence[Copy], holders: Iterable[str]) -> dict[str, str]:
    """Return the domains, merged where an attempt saw that servers replicate.

    ``holders`` are the servers that already had the object when it was sent there. Each is then in one domain with the
    servers whose copies have equal Unique Identifiers. If there is no such copy, the holder is in one domain with each
    server that may hold a copy. Called while a key is created, before its proven copies are counted.
    """
    seen = dict(domain_of)
    for server in holders:
        ids = {copy.unique_identifiers for copy in copies if copy.key_server == server}
        others = [copy for copy in copies if copy.key_server != server and copy.presence not in GONE]
        same = [copy for copy in others if copy.unique_identifiers and copy.unique_identifiers in ids]
        joined = {seen[copy.key_server] for copy in same or others if copy.key_server in seen}
        if server in seen:
            seen = {uuid: seen[server] if domain in joined else domain for uuid, domain in seen.items()}
    return seen


def missing_domain_count(proven: set[str], min_copies: int, domain_of: Mapping[str, str]) -> int:
    """Return how many more domains must hold a proven copy before the key is acknowledged; 0 when there are enough.

    Called before a key is stored, with the domains that can be reached; later with the domains that are proven.
    """
    return max(wanted_copies(min_copies, len(set(domain_of.values()))) - len(proven), 0)


def unknown_objects(stored: Sequence[Copy], found: Sequence[Copy]) -> list[Copy]:
    """Return the copies to store when another node has ended the writer's attempt.

    These are copies with Unique Identifiers that the stored copy lacks: their objects must be known, so that they are
    cleaned up. Everything else that others stored meanwhile stays. A copy without a stored row is left out.
    """
    places = {_place(copy): copy for copy in stored}
    changed = []
    for copy in found:
        known = places.get(_place(copy))
        if known is not None and copy.unique_identifiers and copy.unique_identifiers != known.unique_identifiers:
            changed.append(copy)
    return changed


def with_new_state(stored: Sequence[Copy], found: Sequence[Copy]) -> list[Copy]:
    """Return the stored copies with the State, and the identifier of the descriptor, that a writer found.

    Copies that others have changed meanwhile, and copies that stay the same, are left out. Called after the commit,
    when copies were activated and described.
    """
    places = {_place(copy): copy for copy in stored}
    changed = []
    for copy in found:
        known = places.get(_place(copy))
        if known is None or (known.presence, known.unique_identifiers) != (copy.presence, copy.unique_identifiers):
            continue
        now = replace(known, object_state=copy.object_state, descriptor=copy.descriptor)
        if now != known:
            changed.append(now)
    return changed


def _place(copy: Copy) -> tuple[str, int, str, str]:
    """Return the values that identify the row of a copy."""
    return copy.key, copy.attempt, copy.key_server, copy.host
