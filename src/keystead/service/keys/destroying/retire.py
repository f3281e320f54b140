"""Use cases: retire a key, and recover a retired key.

The keeper destroys the objects of retired keys later, see :mod:`keystead.service.keys.destroying.purge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core.keys.destroying import WINDOW, plan_recover, plan_retire
from keystead.core.keys.model import KeyState
from keystead.service.cluster.svms import about_svm
from keystead.service.keys.access import require_manager_of_keys
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AuditRows, ClusterRows, IncarnationRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import EpochMarkerRows, KeyRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from keystead.core.keys.model import Key
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


class Rows(KeyManagerRows, ClusterRows, AuditRows, IncarnationRows, KeyRows, EpochMarkerRows, Protocol):
    """The rows that this module reads and writes."""


class KeyRetirement:
    """The use cases that retire and recover keys.

    ``window`` is how long a retired key can be recovered. ``on_retired`` gets each retired key, to drop its cached
    material. ``on_recovered`` gets each recovered key, so that epoch markers are replaced before this database is lost.
    """

    def __init__(
        self,
        store: Store[Rows],
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
        """Retire a key. It cannot be read any more, and can be recovered until its recovery window ends.

        Raises 4 (404).
        """

        def retire(tx: Rows) -> Key:
            now = self._now(tx)

            def plan(key: Key | None) -> Key:
                return plan_retire(key, incarnation_of(tx), now, self._window)

            return self._change(tx, call, key_manager, key_id, "retired", plan)

        key = await self._store.write(retire)
        self._on_retired(key)
        return key

    async def recover(self, call: Call, key_manager: str, key_id: str) -> Key:
        """Recover a retired key. Raises 4 (404), also if the key is overdue or its purge has begun."""

        def recover(tx: Rows) -> Key:
            def plan(key: Key | None) -> Key:
                return plan_recover(key, incarnation_of(tx))

            return self._change(tx, call, key_manager, key_id, "recovered", plan)

        key = await self._store.write(recover)
        self._on_recovered(key)
        return key

    def _now(self, tx: ClusterRows) -> datetime:
        """Return the latest time of our clock and of the last times that nodes reported.

        So the recovery window is not too short by the clock of the node that later ends it.
        """
        _, nodes = tx.cluster_and_nodes()
        return max([self._clock.now(), *(node.heard_at for node in nodes if node.heard_at is not None)])

    def _change(
        self,
        tx: Rows,
        call: Call,
        key_manager: str,
        key_id: str,
        done: str,
        plan: Callable[[Key | None], Key],
    ) -> Key:
        manager = require_manager_of_keys(tx, call, key_manager)
        with about_svm(manager.svm or call.scope):
            key = tx.key_by_id(manager.uuid, key_id, within=call.within_svm, lock=True)
            planned = plan(key)
            if key is None or planned == key:
                return planned
            tx.change_key(planned, key.state)
            if planned.state is KeyState.COMMITTED:
                tx.set_epoch_markers_due(manager.uuid)  # so that an older copy of this database detects itself
            self._audit.succeed(tx, call, f"{done} key {key.key_id}", svm=key.svm)
            return planned
