"""Replication domains: which key servers fail together, and how many copies are enough.

"k proven copies in k domains survive the loss of any k-1 domains." Two primaries are in one domain if the canary of one
was found on the other, or if an operator declares it. A secondary is in its primary's domain. An address may be a
secondary of several primaries. Then it is in the domain of each, and copies there count as lost if any of those domains
fails. An address that is also a primary itself is in its own domain only.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.model import Presence
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.keys.model import AddressId, Copy, ServerProfile
    from keystead.core.model import KeyServer

DomainSet = frozenset[str]
"""The domains of an address. A copy there counts as lost if any of these domains fails."""


def domains(servers: Sequence[KeyServer], profiles: Mapping[str, ServerProfile]) -> dict[str, str]:
    """Return the domain of each server, by uuid. A domain is named by the uuid of its server that was created first.

    Servers are in one domain if an operator declared it, or if a profile ``sees`` the other server. Called when the
    topology of a key manager is loaded.
    """
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
    """Unite the groups of two servers in ``group``, which has the name of each server's group."""
    old, new = group[one], group[other]
    for uuid, of in group.items():
        if of == old:
            group[uuid] = new


def wanted_copies(min_copies: int, domain_count: int) -> int:
    """Return how many domains must hold a proven copy before a key is acknowledged.

    ``min_copies`` is the key manager's policy. 0 is the default, a majority of the domains: two of two. The result can
    be more than there are domains: then no key can be created.
    """
    return min_copies or domain_count // 2 + 1


def proven_domains(copies: Iterable[Copy], domain_of: Mapping[str, str], servers: Iterable[KeyServer]) -> set[str]:
    """Return a smallest set of domains whose failure loses all proven copies on ``servers``.

    Its size is the number of domains that count as holding a copy: see :func:`min_hitting_set`. It is empty if no copy
    is proven there. ``domain_of`` must have each of the servers. Called before a key is committed, and when the keeper
    counts or fills copies.
    """
    present = ((copy.key_server, copy.host) for copy in copies if copy.presence is Presence.PRESENT)
    return proven_domains_at(present, domain_of, servers)


def proven_domains_at(
    addresses: Iterable[AddressId], domain_of: Mapping[str, str], servers: Iterable[KeyServer]
) -> set[str]:
    """Return what :func:`proven_domains` returns, for copies that were proven at these addresses.

    Called directly by reports, which know at which address each copy was read.
    """
    return min_hitting_set(domains_at(addresses, domain_of, servers).values())


def min_hitting_set(copies: Iterable[DomainSet]) -> set[str]:
    """Return a smallest set of domains whose failure loses all copies. ``copies`` are the domains of each copy.

    Its size is the number of domains that must fail before no copy is left. It is empty if there is no copy.
    """
    copies = set(copies)
    found = {domain for of in copies if len(of) == 1 for domain in of}
    rest = [of for of in copies if not of & found]
    several = sorted(set().union(*rest))
    every = (some for number in range(len(several) + 1) for some in combinations(several, number))
    return found.union(next(some for some in every if all(of.intersection(some) for of in rest)))


def domains_at(
    addresses: Iterable[AddressId], domain_of: Mapping[str, str], servers: Iterable[KeyServer]
) -> dict[AddressId, DomainSet]:
    """Return the domains of each address (server uuid and host). Addresses of servers not in ``servers`` are left out.

    An empty host means the server's primary: it is in the server's domain. A secondary that is also the primary of one
    of the ``servers`` is in that server's domain only. Any other secondary is in the domain of its own server, and of
    each other server that has it as a secondary.
    """
    by_uuid = {server.uuid: server for server in servers}
    found: dict[AddressId, DomainSet] = {}
    for uuid, host in addresses:
        if uuid in by_uuid:
            found[uuid, host] = (
                _domains_of_secondary(by_uuid, uuid, host, domain_of) if host else frozenset({domain_of[uuid]})
            )
    return found


def _domains_of_secondary(
    servers: Mapping[str, KeyServer], uuid: str, host: str, domain_of: Mapping[str, str]
) -> DomainSet:
    """Return the domains of the secondary ``host`` of a server (uuid), by the rules of :func:`domains_at`.

    If the address is also the primary of one of the ``servers``, the copy is on that server. So only that server's
    domain counts, and not the domain of ``uuid``.
    """
    address = ServerAddress.parse_host(host, servers[uuid].address.port)
    primary_of = next((other for other, server in servers.items() if server.address == address), None)
    if primary_of is not None:
        return frozenset({domain_of[primary_of]})
    share = {other for other, server in servers.items() if address in secondary_addresses(server)}
    return frozenset(domain_of[other] for other in share | {uuid})
