"""Use cases of a key's end: retire it, and recover it. What then happens to its objects is the keeper's.

See :mod:`keystead.service.keys.destroying.purge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.keys.destroying import WINDOW, plan_recover, plan_retire
from keystead.core.keys.model import KeyState
from keystead.service.cluster.svms import concerning
from keystead.service.keys.access import require_manager_of_keys
from keystead.service.loading import incarnation_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from keystead.core.keys.model import Key
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Clock, Store, Transaction


class KeyRetirement:
    """Retires and recovers keys.

    ``window`` is how long a retired key can be recovered. ``on_retired`` is told of each: its material is to
    be forgotten. ``on_recovered`` is told of each: fences are to be moved on soon, before this database can be lost.
    """

    def __init__(
        self,
        store: Store,
        audit: AuditLog,
        clock: Clock,
        window: timedelta = WINDOW,
        *,
        on_retired: Callable[[Key], None] = lambda _: None,
        on_recovered: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._on_retired = on_retired
        self._on_recovered = on_recovered
        self._store = store
        self._audit = audit
        self._clock = clock
        self._window = window

    async def retire(self, call: Call, key_manager: str, key_id: str) -> Key:
        """Retire a key: it cannot be read any more, and can be recovered until its window ends. Raises 4 (404)."""

        def retire(tx: Transaction) -> Key:
            now = self._now(tx)

            def plan(key: Key | None) -> Key:
                return plan_retire(key, incarnation_of(tx), now, self._window)

            return self._change(tx, call, key_manager, key_id, "retired", plan)

        key = await self._store.write(retire)
        self._on_retired(key)
        return key

    async def recover(self, call: Call, key_manager: str, key_id: str) -> Key:
        """Take back that a key was retired. Raises 4 (404), also when its end has begun."""

        def recover(tx: Transaction) -> Key:
            def plan(key: Key | None) -> Key:
                return plan_recover(key, incarnation_of(tx))

            return self._change(tx, call, key_manager, key_id, "recovered", plan)

        key = await self._store.write(recover)
        self._on_recovered(key)
        return key

    def _now(self, tx: Transaction) -> datetime:
        """The time, or what another node says it is: by its clock the window may have begun when ours says so."""
        _, nodes = tx.cluster_and_nodes()
        return max([self._clock.now(), *(node.heard_at for node in nodes if node.heard_at is not None)])

    def _change(
        self,
        tx: Transaction,
        call: Call,
        key_manager: str,
        key_id: str,
        done: str,
        plan: Callable[[Key | None], Key],
    ) -> Key:
        manager = require_manager_of_keys(tx, call, key_manager)
        with concerning(manager.svm or call.scope):
            key = tx.key_by_id(manager.uuid, key_id, within=call.within_svm, lock=True)
            planned = plan(key)
            if key is None or planned == key:
                return planned
            tx.change_key(planned, key.state)
            if planned.state is KeyState.COMMITTED:
                tx.epoch_markers_fall_due(
                    manager.uuid
                )  # so that an older copy of this database finds out that it is one
            self._audit.succeed(tx, call, f"{done} key {key.key_id}", svm=key.svm)
            return planned
