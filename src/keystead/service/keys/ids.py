"""Key ids as a node has them: which key server holds each, and whether the node can read it. It reads no material."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core.availability import PRIMARY
from keystead.core.keys.reading import key_server_of, proven_on
from keystead.core.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyManager
    from keystead.service.context import Call
    from keystead.service.ports.store import Transaction


@dataclass(frozen=True, slots=True)
class KeyIdView:
    """A key id as a node has it. ``server`` is a primary that holds it, empty where the call may not see servers."""

    key: Key
    server: str
    restored: bool


def key_ids(
    tx: Transaction, call: Call, key_manager: KeyManager, keys: Sequence[Key], node: str, held: Callable[[Key], bool]
) -> tuple[KeyIdView, ...]:
    """Say of keys where they are, and whether a node (uuid) can read them: from its memory, or a proven copy.

    ``held`` tells of keys in that node's memory; of another node's memory nothing is known.
    """
    servers = tx.key_servers(key_manager.uuid)
    copies: dict[str, list[Copy]] = defaultdict(list)
    for copy in tx.standing_copies([key.uuid for key in keys]):
        copies[copy.key].append(copy)
    seen = [each for each in tx.observations([server.uuid for server in servers]) if each.node == node]
    available = {each.key_server for each in seen if each.state is State.AVAILABLE}
    lost = {each.key_server for each in seen if each.host == PRIMARY and each.state is State.NOT_RESPONDING}
    shown = servers if call.sees(key_manager.svm) else ()

    def view(key: Key) -> KeyIdView:
        found = copies[key.uuid]
        server = key_server_of(found, shown, lost)
        return KeyIdView(key, str(server.address) if server else "", held(key) or proven_on(found, available))

    return tuple(map(view, keys))
