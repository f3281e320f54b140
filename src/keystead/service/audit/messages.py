"""Use cases of reading the audit log through the API, and of what is recorded in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import AuditRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.model import Options
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Page, Store, Transaction

_INDEX = "index"


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """A record, with the name of the node that wrote it; None when that node is gone.

    ``index`` is None for who sees a part only: it counts what the whole node does.
    """

    record: AuditRecord
    node_name: str | None
    index: int | None


class AuditMessages:
    """The audit log as its readers see it. An SVM sees what was done to its own things, and its own accounts' calls."""

    def __init__(self, store: Store, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def page(self, call: Call, page: Page) -> tuple[AuditMessage, ...]:
        """Return a slice of the records of all nodes, in the order of time."""
        whole = call.scope is None
        asked = {order.name for order in page.order} | {each.name for each in chain.from_iterable(page.where)}
        if not whole and _INDEX in asked:
            raise OntapError(errors.UNEXPECTED_ARGUMENT, target=_INDEX, field=_INDEX)

        def read(tx: Transaction) -> tuple[AuditMessage, ...]:
            names = {node.uuid: node.name for node in tx.nodes()}
            records = tx.page(AuditRecord, call.within(page))
            return tuple(
                AuditMessage(record, names.get(record.node), record.index if whole else None) for record in records
            )

        return await self._store.read(read)

    async def settings(self, call: Call) -> Options:
        """Return what is recorded beside changes; a call that is confined to an SVM gets 4 (404)."""
        call.check_sees(None)
        return await self._store.glance(lambda tx: tx.options())

    async def change_settings(self, call: Call, values: Mapping[str, bool]) -> None:
        """Change what is recorded: ``cli``, ``http``, ``ontapi``. This node heeds it at once, others in seconds."""
        call.check_sees(None)
        changed = {f"audit_{name}": value for name, value in values.items()}

        def change(tx: Transaction) -> None:
            tx.cluster(lock=True)  # options are read and put as a whole
            tx.put_options(replace(tx.options(), **changed))
            self._audit.succeed(tx, call, "changed what is audited")

        await self._store.write(change)
        self._audit.forget_settings()
