"""Key ids of a node: which key server holds each key, and whether the node can read it. No material is read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.core.availability import PRIMARY
from keystead.core.keys.reading import key_server_of, proven_on
from keystead.core.model import State
from keystead.service.ports.cluster import ObservationRows
from keystead.service.ports.configuration import KeyServerRows
from keystead.service.ports.keys import CopyRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyManager
    from keystead.service.context import Call


class Rows(KeyServerRows, ObservationRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class KeyIdView:
    """A key, and whether a node can read it (``restored``).

    ``server`` is the address of a primary with a proven copy. It is empty if there is none, or if the call does not see
    the key servers.
    """

    key: Key
    server: str
    restored: bool


def key_ids(
    tx: Rows, call: Call, key_manager: KeyManager, keys: Sequence[Key], node: str, held: Callable[[Key], bool]
) -> tuple[KeyIdView, ...]:
    """Return a view of each key on a node (uuid).

    The node can read a key that is in its memory, or that has a proven copy on a server available to the node. ``held``
    says whether a key is in the memory of that node. The memory of another node is not known.
    """
    servers = tx.key_servers(key_manager.uuid)
    copies: dict[str, list[Copy]] = defaultdict(list)
    for copy in tx.copies_not_aborted([key.uuid for key in keys]):
        copies[copy.key].append(copy)
    seen = [each for each in tx.observations([server.uuid for server in servers]) if each.node == node]
    available = {each.key_server for each in seen if each.state is State.AVAILABLE}
    lost = {each.key_server for each in seen if each.host == PRIMARY and each.state is State.NOT_RESPONDING}
    visible = servers if call.sees(key_manager.svm) else ()

    def view(key: Key) -> KeyIdView:
        found = copies[key.uuid]
        server = key_server_of(found, visible, lost)
        return KeyIdView(key, str(server.address) if server else "", held(key) or proven_on(found, available))

    return tuple(map(view, keys))
