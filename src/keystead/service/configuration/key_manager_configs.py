"""Use cases of the settings that all key managers share: read, change. The settings belong to the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core import events
from keystead.core.key_manager_configs import plan_configs
from keystead.core.model import KeyManager
from keystead.service.announcing import add_events
from keystead.service.loading import require_made_cluster
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, NodeRows
from keystead.service.ports.configuration import ListRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from keystead.core.key_manager_configs import ConfigsChange
    from keystead.core.model import Cluster, Event, Options
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


class Rows(ListRows, ClusterRows, NodeRows, EventRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class KeyManagerConfigs:
    """The settings of key managers, which are among the cluster's options."""

    def __init__(self, store: Store[Rows], audit: AuditLog, clock: Clock, node: str) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._node = node

    async def get(self, call: Call) -> Options:
        """Return the options. A call confined to an SVM gets 4 (404)."""
        call.check_sees(None)
        return await self._store.read_few(lambda tx: tx.options())

    async def change(self, call: Call, change: ConfigsChange) -> None:
        """Change the settings, or raise the rule that the change breaks. A call confined to an SVM gets 4 (404).

        Another recovery window is announced. It is for keys that are deleted from now on.
        """
        call.check_sees(None)

        def work(tx: Rows) -> None:
            cluster = require_made_cluster(tx.cluster(lock=True))  # because options are read and written as a whole
            external = bool(tx.page(KeyManager, Page(limit=1).within(enabled=True)))
            before = tx.options()
            after = plan_configs(before, change, tx.nodes(), external=external)
            tx.put_options(after)
            said = ""
            if after.key_recovery_days != before.key_recovery_days:
                said = f"; key_recovery_days is {after.key_recovery_days} instead of {before.key_recovery_days}"
                add_events(tx, [self._announced(call, cluster, before, after)])
            self._audit.succeed(tx, call, f"changed the settings of key managers{said}")

        await self._store.write(work)

    def _announced(self, call: Call, cluster: Cluster, before: Options, after: Options) -> Event:
        values = {
            "vserver": cluster.name,
            "account": call.caller.account,
            "days": str(after.key_recovery_days),
            "before": str(before.key_recovery_days),
        }
        return events.RECOVERY_DAYS_CHANGED.happened(self._node, self._clock.now(), None, values)
