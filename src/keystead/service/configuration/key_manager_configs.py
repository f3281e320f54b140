"""Use cases of the settings that all key managers share: read, change. The settings belong to the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core.key_manager_configs import plan_configs
from keystead.core.model import KeyManager
from keystead.service.ports.cluster import AuditRows, ClusterRows, NodeRows
from keystead.service.ports.configuration import ListRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from keystead.core.key_manager_configs import ConfigsChange
    from keystead.core.model import Options
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Store


class Rows(ListRows, ClusterRows, NodeRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class KeyManagerConfigs:
    """The settings of key managers, which are among the cluster's options."""

    def __init__(self, store: Store[Rows], audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def get(self, call: Call) -> Options:
        """Return the options. A call confined to an SVM gets 4 (404)."""
        call.check_sees(None)
        return await self._store.read_few(lambda tx: tx.options())

    async def change(self, call: Call, change: ConfigsChange) -> None:
        """Change the settings, or raise the rule that the change breaks. A call confined to an SVM gets 4 (404)."""
        call.check_sees(None)

        def work(tx: Rows) -> None:
            tx.cluster(lock=True)  # because options are read and written as a whole
            external = bool(tx.page(KeyManager, Page(limit=1).within(enabled=True)))
            tx.put_options(plan_configs(tx.options(), change, tx.nodes(), external=external))
            self._audit.succeed(tx, call, "changed the settings of key managers")

        await self._store.write(work)
