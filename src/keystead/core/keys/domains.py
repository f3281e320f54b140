"""Replication domains: which key servers fail, or forget, together, and how many copies are enough.

"k proven copies in k domains survive the loss of any k-1 domains." Two primaries are in one domain when a canary that
was written to one was found on the other, or when an operator declares it; secondaries are in their primary's, so that
two primaries with one secondary are in one domain, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.model import Presence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.keys.model import Copy, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.core.server_address import ServerAddress


def domains(servers: Sequence[KeyServer], profiles: Mapping[str, ServerProfile]) -> dict[str, str]:
    """The domain of each server, by uuid. A domain is named by its first server's uuid, in the order of creation."""
    group = {server.uuid: server.uuid for server in servers}
    declared: dict[str, str] = {}
    at: dict[ServerAddress, str] = {}
    for server in servers:
        for address in (server.address, *secondary_addresses(server)):
            _join(group, server.uuid, at.setdefault(address, server.uuid))
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


def covered(copies: Iterable[Copy], domain_of: Mapping[str, str]) -> set[str]:
    """The domains that hold a proven copy, of the servers that ``domain_of`` knows."""
    return {
        domain_of[copy.key_server]
        for copy in copies
        if copy.presence is Presence.PRESENT and copy.key_server in domain_of
    }
