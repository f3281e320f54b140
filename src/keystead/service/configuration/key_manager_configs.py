"""Use cases of the settings that all key managers of a cluster share: read, change. They are the cluster's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core.key_manager_configs import plan_configs
from keystead.core.model import KeyManager
from keystead.service.ports.store import Page

if TYPE_CHECKING:
    from keystead.core.key_manager_configs import ConfigsChange
    from keystead.core.model import Options
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Store, Transaction


class KeyManagerConfigs:
    """The settings, among the cluster's options."""

    def __init__(self, store: Store, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def get(self, call: Call) -> Options:
        """Return the options; a call that is confined to an SVM gets 4 (404)."""
        call.check_sees(None)
        return await self._store.glance(lambda tx: tx.options())

    async def change(self, call: Call, change: ConfigsChange) -> None:
        """Change them, or raise the rule broken."""
        call.check_sees(None)

        def work(tx: Transaction) -> None:
            tx.cluster(lock=True)  # options are read and put as a whole
            external = bool(tx.page(KeyManager, Page(limit=1).within(enabled=True)))
            tx.put_options(plan_configs(tx.options(), change, tx.nodes(), external=external))
            self._audit.succeed(tx, call, "changed the settings of key managers")

        await self._store.write(work)
