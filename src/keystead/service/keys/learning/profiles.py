"""What is stored of what was learned about key servers: added and forgotten within short transactions, by comparison.

Other nodes learn, and operators change servers, at the same time: what is stored is about the servers and the canaries
that are configured and known by then, or is left out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.keys.guarding import is_elsewhere
from keystead.core.keys.learning import same_canary, seeing, without
from keystead.service.keys.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction


def forget(tx: Transaction, servers: Iterable[KeyServer], moved: str) -> None:
    """Forget what is known of one of a key manager's servers, which is another server now; it is to be learned.

    Not its fence: if it is the same server after all, that is there, and tells who else uses it.
    """
    for profile in without(tx.profiles([server.uuid for server in servers]), moved):
        tx.put_profile(profile)
    marker = tx.epoch_marker(moved)
    tx.delete_profile(moved)
    if marker is not None:
        tx.put_epoch_marker(marker)


def store_profile(
    tx: Transaction,
    topology: ServerTopology,
    server: KeyServer,
    before: ServerProfile | None,
    profile: ServerProfile,
    looked_for: Mapping[str, ServerProfile],
) -> bool | None:
    """Store what was learned of a server, unless it was another one, or we another user, or it was stored before.

    None, and nothing is stored, when a server has a canary by now that was not ``looked_for`` there (profiles by uuid).
    """
    now = _now(tx, topology)
    found = None if now is None else now.server(server.uuid)
    if now is None or found is None or is_elsewhere(server, found):
        return False
    known = now.profiles.get(server.uuid)
    if known is not None and (before is None or not same_canary(known, before)):
        return False
    others = {uuid: other for uuid, other in now.profiles.items() if uuid != server.uuid}
    if any(uuid not in looked_for or not same_canary(looked_for[uuid], other) for uuid, other in others.items()):
        return None
    if known is not None:
        forget(tx, now.servers, server.uuid)
    tx.put_profile(profile)
    return True


def store_seen(tx: Transaction, topology: ServerTopology, seen: Mapping[str, Collection[str]]) -> None:
    """Store whose canaries were found on which servers, as far as they are the canaries that were looked for."""
    now = _now(tx, topology)
    if now is None:
        return
    before, after = topology.profiles, now.profiles
    same = {uuid for uuid in before if uuid in after and same_canary(before[uuid], after[uuid])}
    for key_server, others in seen.items():
        found = same.intersection(others)
        if key_server in same and _stands(topology, now, key_server) and found - set(after[key_server].sees):
            tx.put_profile(seeing(after[key_server], found))


def store_renumbered(tx: Transaction, topology: ServerTopology, found: Mapping[str, tuple[str, ...]]) -> None:
    """Store under which identifiers servers' own canaries were found by name, as far as nothing has changed there."""
    now = _now(tx, topology)
    if now is None:
        return
    for key_server, ids in found.items():
        known = now.profiles.get(key_server)
        if (
            known is not None
            and same_canary(known, topology.profiles[key_server])
            and _stands(topology, now, key_server)
        ):
            tx.put_profile(replace(known, canary=ids))


def _stands(then: ServerTopology, now: ServerTopology, key_server: str) -> bool:
    """Whether a server is where it was then, and we are the same user there."""
    before, after = then.server(key_server), now.server(key_server)
    return before is not None and after is not None and not is_elsewhere(before, after)


def _now(tx: Transaction, topology: ServerTopology) -> ServerTopology | None:
    """The places as they are, the key manager locked; None when what was found is another's.

    Objects belong to this life of the database, and on many servers to the client certificate that brought them.
    """
    manager = tx.key_manager(topology.key_manager.uuid, lock=True)
    if manager is None or manager.client_certificate != topology.key_manager.client_certificate:
        return None
    now = load_topology(tx, manager)
    return now if now.incarnation.uuid == topology.incarnation.uuid else None
