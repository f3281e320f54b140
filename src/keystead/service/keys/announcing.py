"""What is announced of keys and their copies: the events of keeping them, as their transactions add them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core import events
from keystead.core.keys.model import Presence
from keystead.service.announcing import cluster_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.events import EventKind
    from keystead.core.keys.keeping import Tally
    from keystead.core.model import Event, KeyManager, KeyServer
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.changes import CopyChange
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction

NAMED: Final = 10
"""Keys of one server that are announced by name at a time: a server that lies does so about all of them."""


def different(
    tx: Transaction, context: KeeperContext, topology: ServerTopology, server: KeyServer, changes: Sequence[CopyChange]
) -> list[Event]:
    """Copies that have turned out to hold other material; of many at once some."""
    found = [after for before, after in changes if after.presence is Presence.DIFFERENT is not before.presence][:NAMED]
    keys = {key.uuid: key for key in tx.keys({copy.key for copy in found})}
    return [
        of_server(tx, context, events.KEY_DIFFERENT, topology, server, key_id=keys[copy.key].key_id) for copy in found
    ]


def of_server(
    tx: Transaction, context: KeeperContext, kind: EventKind, topology: ServerTopology, server: KeyServer, **values: str
) -> Event:
    """An event about a key server."""
    return _happened(tx, context, kind, topology.key_manager, {"address": str(server.address)} | values)


def of_tally(tx: Transaction, context: KeeperContext, key_manager: KeyManager, tally: Tally) -> Event:
    """That a key manager's keys have sole copies, or that they have not any more."""
    kind = events.SOLE_COPIES if tally.sole or tally.unproven else events.NO_SOLE_COPIES
    return _happened(tx, context, kind, key_manager, {"sole": str(tally.sole), "unproven": str(tally.unproven)})


def _happened(
    tx: Transaction, context: KeeperContext, kind: EventKind, key_manager: KeyManager, values: dict[str, str]
) -> Event:
    svm = key_manager.svm
    vserver = svm.name if svm else cluster_name(tx)
    return kind.happened(context.node, context.clock.now(), svm, {"vserver": vserver} | values)
