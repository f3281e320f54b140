"""How copies of a key come to key servers: where one may be written, and when there are enough. Pure.

The guarantee: a key is acknowledged when so many replication domains hold a copy that was read back and agreed.
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
"""What ends the work on a server: its copy was read back. One that differs is reported, never written over."""

UNSETTLED = frozenset({Presence.SENT, Presence.UNKNOWN})
"""Something was sent, and whether it is there, and is what was sent, has still to be found out."""

GONE = frozenset({Presence.MISSING, Presence.DESTROYED})
"""Nothing of the copy is there."""

_LENGTHS: Mapping[KeyForm, frozenset[int]] = {
    KeyForm.SYMMETRIC_KEY: frozenset({16, 24, 32, 64}),
    KeyForm.SYMMETRIC_KEY_PAIR: frozenset({32, 48, 64}),
}


def fits(form: KeyForm, length: int) -> bool:
    """Whether material of so many bytes can be kept in this form: AES has keys of 16, 24 and 32 bytes, and XTS two."""
    return form not in _LENGTHS or length in _LENGTHS[form]


def is_open(copies: Iterable[Copy], attempts: Iterable[Attempt], key_server: str) -> bool:
    """Whether a server has, or may come to have, a copy of a key that is none of an aborted attempt's."""
    states = {(attempt.key, attempt.number): attempt.state for attempt in attempts}
    return any(
        state is AttemptState.PENDING or (state is AttemptState.COMMITTED and copy.presence not in GONE)
        for copy in copies
        if copy.key_server == key_server
        for state in [states[copy.key, copy.attempt]]
    )


def still_counts(copy: Copy, then: Mapping[str, KeyServer], now: Mapping[str, KeyServer]) -> bool:
    """Whether a copy stands where its key manager still keeps keys: at that address of a server that is configured.

    ``then`` are the servers as they were written to, ``now`` as they are, by uuid.
    """
    before, after = then.get(copy.key_server), now.get(copy.key_server)
    if before is None or after is None or is_elsewhere(before, after):
        return False
    return not copy.host or copy.host in after.secondary_key_servers


def as_they_stand(copies: Iterable[Copy], then: Sequence[KeyServer], now: Sequence[KeyServer]) -> list[Copy]:
    """Copies as they are known when servers have moved since: what was proven somewhere else is unknown."""
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
    """The replication domains that hold a proven copy, of servers that are still configured as they were."""
    before, after = ({server.uuid: server for server in servers} for servers in (then, now))
    return proven_domains((copy for copy in copies if still_counts(copy, before, after)), domain_of, now)


def as_seen(domain_of: Mapping[str, str], copies: Sequence[Copy], had: Iterable[str]) -> dict[str, str]:
    """The domains by what an attempt has seen: a server that ``had`` its object before it was sent there shares one.

    With whom is told by equal Unique Identifiers; where they tell nothing, it may be any server that was sent it.
    """
    seen = dict(domain_of)
    for server in had:
        ids = {copy.unique_identifiers for copy in copies if copy.key_server == server}
        others = [copy for copy in copies if copy.key_server != server and copy.presence not in GONE]
        same = [copy for copy in others if copy.unique_identifiers and copy.unique_identifiers in ids]
        joined = {seen[copy.key_server] for copy in same or others if copy.key_server in seen}
        if server in seen:
            seen = {uuid: seen[server] if of in joined else of for uuid, of in seen.items()}
    return seen


def missing_domain_count(proven: set[str], min_copies: int, domain_of: Mapping[str, str]) -> int:
    """How many domains more must hold a proven copy before a key is acknowledged; 0 when there are enough."""
    return max(wanted_copies(min_copies, len(set(domain_of.values()))) - len(proven), 0)


def brought_up_to_date(stored: Sequence[Copy], found: Sequence[Copy]) -> list[Copy]:
    """What to store of what a writer found after its attempt had been ended by somebody else.

    Objects that nobody knew of must be known, so that they are cleaned up; what others found out about them stays.
    """
    places = {_place(copy): copy for copy in stored}
    changed = []
    for copy in found:
        known = places.get(_place(copy))
        if known is not None and copy.unique_identifiers and copy.unique_identifiers != known.unique_identifiers:
            changed.append(copy)
    return changed


def with_state(stored: Sequence[Copy], found: Sequence[Copy]) -> list[Copy]:
    """The stored copies whose State or descriptor a writer has changed; what changed otherwise meanwhile is left."""
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
    return copy.key, copy.attempt, copy.key_server, copy.host
