"""Which key servers fail together, by what is known before they are added. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.model import KeyServer
    from keystead.core.probing import ProbeResult


class Together(NamedTuple):
    """Servers that fail together, or that may, and why."""

    servers: tuple[str, ...]
    why: str


def together(
    present: Sequence[KeyServer],
    domains: Iterable[Sequence[str]],
    added: Sequence[ProbeResult],
    declared: Mapping[str, str],
) -> list[Together]:
    """Return which servers fail together.

    ``present`` are the servers that the key manager has, ``domains`` the addresses in each of their replication
    domains. ``added`` are the results of the servers to add, ``declared`` their declared domains, by address.
    """
    found = [Together(tuple(each), "they are one replication domain already") for each in domains if len(each) > 1]
    texts = {str(each.address): each.replication_domain for each in present} | dict(declared)
    found += _groups(texts, "they have the same declared domain, {}")
    hosts = {str(each.address): each.address for each in present} | {str(each.server): each.server for each in added}
    found += _groups({name: _host(address) for name, address in hosts.items()}, "they are on one host, {}")
    places = {name: _host(address) for name, address in hosts.items() if address.is_ip}
    resolved = {str(each.server): _resolved(each) for each in added} | places
    found += _groups(resolved, "they have one address, {}")
    return _without_parts(found)


def _without_parts(found: Sequence[Together]) -> list[Together]:
    """Return the groups without those that are a part of another, and each group once: for its first reason."""
    sets = [frozenset(each.servers) for each in found]
    return [
        each
        for at, each in enumerate(found)
        if sets[at] not in sets[:at] and not any(sets[at] < other for other in sets)
    ]


def _groups(values: Mapping[str, str], why: str) -> list[Together]:
    """Return the servers that share a value. An empty value is none."""
    by_value: defaultdict[str, list[str]] = defaultdict(list)
    for server, value in values.items():
        if value:
            by_value[value].append(server)
    return [Together(tuple(servers), why.format(value)) for value, servers in by_value.items() if len(servers) > 1]


def _host(address: ServerAddress) -> str:
    return address.key.rpartition(":")[0]


def _resolved(result: ProbeResult) -> str:
    """Return the host at which a server was reached, empty if it was not."""
    place = result.learned.get("address")
    return _host(ServerAddress.parse(place)) if isinstance(place, str) else ""
