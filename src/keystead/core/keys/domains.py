"""Replication domains: which key servers fail, or forget, together, and how many copies are enough.

"k proven copies in k domains survive the loss of any k-1 domains." Two primaries are in one domain when a canary that
was written to one was found on the other, or when an operator declares it; secondaries are in their primary's. One
address may be a secondary of several: what it holds counts for one of their domains only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.model import Presence
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.keys.guarding import At
    from keystead.core.keys.model import Copy, ServerProfile
    from keystead.core.model import KeyServer


def domains(servers: Sequence[KeyServer], profiles: Mapping[str, ServerProfile]) -> dict[str, str]:
    """The domain of each server, by uuid. A domain is named by its first server's uuid, in the order of creation."""
    group = {server.uuid: server.uuid for server in servers}
    declared: dict[str, str] = {}
    for server in servers:
        if server.replication_domain:
            _join(group, server.uuid, declared.setdefault(server.replication_domain, server.uuid))
        for seen in profiles[server.uuid].sees if server.uuid in profiles else ():
            if seen in group:
                _join(group, server.uuid, seen)
    order = [server.uuid for server in servers]
    return {uuid: next(other for other in order if group[other] == group[uuid]) for uuid in order}


def _join(group: dict[str, str], one: str, other: str) -> None:
    old, new = group[one], group[other]
    for uuid, of in group.items():
        if of == old:
            group[uuid] = new


def wanted_copies(min_copies: int, domain_count: int) -> int:
    """How many domains must hold a proven copy before a key is acknowledged.

    ``min_copies`` is the key manager's policy; 0 is the default, a majority, and so two where there are two.
    """
    return min_copies or domain_count // 2 + 1


def covered(copies: Iterable[Copy], domain_of: Mapping[str, str], servers: Iterable[KeyServer]) -> set[str]:
    """The domains that hold a proven copy, of ``servers``, each of which ``domain_of`` knows."""
    present = ((copy.key_server, copy.host) for copy in copies if copy.presence is Presence.PRESENT)
    return covered_at(present, domain_of, servers)


def covered_at(places: Iterable[At], domain_of: Mapping[str, str], servers: Iterable[KeyServer]) -> set[str]:
    """The domains that hold a copy which was proven at these places.

    A primary counts for its own domain. A secondary counts for one that has no other copy, whoever's it is: what it
    was given for two primaries is on one machine. Where it is itself a primary here, it is that one.
    """
    here = {server.uuid: server for server in servers}
    primaries = {server.address: domain_of[uuid] for uuid, server in here.items()}
    held: dict[ServerAddress, set[str]] = {}
    for uuid, host in places:
        if uuid in here:
            held.setdefault(_address(here[uuid], host), set()).add(domain_of[uuid])
    found = {primaries[address] for address in held if address in primaries}
    for address in sorted(held.keys() - primaries.keys(), key=lambda each: (len(held[each]), str(each))):
        found.update([domain for domain in primaries.values() if domain in held[address] - found][:1])
    return found


def _address(server: KeyServer, host: str) -> ServerAddress:
    """Where a server, or a secondary of it (``host``), is: it has its primary's port."""
    return ServerAddress.parse_host(host, server.address.port) if host else server.address
