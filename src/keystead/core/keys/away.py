"""Key servers that are away: their copies cannot be read now. Pure; it reads what the nodes observed.

A server can be read now if one of its addresses answers and shows its keys.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

from keystead.core.availability import PRIMARY, void_nodes
from keystead.core.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from keystead.core.model import KeyServer, Node, Observation


class Away(StrEnum):
    """Why the copies on a key server cannot be read now. ``unknown``: no node has looked at it."""

    NOT_RESPONDING = "not_responding"
    KEYS_HIDDEN = "keys_hidden"
    UNKNOWN = "unknown"


def away(servers: Iterable[KeyServer], observations: Iterable[Observation], nodes: Sequence[Node]) -> dict[str, Away]:
    """Return the servers (uuids) that cannot be read now, and why.

    An address answers if a node that watches says so. It hides its keys if such a node says so. A secondary that was
    not seen to show keys counts as hiding them, because it may lack them.
    """
    found = {}
    for server, hosts in _seen_at(servers, observations, nodes):
        if not any(_is_readable(host, seen) for host, seen in hosts.items()):
            found[server] = _reason([each for seen in hosts.values() for each in seen], hosts[PRIMARY])
    return found


def readable_hosts(
    servers: Iterable[KeyServer], observations: Iterable[Observation], nodes: Sequence[Node]
) -> dict[str, str]:
    """Return the host where each server (uuid) can be read now: its primary's, else that of the first secondary.

    The servers that :func:`away` returns are left out.
    """
    found = {}
    for server, hosts in _seen_at(servers, observations, nodes):
        readable = [host for host, seen in hosts.items() if _is_readable(host, seen)]
        if readable:
            found[server] = readable[0]
    return found


def _seen_at(
    servers: Iterable[KeyServer], observations: Iterable[Observation], nodes: Sequence[Node]
) -> Iterator[tuple[str, dict[str, list[Observation]]]]:
    """Yield each server (uuid) with what the nodes that watch observed of its hosts, the primary's first."""
    void = void_nodes(nodes)
    said: defaultdict[tuple[str, str], list[Observation]] = defaultdict(list)
    for each in observations:
        if each.node not in void:
            said[each.key_server, each.host].append(each)
    for server in servers:
        yield server.uuid, {host: said[server.uuid, host] for host in (PRIMARY, *server.secondary_key_servers)}


def _is_readable(host: str, seen: Sequence[Observation]) -> bool:
    """Return True if an address answers and shows its keys, by what the nodes observed of it."""
    shown = {each.keys_visible for each in seen}
    shows = True in shown if host else True
    return shows and False not in shown and any(each.state is State.AVAILABLE for each in seen)


def _reason(seen: Sequence[Observation], primary: Sequence[Observation]) -> Away:
    """Return why a server is away, by what the nodes observed of all its addresses, and of its primary."""
    if any(each.state is State.AVAILABLE for each in seen):
        return Away.KEYS_HIDDEN
    if any(each.state is State.NOT_RESPONDING for each in primary):
        return Away.NOT_RESPONDING
    return Away.UNKNOWN
