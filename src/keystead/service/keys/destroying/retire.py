"""Use cases: retire a key, and recover a retired key.

The keeper destroys the objects of retired keys later, see :mod:`keystead.service.keys.destroying.purge`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from keystead.core.keys.destroying import check_retired_count, plan_recover, plan_retire
from keystead.core.keys.model import KeyState
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.cluster.peers import nobody
from keystead.service.cluster.svms import about_svm
from keystead.service.keys.access import require_manager_of_keys
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AuditRows, ClusterRows, IncarnationRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import EpochMarkerRows, KeyRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from keystead.core.keys.model import Key
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.peers import Withdraw
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


class Rows(KeyManagerRows, ClusterRows, AuditRows, IncarnationRows, KeyRows, EpochMarkerRows, Protocol):
    """The rows that this module reads and writes."""


class KeyRetirement:
    """The use cases that retire and recover keys.

    ``on_retired`` gets each retired key, to drop its cached material, and ``withdraw`` too, to tell the other nodes.
    What it returns is added to the call's warnings. ``on_due`` gets keys without a recovery window, to destroy them
    soon. ``on_recovered`` gets each recovered key, so that epoch markers are replaced before this database is lost.
    """

    def __init__(
        self,
        store: Store[Rows],
        audit: AuditLog,
        clock: Clock,
        *,
        withdraw: Withdraw = nobody,
        on_retired: Callable[[Key], None] = lambda _: None,
        on_due: Callable[[Key], None] = lambda _: None,
        on_recovered: Callable[[Key], None] = lambda _: None,
    ) -> None:
        self._withdraw = withdraw
        self._on_retired = on_retired
        self._on_due = on_due
        self._on_recovered = on_recovered
        self._store = store
        self._audit = audit
        self._clock = clock

    async def check_count(self, count: int, confirmed: int | None) -> None:
        """Raise 262185 if so many keys would be destroyed at once, and ``confirmed`` is another number."""
        options = await self._store.read_few(lambda tx: tx.options())
        check_retired_count(count, options.key_recovery_days, confirmed)

    async def retire(self, call: Call, key_manager: str, key_id: str) -> Key:
        """Retire a key and return it. It cannot be read any more, and can be recovered until its recovery window ends.

        A key that this incarnation retired already stays as it is. One that an earlier incarnation retired gets a new
        recovery window. Cached material is dropped. Called when a user deletes a key. Raises 4 (404) if there is no key
        to retire.
        """

        def retire(tx: Rows) -> Key:
            now = self._now(tx)
            window = timedelta(days=tx.options().key_recovery_days)

            def plan(key: Key | None) -> Key:
                return plan_retire(key, incarnation_of(tx), now, window)

            return self._change(tx, call, key_manager, key_id, "retired", plan)

        key = await self._store.write(retire)
        self._on_retired(key)
        call.warnings.extend(await self._withdraw(Withdrawn(Thing.KEY, key.key_id)))
        if key.purge_after == key.retired:
            self._on_due(key)
        return key

    async def recover(self, call: Call, key_manager: str, key_id: str) -> Key:
        """Recover a retired key and return it. A key in use stays as it is.

        The transaction that stores the recovery also makes the epoch markers due; for a key in use it stores nothing.
        After it, ``on_recovered`` is called in either case, so the keeper makes a round soon. Raises 4 (404) if there
        is no such key, also if it is overdue or its purge has begun. Called when a user recovers a deleted key.
        """

        def recover(tx: Rows) -> Key:
            def plan(key: Key | None) -> Key:
                return plan_recover(key, incarnation_of(tx))

            return self._change(tx, call, key_manager, key_id, "recovered", plan)

        key = await self._store.write(recover)
        self._on_recovered(key)
        return key

    def _now(self, tx: ClusterRows) -> datetime:
        """Return the latest time of our clock and of those that nodes reported last.

        So the recovery window is not too short by the clock of the node that later ends it. Called when a key is
        retired.
        """
        _, nodes = tx.cluster_and_nodes()
        return max([self._clock.now(), *(node.reported for node in nodes if node.reported is not None)])

    def _change(
        self,
        tx: Rows,
        call: Call,
        key_manager: str,
        key_id: str,
        done: str,
        plan: Callable[[Key | None], Key],
    ) -> Key:
        """Store the key as planned, with an audit record, and return it. ``plan`` gets None if there is no such key.

        Locks the key. If the plan changes nothing, nothing is stored. A recovered key makes the epoch markers of its
        key manager due. Raises what ``plan`` raises, and 4 (404) for the key manager.
        """
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
