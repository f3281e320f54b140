"""The events about keys and their copies. The keeper adds them in the transactions that change copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from keystead.core import events
from keystead.core.keys.model import Presence
from keystead.service.announcing import cluster_name
from keystead.service.ports.cluster import ClusterRows
from keystead.service.ports.keys import KeyRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.events import EventKind
    from keystead.core.keys.keeping import Tally
    from keystead.core.model import Event, KeyManager, KeyServer
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.changes import CopyChange
    from keystead.service.keys.topology import ServerTopology

NAMED: Final = 10
"""How many keys of one server are announced at a time, because a faulty server may return wrong bytes for all."""


class Rows(ClusterRows, KeyRows, Protocol):
    """The rows that this module reads and writes."""


def different_copy_events(
    tx: Rows, context: KeeperContext, topology: ServerTopology, server: KeyServer, changes: Sequence[CopyChange]
) -> list[Event]:
    """Return an event for each copy that has just become ``different``, for the first :data:`NAMED` at most."""
    found = [after for before, after in changes if after.presence is Presence.DIFFERENT is not before.presence][:NAMED]
    keys = {key.uuid: key for key in tx.keys({copy.key for copy in found})}
    return [
        server_event(tx, context, events.KEY_DIFFERENT, topology, server, key_id=keys[copy.key].key_id)
        for copy in found
    ]


def server_event(
    tx: ClusterRows, context: KeeperContext, kind: EventKind, topology: ServerTopology, server: KeyServer, **values: str
) -> Event:
    """Return an event about a key server. ``values`` are added to its address."""
    return _event(tx, context, kind, topology.key_manager, {"address": str(server.address)} | values)


def tally_event(tx: ClusterRows, context: KeeperContext, key_manager: KeyManager, tally: Tally) -> Event:
    """Return the event that some keys have proven copies in fewer than two domains, or that no such key is left."""
    kind = events.SOLE_COPIES if tally.sole or tally.unproven else events.NO_SOLE_COPIES
    return _event(tx, context, kind, key_manager, {"sole": str(tally.sole), "unproven": str(tally.unproven)})


def _event(
    tx: ClusterRows, context: KeeperContext, kind: EventKind, key_manager: KeyManager, values: dict[str, str]
) -> Event:
    svm = key_manager.svm
    vserver = svm.name if svm else cluster_name(tx)
    return kind.happened(context.node, context.clock.now(), svm, {"vserver": vserver} | values)
