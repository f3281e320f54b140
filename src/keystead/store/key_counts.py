"""Counts of keys, and the keys of which the keeper must look at the copies."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, exists, func, literal, select, union_all

from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.store import tables
from keystead.store.conditions import among, fixed
from keystead.store.conditions import within as within_svm
from keystead.store.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_keys = tables.keys.c
_attempts = tables.key_attempts.c
_copies = tables.key_copies.c

_NOT_COMMITTED = _keys.state != fixed(KeyState.COMMITTED.value)
_AMONG_STATES = _keys.state.in_(bindparam("states", expanding=True))
_NUMBER = func.count().label("number")
_COUNTS = {
    unrestricted: union_all(
        select(literal("").label("state"), _NUMBER).where(_keys.key_manager == bindparam("k"), *within),
        select(_keys.state, _NUMBER)
        .where(_keys.key_manager == bindparam("k"), _NOT_COMMITTED, *within)
        .group_by(_keys.state),
    )
    for unrestricted, within in {True: (), False: (within_svm(tables.keys),)}.items()
}
"""All keys of a key manager, and those that are not committed by state. Each part follows an index."""
_OF_SVM = select(func.count().label("number")).where(_keys.svm_uuid == bindparam("s"), _AMONG_STATES)
_LEFT = (
    select(func.count(_keys.uuid.distinct()).label("number"))
    .select_from(tables.key_copies)
    .join(tables.key_attempts, (_attempts.key == _copies.key) & (_attempts.number == _copies.attempt))
    .join(tables.keys, _keys.uuid == _copies.key)
    .where(
        among(_keys.state, [KeyState.ABORTED, KeyState.PURGED]),
        _NOT_COMMITTED,
        _copies.presence != Presence.DESTROYED.value,
        (_attempts.state != AttemptState.ABORTED.value) | (_attempts.incarnation == bindparam("i")),
    )
)
_KEYS_LEFT = _LEFT.where(_keys.key_manager == bindparam("k"))
_KEYS_LEFT_OF_SVM = _LEFT.where(_keys.svm_uuid == bindparam("s"))
_PROVEN_AT = exists().where(
    _copies.key == _keys.uuid,
    _copies.key_server.in_(bindparam("servers", expanding=True)),
    _copies.presence == fixed(Presence.PRESENT.value),
)
_LACKING = {
    state: select(_keys.uuid).where(
        _keys.key_manager == bindparam("k"),
        _keys.state == fixed(state.value),
        *[_NOT_COMMITTED] * (state is not KeyState.COMMITTED),
        ~_PROVEN_AT.correlate(tables.keys),
    )
    for state in KEPT_STATES
}
_WITH_ABORTED_COPIES = (
    select(_attempts.key)
    .join(tables.key_copies, (_copies.key == _attempts.key) & (_copies.attempt == _attempts.number))
    .where(
        _attempts.state == fixed(AttemptState.ABORTED.value),
        _copies.presence == Presence.PRESENT.value,
        _copies.key_server.in_(bindparam("servers", expanding=True)),
    )
)
"""Keys for which :data:`_LACKING` may have counted a copy that does not count."""


class KeyCountRows(Statements):
    """The counts of keys by state, and keys by what their copies lack."""

    def key_counts(self, key_manager: str, *, within: str | None = None) -> Mapping[KeyState, int]:
        rows = self.all(_COUNTS[within is None], {"k": key_manager, "w": within}, lambda row: row)
        numbers = {row.state: int(row.number) for row in rows}
        committed = numbers.pop("") - sum(numbers.values())
        found = {KeyState.COMMITTED: committed, **{KeyState(state): number for state, number in numbers.items()}}
        return {state: number for state, number in found.items() if number}

    def keys_lacking(self, key_manager: str, domains: Collection[Collection[str]]) -> tuple[str, ...]:
        kept = {"k": key_manager}
        found = {
            uuid
            for servers in domains
            for state in KEPT_STATES
            for uuid in self.all(_LACKING[state], kept | {"servers": list(servers)}, lambda row: str(row.uuid))
        }
        every = {"servers": [uuid for servers in domains for uuid in servers]}
        return tuple(sorted(found.union(self.all(_WITH_ABORTED_COPIES, every, lambda row: str(row.key)))))

    def keys_of_svm(self, svm_uuid: str, states: Collection[KeyState]) -> int:
        return self.all(
            _OF_SVM, {"s": svm_uuid, "states": [state.value for state in states]}, lambda row: int(row.number)
        )[0]

    def keys_left(self, key_manager: str, incarnation: str) -> int:
        return self.all(_KEYS_LEFT, {"k": key_manager, "i": incarnation}, lambda row: int(row.number))[0]

    def keys_left_of_svm(self, svm_uuid: str, incarnation: str) -> int:
        return self.all(_KEYS_LEFT_OF_SVM, {"s": svm_uuid, "i": incarnation}, lambda row: int(row.number))[0]
