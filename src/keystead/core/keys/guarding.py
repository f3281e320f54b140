"""The rules that protect keys when servers change: may a server be removed, and what must be proven before. Pure.

A key is safe from a removal when servers that stay configured have copies with enough proofs: see proving.py. They must
also still answer, because they may have failed since. A server that replicates with the removed one counts, because its
domain stays. Otherwise no member of a replicated cluster could ever be replaced.
"""

from __future__ import annotations

import shlex
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
from keystead.core.keys.proving import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Attempt
    from keystead.core.keys.proving import Moment, NeededProofs, Period
    from keystead.core.model import KeyManager, KeyServer


RELOCATION_PROOF_AGE: Final = timedelta(hours=2)
"""The greatest age of a proof on another server that a relocation relies on: every copy is read once an hour."""

NAMED_KEYS: Final = 10
"""How many keys a refusal names. It also gives their number."""

_identity = attrgetter("address", "username")

_MAY_BE_THERE = frozenset({Presence.PRESENT, Presence.UNKNOWN, Presence.SENT})

_IN_DOUBT = frozenset({Presence.MISSING, Presence.DIFFERENT})


def may_be_present(copy: Copy) -> bool:
    """Return True if the copy is, or may be, on its server. A copy in doubt may be there: one look can be wrong.

    Called before a server is removed or moved, or certificates are replaced.
    """
    return copy.presence in _MAY_BE_THERE or is_in_doubt(copy)


def is_in_doubt(copy: Copy) -> bool:
    """Return True if the copy was missing or different at the last look, and its objects are known, to look again."""
    return copy.presence in _IN_DOUBT and bool(copy.unique_identifiers)


def is_on_its_way(copy: Copy, attempt: Attempt, now: datetime) -> bool:
    """Return True if a copy that was never proven may still arrive, because its attempt has not expired.

    Called when an address does not show a copy in doubt. If it is True, the address does not deny the copy yet.
    """
    return copy.proven is None and not is_expired(attempt, now)


def without_aborted(copies: Iterable[Copy], attempts: Iterable[Attempt]) -> list[Copy]:
    """Return the copies of attempts that were not aborted. ``attempts`` must have all aborted attempts of these copies.

    Called before the copies of a key are counted or proven: copies of aborted attempts do not count as the key's.
    """
    aborted = {(each.key, each.number) for each in attempts if each.state is AttemptState.ABORTED}
    return [copy for copy in copies if (copy.key, copy.attempt) not in aborted]


# --- may a server be removed? ---


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of a server or of secondaries. ``after`` is the server without these secondaries.

    ``after`` is None if the whole server is removed.
    """

    key_manager: KeyManager
    server: KeyServer
    after: KeyServer | None = None

    @property
    def what(self) -> str:
        """The name of the change, for its proving attempt."""
        stay = "" if self.after is None else f" but {','.join(sorted(self.after.secondary_key_servers)) or 'primary'}"
        return f"remove {self.server.uuid}{stay}"


@dataclass(frozen=True, slots=True)
class KeyAtRisk:
    """A key with copies that a removal may remove (``departing``).

    ``elsewhere`` are the present copies that the removal does not remove, the latest proof first.
    """

    key: Key
    departing: tuple[Copy, ...]
    elsewhere: tuple[Copy, ...]

    def is_safe(self, needed: NeededProofs, answering: Collection[AddressId], domain_of: Mapping[str, str]) -> bool:
        """Return True if the proofs elsewhere are enough, of copies at addresses that answer.

        Then the removal does not lose the key. Called for each key at risk, before and in the transaction that removes.
        ``domain_of`` has the replication domain of each server.
        """
        there = [copy for copy in self.elsewhere if (copy.key_server, copy.host) in answering]
        fresh = any(needed.fresh.has(copy.proven) for copy in there)
        return fresh or len(_proven_domains(there, needed.attempt, domain_of)) >= ENOUGH

    def proven_domains(self, attempt: Period, domain_of: Mapping[str, str]) -> set[str]:
        """Return the replication domains in which the key has a proof of this period, at whatever address."""
        return _proven_domains(self.elsewhere, attempt, domain_of)

    def lacks_proofs(self, attempt: Period, domain_of: Mapping[str, str]) -> bool:
        """Return True if the key has copies in replication domains that could still prove it, and needs them.

        Called when every key is read once, before the last reading.
        """
        domains = {domain_of[copy.key_server] for copy in self.elsewhere}
        return len(self.proven_domains(attempt, domain_of)) < min(ENOUGH, max(len(domains), 1))


def _proven_domains(copies: Iterable[Copy], period: Period, domain_of: Mapping[str, str]) -> set[str]:
    return {domain_of[copy.key_server] for copy in copies if period.has(copy.proven)}


@dataclass(frozen=True, slots=True)
class Departure:
    """The addresses that a removal removes: those of ``servers``, or only their secondaries ``hosts``.

    ``stay`` are the servers that stay configured, by uuid. ``denied`` are copies that all removed addresses denied:
    they answered that they do not have the copy.
    """

    servers: Collection[str]
    stay: Mapping[str, KeyServer]
    hosts: Collection[str] | None = None
    denied: Collection[CopyId] = ()

    def could_lose_copy(self, copy: Copy) -> bool:
        """Return True if the removal could cost the key this copy. Called to collect the keys at risk.

        A copy that is certainly not on its server cannot be lost. A present copy is lost only with the address where it
        was written. Any other copy may be lost wherever it was written, because a removed secondary may be the last to
        have it. A copy in :attr:`denied` cannot be lost if its denial counts: see :meth:`denial_counts`.
        """
        if copy.key_server not in self.servers or not may_be_present(copy):
            return False
        may_be_lost = self.removes_address(copy.key_server, copy.host) or copy.presence is not Presence.PRESENT
        return may_be_lost and not (self.denial_counts(copy) and copy_id(copy) in self.denied)

    def removes_address(self, key_server: str, host: str) -> bool:
        """Return True if the removal removes this address. ``host`` is empty for the primary."""
        return key_server in self.servers and (self.hosts is None or host in self.hosts)

    def denial_counts(self, copy: Copy) -> bool:
        """Return True if the copy no longer prevents the removal once all removed addresses have denied it.

        That is so for a copy in doubt that was written to a removed address. It is also so for each copy that is not
        present and was written to another address. Called to choose the copies that the removed addresses are asked for
        once more. A copy for which it is False prevents the removal, whatever they answer.
        """
        written_there = self.removes_address(copy.key_server, copy.host)
        return is_in_doubt(copy) if written_there else copy.presence is not Presence.PRESENT

    def keeps_address(self, key_server: str, host: str) -> bool:
        """Return True if the address stays configured: a primary in ``stay``, or a secondary of one."""
        return is_configured(key_server, host, self.stay)


@dataclass(frozen=True, slots=True)
class RemovalFindings:
    """What was found out for one removal so far.

    ``began`` is when its proving attempt began, and ``moment`` when its last reading did; None if nothing was read.
    ``answering`` are addresses that answered since. ``denied`` are copies that all removed addresses denied.
    """

    began: datetime | None = None
    moment: Moment | None = None
    answering: set[AddressId] = field(default_factory=set)
    denied: set[CopyId] = field(default_factory=set)


def key_at_risk(key: Key, copies: Iterable[Copy], departure: Departure) -> KeyAtRisk | None:
    """Return the key with its copies if the removal may remove any of these copies, else None.

    The key may still be safe, because of copies elsewhere: :meth:`KeyAtRisk.is_safe` says so. ``copies`` are those of
    attempts that were not aborted. A copy on a secondary that stays configured counts as one elsewhere. A key that
    is being created is safe without this check: its commit counts configured servers only. Called when servers or
    secondaries are removed: before, and in the transaction that removes them.
    """
    copies = tuple(copies)
    departing = tuple(filter(departure.could_lose_copy, copies))
    if not departing:
        return None
    elsewhere = sorted(
        present_on(copies, departure.stay), key=lambda copy: (copy.proven is not None, copy.proven), reverse=True
    )
    return KeyAtRisk(key, departing, tuple(elsewhere))


def sole_copy(keys: Sequence[Key], reason: str = "") -> OntapError:
    """Return the refusal of a removal, which the caller raises because ``keys`` may be lost by it.

    The error has the number of keys found so far, some of their ids, and the reason; an empty reason is left out.
    """
    arguments = [("keys", str(len(keys)))]
    arguments += [("key_id", key.key_id) for key in keys[:NAMED_KEYS]]
    arguments += [("reason", reason)] if reason else []
    return OntapError(errors.SOLE_COPY, target="server", arguments=arguments)


def is_configured(key_server: str, host: str, servers: Mapping[str, KeyServer]) -> bool:
    """Return True if the address is a primary of these servers (by uuid), or a configured secondary of one."""
    server = servers.get(key_server)
    return server is not None and (not host or host in server.secondary_key_servers)


# --- may a key manager be deleted? ---

TERMINAL_STATES: Final = (KeyState.ABORTED, KeyState.PURGED)
"""States of keys that are deleted together with their key manager."""

ACTIVE_STATES: Final = tuple(state for state in KeyState if state not in TERMINAL_STATES)
"""States of keys that keep their key manager, and their SVM, from being deleted."""


def check_no_keys(
    counts: Mapping[KeyState, int], left: int, away: Sequence[str] = (), vserver: str | None = None
) -> None:
    """Raise 65536867 if a key manager may not be deleted: it has keys in active states, also keys being created.

    ``counts`` is the number of its keys in each state. ``left`` is the number of keys in terminal states with objects
    that must still be destroyed. Without the key manager these objects would belong to no known key. ``away`` are the
    addresses of servers that cannot be read now. ``vserver`` is the SVM's name. The arguments say what is left, which
    servers hold it up, and which command is next.
    """
    active = {state: counts.get(state, 0) for state in ACTIVE_STATES}
    number = left + sum(active.values())
    if not number:
        return
    arguments = [("keys", str(number)), *((state.value, str(count)) for state, count in active.items() if count)]
    command = "key retire --name NAME"
    if not active[KeyState.COMMITTED]:
        command = "key show" if active[KeyState.RETIRED] else "external waiting"
        arguments += [("waits_for", address) for address in away]
    named = f" --vserver {shlex.quote(vserver)}" if vserver else ""
    raise OntapError(
        errors.KEYS_IN_USE, arguments=[*arguments, ("next", f"keystead security key-manager {command}{named}")]
    )


def check_not_at_cluster(keys: int) -> None:
    """Raise 65536878 if the cluster's key manager has keys of the SVM that is to get its own key manager.

    ``keys`` is the number of these keys. Called when the creation of the SVM's key manager is planned.
    """
    if keys:
        raise OntapError(errors.KEYS_AT_CLUSTER, arguments=[("keys", str(keys))])


# --- what must be proven with another certificate, or at another address ---


def present_on(copies: Iterable[Copy], servers: Mapping[str, KeyServer]) -> list[Copy]:
    """Return the copies that are present at configured addresses of these servers (by uuid).

    Called to find copies that can prove a key: elsewhere in a removal, or with new certificates.
    """
    present = (copy for copy in copies if copy.presence is Presence.PRESENT)
    return [copy for copy in present if is_configured(copy.key_server, copy.host, servers)]


def to_be_read(copies: Iterable[Copy], servers: Mapping[str, KeyServer]) -> list[Copy]:
    """Return the copies of a key that a new client certificate must read on these servers.

    ``copies`` are those of attempts that were not aborted. The present copies must be read. If there is none, all
    copies that may be there must be read. Those of a secondary that is not configured any more are read from its
    primary.
    """
    copies = tuple(copies)
    maybe = (copy for copy in copies if copy.key_server in servers and may_be_present(copy))
    return present_on(copies, servers) or [
        copy if is_configured(copy.key_server, copy.host, servers) else replace(copy, host="") for copy in maybe
    ]


def is_elsewhere(before: KeyServer, after: KeyServer) -> bool:
    """Return True if knowledge of the server's objects is void: the server has moved, or our user name has changed.

    One address may lead to different servers by the TLS server name, so a change of that name is a move, too. The name
    stays the same if a configured name equals the host: without a configured name the host is used. Called when a
    server's configuration is changed, and before something that was seen on a server earlier is stored.
    """
    hosts = [after.address.host, *before.secondary_key_servers, *after.secondary_key_servers]
    return _identity(before) != _identity(after) or _tls_names(before, hosts) != _tls_names(after, hosts)


def _tls_names(server: KeyServer, hosts: Iterable[str]) -> list[str]:
    """Return the name that TLS uses for each of these hosts: the configured name, else the host itself."""
    return [(server.tls_server_name or host).removesuffix(".").lower() for host in hosts]


def to_be_read_after_move(
    copies: Iterable[Copy], server: KeyServer, others: Collection[AddressId], period: Period
) -> list[Copy]:
    """Return the copies of a key that must be read from a server at its new address.

    There are none if a server of another domain has a proven copy. The canary alone proves too little: a server that
    was restored from a backup has its canary, but lacks later keys. ``copies`` are those of attempts that were not
    aborted. ``others`` are addresses of other domains that answer. Their proofs count if they were made in ``period``.
    Called when the address of a server, or our user name there, is to be changed.
    """
    copies = tuple(copies)
    there = (copy for copy in copies if (copy.key_server, copy.host) in others and copy.presence is Presence.PRESENT)
    proven = any(period.has(copy.proven) for copy in there)
    return [] if proven else to_be_read(copies, {server.uuid: server})


@dataclass(frozen=True, slots=True)
class ReadCopies:
    """The copies that were read so far with a new client certificate, or from a server at its new address.

    ``proven`` are the copies that were read and agreed with the digest, by key (uuid). ``not_required`` are copies in
    doubt that need not be read: they were found under another identifier, or could not be read before the change
    either. ``unreached`` are addresses that do not answer, neither before nor after the change. Each of their keys was
    read at another address.
    """

    proven: defaultdict[str, set[CopyId]] = field(default_factory=partial(defaultdict, set))
    not_required: set[CopyId] = field(default_factory=set)
    unreached: Collection[AddressId] = ()

    def covers(self, copy: Copy) -> bool:
        """Return True if the copy was read or need not be read.

        A copy that is present at a reached address must itself be read. For any other copy it is enough that some copy
        of its key was read. It is also enough that the copy is not present, and is in ``not_required``. Called before
        copies are read, and in the transaction that stores the change.
        """
        must_be_read = copy.presence is Presence.PRESENT and (copy.key_server, copy.host) not in self.unreached
        excused = copy.presence is not Presence.PRESENT and copy_id(copy) in self.not_required
        read = copy_id(copy) in self.proven.get(copy.key, ())
        return read or excused or (not must_be_read and copy.key in self.proven)


@dataclass(frozen=True, slots=True)
class Relocation:
    """A server as it will be after a change, and what the call that changes it relies on.

    ``others`` are addresses of other domains that answer. ``began`` is when the reading of copies at the new address
    began.
    """

    server: KeyServer
    others: frozenset[AddressId]
    began: datetime
    read_copies: ReadCopies = field(default_factory=ReadCopies)
