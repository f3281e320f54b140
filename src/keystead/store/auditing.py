"""Rows of the audit chains, as a transaction reads and writes them."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, insert, select, union, update

from keystead.core.audit import place
from keystead.core.audit_retention import AuditCut, AuditSave, Rule, Way
from keystead.core.model import AuditHead, AuditRecord
from keystead.store import tables
from keystead.store.statements import Statements, columns_of, storing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Row

_heads = tables.audit_heads.c
_AUDIT_HEADS = select(_heads.node, _heads.index, _heads.mac, _heads.head_mac).order_by(_heads.node)
_AUDIT_HEAD = _AUDIT_HEADS.where(_heads.node == bindparam("n"))
_LOCKED_AUDIT_HEAD = _AUDIT_HEAD.with_for_update()
_PUT_AUDIT_HEAD = storing(tables.audit_heads, "node")
_COUNT_CHANGE = (
    update(tables.audit_heads).where(_heads.node == bindparam("n")).values(configuration=_heads.configuration + 1)
)
_ADD_AUDIT_RECORD = insert(tables.audit_records)
_first = select(func.min(tables.audit_records.c.node).label("node")).cte("in_records", recursive=True)
_later = select(func.min(tables.audit_records.c.node)).where(tables.audit_records.c.node > _first.c.node)
# From one node to the next by the index: SELECT DISTINCT would look at every record.
_IN_RECORDS = _first.union_all(select(_later.scalar_subquery()).where(_first.c.node.is_not(None)))
_AUDIT_NODES = union(
    select(tables.nodes.c.uuid.label("node")),
    select(tables.audit_heads.c.node),
    select(_IN_RECORDS.c.node).where(_IN_RECORDS.c.node.is_not(None)),
).order_by("node")
_RECORDED_READS = select(tables.audit_records.c.read_id).where(
    and_(
        tables.audit_records.c.node == bindparam("n"),
        tables.audit_records.c.read_id.in_(bindparam("ids", expanding=True)),
    )
)
_PLACED_RECORDS = (
    select(*(tables.audit_records.c[item.name] for item in fields(AuditRecord)), tables.audit_records.c.key)
    .where(and_(tables.audit_records.c.node == bindparam("n"), tables.audit_records.c.index > bindparam("after")))
    .order_by(tables.audit_records.c.index)
    .limit(bindparam("most"))
)
_cuts, _saves = tables.audit_cuts.c, tables.audit_saves.c
_CUT = select(tables.audit_cuts).where(_cuts.node == bindparam("n"))
_PUT_CUT = storing(tables.audit_cuts, "node")
_REMOVE = delete(tables.audit_records).where(
    and_(tables.audit_records.c.node == bindparam("n"), tables.audit_records.c.index <= bindparam("last"))
)
_SAVES = select(tables.audit_saves).where(_saves.node == bindparam("n")).order_by(_saves.way)
_FORGET_SAVE = delete(tables.audit_saves).where(and_(_saves.node == bindparam("n"), _saves.way == bindparam("w")))
_ADD_SAVE = insert(tables.audit_saves)


class AuditRows(Statements):
    """The rows of the audit chains."""

    def audit_head(self, node: str) -> AuditHead | None:
        statement = _LOCKED_AUDIT_HEAD if self.row_locks else _AUDIT_HEAD
        self.heads[node] = self.one(statement, {"n": node}, lambda row: AuditHead(**row._mapping))
        return self.heads[node]

    def add_audit_records(self, records: Sequence[AuditRecord], head: AuditHead) -> None:
        rows = [columns_of(tables.audit_records, record) | {"key": place(record)} for record in records]
        self.change(_ADD_AUDIT_RECORD, rows)
        self.store(_PUT_AUDIT_HEAD, columns_of(tables.audit_heads, head))
        self.appended.append((self.heads.get(head.node), head))
        self.heads[head.node] = head
        if self.reconfigured:
            self.change(_COUNT_CHANGE, {"n": head.node})  # no wait here, because the row is locked already

    def audit_records(self, node: str, after: int, limit: int) -> tuple[AuditRecord, ...]:
        return tuple([record for record, _ in self.placed_audit_records(node, after, limit)])

    def placed_audit_records(self, node: str, after: int, limit: int) -> tuple[tuple[AuditRecord, str], ...]:
        bound = {"n": node, "after": after, "most": limit}
        return self.all(_PLACED_RECORDS, bound, _placed)

    def recorded_reads(self, node: str, read_ids: Collection[str]) -> frozenset[str]:
        bound = {"n": node, "ids": list(read_ids)}
        return frozenset(self.all(_RECORDED_READS, bound, lambda row: str(row.read_id)))

    def audit_nodes(self) -> tuple[str, ...]:
        return self.all(_AUDIT_NODES, {}, lambda row: str(row.node))

    def audit_ends(self) -> tuple[AuditHead, ...]:
        return self.all(_AUDIT_HEADS, {}, lambda row: AuditHead(**row._mapping))

    def audit_cut(self, node: str) -> AuditCut | None:
        return self.one(_CUT, {"n": node}, _cut)

    def cut_audit_records(self, cut: AuditCut) -> None:
        self.change(_REMOVE, {"n": cut.node, "last": cut.index})
        self.store(_PUT_CUT, columns_of(tables.audit_cuts, cut))

    def audit_saves(self, node: str) -> tuple[AuditSave, ...]:
        return self.all(_SAVES, {"n": node}, _save)

    def put_audit_save(self, save: AuditSave) -> None:
        self.change(_FORGET_SAVE, {"n": save.node, "w": save.way})
        self.change(_ADD_SAVE, columns_of(tables.audit_saves, save))


def _placed(row: Row[Any]) -> tuple[AuditRecord, str]:
    """Return the record of a row whose columns are in the order of its fields. Reading by name takes twice as long."""
    values: tuple[Any, ...] = tuple(row)
    return AuditRecord(*values[:-1]), values[-1]


def _cut(row: Row[Any]) -> AuditCut:
    return AuditCut(**{**row._mapping, "rule": Rule(row.rule), "saved": Way(row.saved)})


def _save(row: Row[Any]) -> AuditSave:
    return AuditSave(**{**row._mapping, "way": Way(row.way)})
