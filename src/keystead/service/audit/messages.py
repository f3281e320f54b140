"""Use cases of the audit log in the API: read records, and read and change what is recorded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from keystead.core import errors
from keystead.core.audit import place_of_time
from keystead.core.errors import OntapError
from keystead.core.model import AuditRecord
from keystead.core.query.where import Clause, Condition, Op, Where
from keystead.service.ports.cluster import AuditRows, ClusterRows, NodeRows
from keystead.service.ports.configuration import ListRows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.model import Options
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.store import Store

_INDEX, _PLACE, _TIME = "index", "key", "timestamp"


class Rows(ListRows, ClusterRows, NodeRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """A record, with the name of the node that wrote it; None if that node is gone.

    ``index`` is None for a call confined to an SVM, because the index counts the records of the whole node.
    """

    record: AuditRecord
    node_name: str | None
    index: int | None


class AuditMessages:
    """The audit log as its readers see it.

    An SVM sees changes of its own objects, and the calls of its own accounts.
    """

    def __init__(self, store: Store[Rows], audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    async def page(self, call: Call, page: Page) -> tuple[AuditMessage, ...]:
        """Return a slice of the records of all nodes, in the order of time.

        A call confined to an SVM may not sort or filter by ``index``: UNEXPECTED_ARGUMENT.
        """
        whole = call.scope is None
        asked = {order.name for order in page.order} | {each.name for each in chain.from_iterable(page.where)}
        if not whole and _INDEX in asked:
            raise OntapError(errors.UNEXPECTED_ARGUMENT, target=_INDEX, field=_INDEX)

        def read(tx: Rows) -> tuple[AuditMessage, ...]:
            names = {node.uuid: node.name for node in tx.nodes()}
            records = tx.page(AuditRecord, call.within(by_place(page)))
            return tuple(
                AuditMessage(record, names.get(record.node), record.index if whole else None) for record in records
            )

        return await self._store.read(read)

    async def settings(self, call: Call) -> Options:
        """Return the options that say what is recorded besides changes. A call confined to an SVM gets 4 (404)."""
        call.check_sees(None)
        return await self._store.read_few(lambda tx: tx.options())

    async def change_settings(self, call: Call, values: Mapping[str, bool]) -> None:
        """Change what is recorded: ``cli``, ``http``, ``ontapi``. A call confined to an SVM gets 4 (404).

        This node applies the change at once, other nodes within seconds.
        """
        call.check_sees(None)
        changed: dict[str, Any] = {f"audit_{name}": value for name, value in values.items()}

        def change(tx: Rows) -> None:
            tx.cluster(lock=True)  # because options are read and written as a whole
            tx.put_options(replace(tx.options(), **changed))
            self._audit.succeed(tx, call, "changed what is audited")

        await self._store.write(change)
        self._audit.forget_settings()


def by_place(page: Page) -> Page:
    """Return the same slice, with its times told by sort keys. Those have an index, and sort by time."""
    page = replace(page, where=tuple(each for clause in page.where for each in _by_place(clause)))
    if [order.name for order in page.order] != [_TIME]:
        return page
    order = (replace(page.order[0], name=_PLACE),)
    return replace(page, order=order, after=page.after and page.after[1:])


def _by_place(clause: Clause) -> Where:
    """Return a clause that compares the time as such clauses on the sort key; any other clause as it is."""
    condition, *others = clause or (None,)
    if condition is None or others or condition.name != _TIME or condition.negated or condition.op is Op.UNSET:
        return (clause,)
    operand = condition.operand
    first, last = operand if condition.op is Op.RANGE else (operand, operand)
    bounds = {
        Op.AT_LEAST: ((Op.AT_LEAST, place_of_time(first)),),
        Op.MORE: ((Op.MORE, f"{place_of_time(first)}~"),),
        Op.AT_MOST: ((Op.LESS, f"{place_of_time(last)}~"),),
        Op.LESS: ((Op.LESS, place_of_time(last)),),
    }
    between = (*bounds[Op.AT_LEAST], *bounds[Op.AT_MOST])
    return tuple((Condition(_PLACE, op, place),) for op, place in bounds.get(condition.op, between))
