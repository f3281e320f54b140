"""Rows of keys, their attempts, copies and receipts, as a transaction reads and writes them."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from keystead.core.keys.model import (
    HOLD_NAMES,
    Attempt,
    AttemptState,
    Copy,
    KeyState,
    Presence,
    Purpose,
    Receipt,
    Standing,
)
from keystead.store import tables
from keystead.store.conditions import among, fixed
from keystead.store.kinds import KEY
from keystead.store.statements import Parameters, Statements, columns_of, locking, owner_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from keystead.core.keys.model import Key

_keys = tables.keys.c
_attempts = tables.key_attempts.c
_copies = tables.key_copies.c
_receipts = tables.key_receipts.c

_LOCK_KEY = locking(tables.keys)
_KEY = KEY.where(uuid="u")
_KEY_BY_ID = KEY.within(key_manager="k", key_id="i")
_KEYS = KEY.everything.where(_keys.uuid.in_(bindparam("us", expanding=True))).order_by(None).order_by(_keys.uuid)
_STANDINGS = select(_keys.key_id, _keys.version, _keys.state, _keys.svm_uuid).where(
    _keys.key_id.in_(bindparam("ids", expanding=True))
)
_KEY_NAMED = KEY.where(key_manager="k", name="n").where(among(_keys.state, HOLD_NAMES))
_AMONG_STATES = _keys.state.in_(bindparam("states", expanding=True))
_KEYS_IN = {
    state: (
        KEY.within(key_manager="k")
        .where(_keys.state == fixed(state.value), _keys.uuid > bindparam("after"))
        .where(*[_keys.state != fixed(KeyState.COMMITTED.value)] * (state is not KeyState.COMMITTED))
        .order_by(None)
        .order_by(_keys.uuid)
        .limit(bindparam("limit"))
    )
    for state in KeyState
}
"""The next keys in one state. A statement for several states could not follow an index."""
_ADOPTERS = (
    KEY.everything.where(
        _keys.uuid.in_(
            select(_attempts.key).where(_attempts.adopted == bindparam("n"), _attempts.adopted != fixed(""))
        ),
        _keys.state != KeyState.PURGED.value,
    )
    .order_by(None)
    .order_by(_keys.uuid)
)
_CHANGED = (
    *("name", "key_tag", "state", "length", "digest", "version"),
    *("committed", "retired", "purge_after", "retired_in", "overdue"),
)
_CHANGE_KEY = (
    update(tables.keys)
    .where(_keys.uuid == bindparam("u"), _keys.state == bindparam("was"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)
_DROP_KEY = delete(tables.keys).where(_keys.uuid == bindparam("u"))
_DROP_KEYS = delete(tables.keys).where(_keys.key_manager == bindparam("k"), _AMONG_STATES)
_DROP_KEYS_OF_SVM = delete(tables.keys).where(_keys.svm_uuid == bindparam("s"), _AMONG_STATES)

_ATTEMPTS = (
    select(tables.key_attempts)
    .where(_attempts.key.in_(bindparam("keys", expanding=True)))
    .order_by(_attempts.key, _attempts.number)
)
_EXPIRED = (
    select(tables.key_attempts)
    .where(
        _attempts.state == fixed(AttemptState.PENDING.value),
        (_attempts.expires < bindparam("now")) | (_attempts.expires > bindparam("ahead")),
    )
    .order_by(_attempts.expires)
    .limit(bindparam("limit"))
)
_DROP_ATTEMPT = delete(tables.key_attempts).where(_attempts.key == bindparam("k"), _attempts.number == bindparam("n"))
_END_ATTEMPT = (
    update(tables.key_attempts)
    .where(
        _attempts.key == bindparam("k"),
        _attempts.number == bindparam("n"),
        _attempts.token == bindparam("t"),
        _attempts.state == AttemptState.PENDING.value,
    )
    .values(state=bindparam("ended"), expired=bindparam("late"))
)
_TIMED_OUT = (_attempts.state == AttemptState.ABORTED.value) & (_attempts.expired == 1)
_ORPHAN_ATTEMPT = (
    update(tables.key_attempts)
    .where(_attempts.key == bindparam("k"), _attempts.number == bindparam("n"), _TIMED_OUT)
    .values(incarnation="")
)
_ORPHAN_ATTEMPTS_ON = (
    update(tables.key_attempts)
    .where(
        _TIMED_OUT,
        exists().where(
            _copies.key == _attempts.key,
            _copies.attempt == _attempts.number,
            _copies.key_server == bindparam("s"),
            _copies.presence != Presence.DESTROYED.value,
        ),
    )
    .values(incarnation="")
)

_IN_ORDER = (_copies.key, _copies.attempt, _copies.key_server, _copies.host)
_COPIES = select(tables.key_copies).where(_copies.key.in_(bindparam("keys", expanding=True))).order_by(*_IN_ORDER)
_STANDING_COPIES = _COPIES.join(
    tables.key_attempts, (_attempts.key == _copies.key) & (_attempts.number == _copies.attempt)
).where(_attempts.state != AttemptState.ABORTED.value)
_ABORTED_COPIES = (
    select(tables.key_copies)
    .join(tables.key_attempts, (_attempts.key == _copies.key) & (_attempts.number == _copies.attempt))
    .join(tables.keys, _keys.uuid == _copies.key)
    .where(
        _keys.key_manager == bindparam("k"),
        _attempts.state == fixed(AttemptState.ABORTED.value),
        _attempts.incarnation == bindparam("i"),
        _attempts.key > bindparam("after"),
        _copies.presence != Presence.DESTROYED.value,
    )
    .order_by(_attempts.key, _attempts.number, _copies.key_server, _copies.host)
    .limit(bindparam("limit"))
)
_IS_PRESENT = _copies.presence == fixed(Presence.PRESENT.value)
_OPEN_COPIES = {
    what: (
        select(tables.key_copies)
        .join(tables.key_attempts, (_attempts.key == _copies.key) & (_attempts.number == _copies.attempt))
        .join(tables.keys, _keys.uuid == _copies.key)
        .where(
            _copies.key_server == bindparam("s"),
            _copies.key > bindparam("after"),
            condition,
            _attempts.state == AttemptState.COMMITTED.value,
            _keys.state.in_([KeyState.COMMITTED.value, KeyState.RETIRED.value]),
        )
        .order_by(*_IN_ORDER)
        .limit(bindparam("limit"))
    )
    for what, condition in {
        "unsettled": among(_copies.presence, [Presence.SENT, Presence.UNKNOWN]),
        "inactive": _IS_PRESENT & among(_copies.object_state, ["", "Pre-Active"]),
        "undescribed": _IS_PRESENT & (_copies.descriptor == fixed("")),
    }.items()
}
"""The next copies that are open for one reason. Each statement follows an index of its own."""
_NEXT_KEYS_ON = (
    select(_copies.key)
    .where(_copies.key_server == bindparam("s"), _copies.key > bindparam("after"))
    .distinct()
    .order_by(_copies.key)
    .limit(bindparam("limit"))
)
_COPIES_ON = (
    select(tables.key_copies)
    .where(_copies.key_server == bindparam("s"), _copies.key.in_(_NEXT_KEYS_ON.subquery().select()))
    .order_by(*_IN_ORDER)
)
_WHERE = {"key": "the_key", "attempt": "the_attempt", "key_server": "the_server", "host": "the_host"}
_CHANGE_COPY = (
    update(tables.key_copies)
    .where(*(_copies[column] == bindparam(name) for column, name in _WHERE.items()))
    .values({column.name: bindparam(column.name) for column in _copies if column.name not in _WHERE})
)

_WRITTEN_TO = (
    KEY.everything.where(
        _keys.uuid.in_(
            select(_attempts.key)
            .join(tables.key_copies, (_attempts.key == _copies.key) & (_attempts.number == _copies.attempt))
            .where(_attempts.state == fixed(AttemptState.PENDING.value), _copies.key_server == bindparam("s"))
        )
    )
    .order_by(None)
    .order_by(_keys.uuid)
)
_NOT_DESTROYED_ON = (_copies.key_server == bindparam("s"), _copies.presence != Presence.DESTROYED.value)
_OF_A_RECEIPT = ("unique_identifier", "action", "time", "incarnation", "node")
_ADD_ABANDONED_RECEIPTS = insert(tables.key_receipts).from_select(
    ["key", "attempt", "key_server", "host", *_OF_A_RECEIPT],
    select(
        *(_copies.key, _copies.attempt, _copies.key_server, _copies.host),
        *(bindparam(f"the_{name}", type_=_receipts[name].type).label(name) for name in _OF_A_RECEIPT),
    ).where(*_NOT_DESTROYED_ON),
)
_END_COPIES = update(tables.key_copies).where(*_NOT_DESTROYED_ON).values(presence=Presence.DESTROYED.value)

_RECEIPTS = (
    select(tables.key_receipts)
    .where(_receipts.key.in_(bindparam("keys", expanding=True)))
    .order_by(_receipts.key, _receipts.time, _receipts.key_server, _receipts.unique_identifier, _receipts.action)
)
_RECEIPT = select(_receipts.key).where(
    *(_receipts[column.name] == bindparam(column.name) for column in tables.key_receipts.primary_key)
)


class KeyRows(Statements):
    """The rows of keys, attempts, copies and receipts."""

    def key(self, uuid: str, *, lock: bool = False) -> Key | None:
        if lock:
            self.lock(_LOCK_KEY, uuid)
        return self.value_of(KEY, _KEY, {"u": uuid})

    def lock_key(self, uuid: str) -> None:
        self.lock(_LOCK_KEY, uuid)

    def key_by_id(self, key_manager: str, key_id: str, *, within: str | None = None, lock: bool = False) -> Key | None:
        bound = {"k": key_manager, "i": key_id, "w": within}
        found = self.value_of(KEY, _KEY_BY_ID, bound)
        if found is None or not lock or not self.row_locks:
            return found
        self.lock(_LOCK_KEY, found.uuid)
        return self.value_of(KEY, _KEY_BY_ID, bound)

    def keys(self, uuids: Collection[str]) -> tuple[Key, ...]:
        return self.values_of(KEY, _KEYS, {"us": list(uuids)})

    def key_standings(self, key_ids: Collection[str]) -> Mapping[str, Standing]:
        return dict(
            self.all(
                _STANDINGS,
                {"ids": list(key_ids)},
                lambda row: (row.key_id, Standing(row.version, KeyState(row.state), row.svm_uuid)),
            )
        )

    def key_named(self, key_manager: str, name: str) -> Key | None:
        return self.value_of(KEY, _KEY_NAMED, {"k": key_manager, "n": name})

    def keys_in(
        self, key_manager: str, states: Collection[KeyState], after: str, limit: int, *, within: str | None = None
    ) -> tuple[Key, ...]:
        bound = {"k": key_manager, "after": after, "limit": limit, "w": within}
        found = [key for state in states for key in self.values_of(KEY, _KEYS_IN[state], bound)]
        return tuple(sorted(found, key=lambda key: key.uuid)[:limit])

    def add_key(self, key: Key) -> None:
        self.change(insert(tables.keys), columns_of(tables.keys, key) | owner_of(key.svm) | as_text(key))

    def change_key(self, key: Key, was: KeyState) -> bool:
        new = {f"new_{name}": getattr(key, name) for name in _CHANGED} | {"new_state": key.state.value}
        return self.change(_CHANGE_KEY, new | {"u": key.uuid, "was": was.value}) == 1

    def drop_key(self, key: str) -> None:
        self.change(_DROP_KEY, {"u": key})

    def drop_keys(self, key_manager: str, states: Collection[KeyState]) -> None:
        self.change(_DROP_KEYS, {"k": key_manager, "states": _values(states)})

    def drop_keys_of_svm(self, svm_uuid: str, states: Collection[KeyState]) -> None:
        self.change(_DROP_KEYS_OF_SVM, {"s": svm_uuid, "states": _values(states)})

    def keys_adopting(self, name: str) -> tuple[Key, ...]:
        return self.values_of(KEY, _ADOPTERS, {"n": name})

    def attempts(self, keys: Collection[str]) -> tuple[Attempt, ...]:
        return self.all(_ATTEMPTS, {"keys": list(keys)}, _attempt)

    def expired_attempts(self, now: datetime, ahead: datetime, limit: int) -> tuple[Attempt, ...]:
        return self.all(_EXPIRED, {"now": now, "ahead": ahead, "limit": limit}, _attempt)

    def add_attempt(self, attempt: Attempt) -> None:
        row = columns_of(tables.key_attempts, attempt)
        known = {"purpose": attempt.purpose.value, "state": attempt.state.value, "expired": int(attempt.expired)}
        self.change(insert(tables.key_attempts), row | known)

    def drop_attempt(self, key: str, number: int) -> None:
        self.change(_DROP_ATTEMPT, {"k": key, "n": number})

    def orphan_attempt(self, key: str, number: int) -> None:
        self.change(_ORPHAN_ATTEMPT, {"k": key, "n": number})

    def end_attempt(self, attempt: Attempt, state: AttemptState, *, expired: bool = False) -> bool:
        bound = {"k": attempt.key, "n": attempt.number, "t": attempt.token, "ended": state.value, "late": int(expired)}
        return self.change(_END_ATTEMPT, bound) == 1

    def aborted_copies(self, key_manager: str, incarnation: str, after: str, limit: int) -> tuple[Copy, ...]:
        bound = {"k": key_manager, "i": incarnation, "after": after, "limit": limit}
        return self.all(_ABORTED_COPIES, bound, copy_of)

    def open_copies(
        self, key_server: str, after: str, limit: int, *, inactive: bool, undescribed: bool
    ) -> tuple[Copy, ...]:
        bound = {"s": key_server, "after": after, "limit": limit}
        wanted = ["unsettled", *["inactive"] * inactive, *["undescribed"] * undescribed]
        found = {copy for what in wanted for copy in self.all(_OPEN_COPIES[what], bound, copy_of)}
        return tuple(sorted(found, key=_place)[:limit])

    def copies(self, keys: Collection[str]) -> tuple[Copy, ...]:
        return self.all(_COPIES, {"keys": list(keys)}, copy_of)

    def copies_not_aborted(self, keys: Collection[str]) -> tuple[Copy, ...]:
        return self.all(_STANDING_COPIES, {"keys": list(keys)}, copy_of)

    def copies_on(self, key_server: str, after: str, limit: int) -> tuple[Copy, ...]:
        return self.all(_COPIES_ON, {"s": key_server, "after": after, "limit": limit}, copy_of)

    def put_copies(self, copies: Sequence[Copy], *, new: bool) -> None:
        rows = [row_of(copy) for copy in copies]
        if rows and new:
            self.change(insert(tables.key_copies), rows)
        elif rows:
            self.change(_CHANGE_COPY, [{_WHERE.get(name, name): value for name, value in row.items()} for row in rows])

    def keys_written_to(self, key_server: str) -> tuple[Key, ...]:
        return self.values_of(KEY, _WRITTEN_TO, {"s": key_server})

    def abandon_copies(self, receipt: Receipt) -> None:
        each = {f"the_{name}": getattr(receipt, name) for name in _OF_A_RECEIPT}
        self.change(_ORPHAN_ATTEMPTS_ON, {"s": receipt.key_server})
        self.change(_ADD_ABANDONED_RECEIPTS, each | {"s": receipt.key_server})
        self.change(_END_COPIES, {"s": receipt.key_server})

    def add_receipts(self, receipts: Sequence[Receipt]) -> None:
        rows = [columns_of(tables.key_receipts, receipt) for receipt in receipts]
        new = [row for row in rows if not self.all(_RECEIPT, row, lambda found: found)]
        if new:
            self.change(insert(tables.key_receipts), new)

    def receipts(self, keys: Collection[str]) -> tuple[Receipt, ...]:
        return self.all(_RECEIPTS, {"keys": list(keys)}, lambda row: Receipt(**row._mapping))  # noqa: SLF001 - public


def _place(copy: Copy) -> tuple[str, int, str, str]:
    return copy.key, copy.attempt, copy.key_server, copy.host


def _values(states: Collection[KeyState]) -> list[str]:
    return [state.value for state in states]


def as_text(key: Key) -> Parameters:
    """Return the columns of a key that hold a word or a flag."""
    return {"key_type": key.key_type.value, "state": key.state.value, "overdue": int(key.overdue)}


def _attempt(row: Row[Any]) -> Attempt:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    known = {"purpose": Purpose(row.purpose), "state": AttemptState(row.state), "expired": bool(row.expired)}
    return Attempt(**values | known)


def copy_of(row: Row[Any]) -> Copy:
    """Return the copy of a row."""
    values = dict(row._mapping)  # noqa: SLF001 - as above
    known = {"presence": Presence(row.presence), "unique_identifiers": tuple(json.loads(row.unique_identifiers))}
    return Copy(**values | known)


def row_of(copy: Copy) -> Parameters:
    """Return the row of a copy."""
    row = columns_of(tables.key_copies, copy)
    return row | {"presence": copy.presence.value, "unique_identifiers": json.dumps(copy.unique_identifiers)}
