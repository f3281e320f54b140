"""Which keys would survive the loss of which key servers, by the proofs that are stored: nobody is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.survival import MOST_NAMED, survival
from keystead.service.key_places import load_places
from keystead.service.loading import require_key_manager

if TYPE_CHECKING:
    from keystead.core.keys.survival import Survival
    from keystead.service.context import Call
    from keystead.service.ports import Store, Transaction


class KeySurvival:
    """Works it out from what is stored."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def survival(self, call: Call, key_manager: str) -> Survival:
        """What a key manager's keys would survive, for whoever sees the key manager. Raises 4 (404)."""

        def work(tx: Transaction) -> Survival:
            places = load_places(tx, require_key_manager(tx, call, key_manager))
            covers = tx.covers(key_manager, [server.uuid for server in places.servers], MOST_NAMED)
            return survival(places.servers, places.domain_of, covers)

        return await self._store.read(work)
