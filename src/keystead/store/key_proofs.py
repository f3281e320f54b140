"""Counts of keys by where their copies are, and the signed reports of verifications and drills."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

from functools import cache, reduce
from itertools import groupby, zip_longest
from operator import add, attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, delete, func, insert, select

from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.keys.report import KeyReport, ReportKind
from keystead.core.keys.survival import MARK_OF, MARKS, CopyMark, KeyGroup, KeyName
from keystead.store import tables
from keystead.store.keys import copy_of
from keystead.store.statements import Statements, columns_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row, Select

    from keystead.core.keys.model import Copy

_keys = tables.keys.c
_attempts = tables.key_attempts.c
_copies = tables.key_copies.c
_reports = tables.key_reports.c

_REPORTS = (
    select(*(column for column in _reports if column is not _reports.document))
    .where(_reports.key_manager == bindparam("k"))
    .order_by(_reports.time.desc(), _reports.uuid)
)
_REPORT = select(tables.key_reports).where(_reports.uuid == bindparam("u"), _reports.key_manager == bindparam("k"))
_BEYOND = (
    select(_reports.uuid)
    .where(_reports.key_manager == bindparam("k"))
    .order_by(_reports.time.desc(), _reports.uuid)
    .limit(2**31 - 1)
    .offset(bindparam("keep"))
)
_DROP_BEYOND = delete(tables.key_reports).where(_reports.uuid.in_(_BEYOND.subquery().select()))

_NEWEST_COPY = (
    select(tables.key_copies)
    .join(tables.key_attempts, and_(_attempts.key == _copies.key, _attempts.number == _copies.attempt))
    .join(tables.keys, _keys.uuid == _copies.key)
    .where(
        _copies.key_server == bindparam("s"),
        _copies.host == bindparam("h"),
        _copies.written.is_not(None),
        _copies.presence == Presence.PRESENT.value,
        _attempts.state == AttemptState.COMMITTED.value,
        _keys.state.in_([state.value for state in KEPT_STATES]),
    )
    .order_by(_copies.written.desc())
    .limit(1)
)


_MARK = case({presence.value: MARKS.index(mark) for presence, mark in MARK_OF.items()}, value=_copies.presence, else_=0)


@cache
def _key_groups(servers: int) -> Select[Any]:
    """Return a statement that counts keys by what is known of their copies on so many servers of their key manager.

    ``s0`` are the first servers of all key managers (``ks``), ``s1`` the second ones, and so on. It also returns the
    first keys of each group. It is one pass over the keys. For each key it makes a decimal digit per server, the best
    mark there, and the time of the last proof. Then it groups by these digits and numbers each group by name.
    """
    numbers = range(servers)
    here = [_copies.key_server.in_(bindparam(f"s{number}", expanding=True)) for number in numbers]
    proven = _copies.presence == Presence.PRESENT.value
    committed = and_(_attempts.key == _keys.uuid, _attempts.state == AttemptState.COMMITTED.value)
    of_attempt = and_(_copies.key == _attempts.key, _copies.attempt == _attempts.number)
    marks = (func.max(case((here[number], _MARK), else_=0)) * 10**number for number in numbers)
    per_key = (
        select(
            _keys.key_manager,
            _keys.key_id,
            _keys.name,
            reduce(add, marks).label("marks"),
            *(
                func.max(case((and_(here[number], proven), _copies.proven))).label(f"proven{number}")
                for number in numbers
            ),
        )
        .select_from(tables.keys.outerjoin(tables.key_attempts, committed).outerjoin(tables.key_copies, of_attempt))
        .where(
            _keys.key_manager.in_(bindparam("ks", expanding=True)),
            _keys.state.in_([state.value for state in KEPT_STATES]),
        )
        .group_by(_keys.uuid, _keys.key_manager, _keys.key_id, _keys.name)
        .subquery()
    )
    group = (per_key.c.key_manager, per_key.c.marks)
    ranked = select(
        *group,
        per_key.c.key_id,
        per_key.c.name,
        func.row_number().over(partition_by=group, order_by=(per_key.c.name, per_key.c.key_id)).label("place"),
        func.count().over(partition_by=group).label("keys"),
        *(
            func.min(per_key.c[f"proven{number}"]).over(partition_by=group).label(f"oldest{number}")
            for number in numbers
        ),
    ).subquery()
    first = select(ranked).where(ranked.c.place <= bindparam("limit"))
    return first.order_by(ranked.c.key_manager, ranked.c.marks, ranked.c.place)


class KeyProofRows(Statements):
    """The rows of proven copies and of reports."""

    def key_groups(self, servers: Mapping[str, Sequence[str]], limit: int) -> Mapping[str, tuple[KeyGroup, ...]]:
        places = [[uuid for uuid in place if uuid] for place in zip_longest(*servers.values())] or [[]]
        bound = {"ks": list(servers), "limit": limit} | {f"s{number}": place for number, place in enumerate(places)}
        rows = self.all(_key_groups(len(places)), bound, lambda row: row)
        found: dict[str, list[KeyGroup]] = {key_manager: [] for key_manager in servers}
        for (key_manager, marks), group in groupby(rows, attrgetter("key_manager", "marks")):
            found[key_manager].append(_key_group(servers[key_manager], marks, list(group)))
        return {key_manager: tuple(groups) for key_manager, groups in found.items()}

    def newest_copy(self, key_server: str, host: str) -> Copy | None:
        return self.one(_NEWEST_COPY, {"s": key_server, "h": host}, copy_of)

    def add_key_report(self, report: KeyReport, *, keep: int) -> None:
        self.change(insert(tables.key_reports), columns_of(tables.key_reports, report) | {"kind": report.kind.value})
        self.change(_DROP_BEYOND, {"k": report.key_manager, "keep": keep})

    def key_reports(self, key_manager: str) -> tuple[KeyReport, ...]:
        return self.all(_REPORTS, {"k": key_manager}, _report)

    def key_report(self, key_manager: str, uuid: str) -> KeyReport | None:
        return self.one(_REPORT, {"k": key_manager, "u": uuid}, _report)


def _key_group(servers: Sequence[str], digits: int, rows: Sequence[Row[Any]]) -> KeyGroup:
    """Return one group of keys from its first rows. ``digits`` are the marks, the first server's last."""
    first = rows[0]._mapping
    marks = {uuid: MARKS[digits // 10**number % 10] for number, uuid in enumerate(servers)}
    oldest = {uuid: first[f"oldest{number}"] for number, uuid in enumerate(servers)}
    return KeyGroup(
        places=frozenset(frozenset({uuid}) for uuid, mark in marks.items() if mark is CopyMark.PROVEN),
        keys=int(first["keys"]),
        oldest={frozenset({uuid}): time for uuid, time in oldest.items() if time is not None},
        named=tuple(KeyName(row.key_id, row.name) for row in rows),
        unproven={uuid: mark for uuid, mark in marks.items() if mark is not CopyMark.PROVEN},
    )


def _report(row: Row[Any]) -> KeyReport:
    return KeyReport(**dict(row._mapping) | {"kind": ReportKind(row.kind)})
