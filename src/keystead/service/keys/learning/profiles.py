"""Store and delete profiles of key servers, in short transactions that compare first.

Other nodes learn servers, and operators change servers, at the same time. So a finding is stored only if it is still
about the same servers and the same canaries.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from keystead.core.keys.guarding import is_elsewhere
from keystead.core.keys.learning import same_canary, with_sees, without_server
from keystead.service.keys.topology import load_topology
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import EpochMarkerRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.keys.learning.canary_looks import CanaryLook
    from keystead.service.keys.topology import ServerTopology


class Rows(TopologyRows, KeyManagerRows, EpochMarkerRows, Protocol):
    """The rows that this module reads and writes."""


def forget(tx: Rows, servers: Iterable[KeyServer], moved: str) -> None:
    """Delete the profile of the server ``moved`` (uuid), which may be another server now. It must be learned again.

    Called when a server has another address, and was not shown to be the same server. Called also before a new profile
    replaces a known one. ``servers`` are the key manager's servers. ``moved`` is removed from ``sees`` of the others.
    The epoch marker stays: it is deleted with the profile, and stored again. If it is the same server after all, its
    marker is still there, and shows who else uses the server.
    """
    for profile in without_server(tx.profiles([server.uuid for server in servers]), moved):
        tx.put_profile(profile)
    marker = tx.epoch_marker(moved)
    tx.delete_profile(moved)
    if marker is not None:
        tx.put_epoch_marker(marker)


def store_profile(
    tx: Rows,
    topology: ServerTopology,
    server: KeyServer,
    before: ServerProfile | None,
    profile: ServerProfile,
    looked_for: Mapping[str, ServerProfile],
) -> bool | None:
    """Store a learned profile and return True, or return False if it no longer applies.

    Called when a server was learned. The profile no longer applies if the server's address or our user has changed, or
    the client certificate or the incarnation. It also does not apply if the server has another stored profile than
    ``before``, or another public key than the stored one. ``before`` is None if the server had no profile when learning
    began.

    Return None, and store nothing, if another server has a canary that is not in ``looked_for`` (profiles by uuid).
    Then look for that canary first.
    """
    now = _current_topology(tx, topology)
    found = None if now is None else now.server(server.uuid)
    if now is None or found is None or is_elsewhere(server, found):
        return False
    known = now.profiles.get(server.uuid)
    if known is not None and (before is None or not same_canary(known, before)):
        return False
    if known is not None and profile.public_key != known.public_key:
        return False  # another machine answers there now
    others = {uuid: other for uuid, other in now.profiles.items() if uuid != server.uuid}
    if any(uuid not in looked_for or not same_canary(looked_for[uuid], other) for uuid, other in others.items()):
        return None
    if known is not None:
        forget(tx, now.servers, server.uuid)
    tx.put_profile(profile)
    return True


def store_seen(tx: Rows, topology: ServerTopology, seen: Mapping[str, Collection[str]]) -> None:
    """Store which servers have canaries of which other servers (uuids).

    Skip findings about a canary or a server that has changed meanwhile. Called after a search for canaries.
    """
    now = _current_topology(tx, topology)
    if now is None:
        return
    before, after = topology.profiles, now.profiles
    same = {uuid for uuid in before if uuid in after and same_canary(before[uuid], after[uuid])}
    for key_server, others in seen.items():
        found = same.intersection(others)
        if key_server in same and _is_unmoved(topology, now, key_server) and found - set(after[key_server].sees):
            tx.put_profile(with_sees(after[key_server], found))


def store_recognized(tx: Rows, topology: ServerTopology, found: Mapping[str, CanaryLook]) -> None:
    """Store the public keys of servers that showed their canaries, and the new identifiers of canaries found by name.

    Skip a server if its address, our user or its canary has changed meanwhile. Called after a search for canaries.
    """
    now = _current_topology(tx, topology)
    if now is None:
        return
    for key_server, look in found.items():
        known = now.profiles.get(key_server)
        if (
            known is not None
            and same_canary(known, topology.profiles[key_server])
            and _is_unmoved(topology, now, key_server)
        ):
            canary, public_key = look.canary or known.canary, look.public_key or known.public_key
            tx.put_profile(replace(known, canary=canary, public_key=public_key))


def _is_unmoved(then: ServerTopology, now: ServerTopology, key_server: str) -> bool:
    """Return True if both topologies have the server, with the same address, TLS name and user name of ours."""
    before, after = then.server(key_server), now.server(key_server)
    return before is not None and after is not None and not is_elsewhere(before, after)


def _current_topology(tx: Rows, topology: ServerTopology) -> ServerTopology | None:
    """Return the current topology, with the key manager locked, or None if the findings no longer apply.

    Objects belong to one incarnation. On many servers they also belong to the client certificate that created them.
    """
    manager = tx.key_manager(topology.key_manager.uuid, lock=True)
    if manager is None or manager.client_certificate != topology.key_manager.client_certificate:
        return None
    now = load_topology(tx, manager)
    return now if now.incarnation.uuid == topology.incarnation.uuid else None
