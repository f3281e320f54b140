"""Rows of keys that a removal or a relocation puts at risk. The database finds them, because they are few of many."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, exists, select, update

from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import AttemptState, Presence
from keystead.store import tables
from keystead.store.keys import copy_of, row_of
from keystead.store.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from keystead.core.keys.guarding import Period
    from keystead.core.keys.model import Copy

_keys = tables.keys.c
_attempts = tables.key_attempts.c
_copies = tables.key_copies.c

_IS_KEPT = _keys.state.in_([state.value for state in KEPT_STATES])
_ATTEMPT_NOT_ABORTED = (
    exists()
    .where(
        _attempts.key == _copies.key,
        _attempts.number == _copies.attempt,
        _attempts.state != AttemptState.ABORTED.value,
    )
    .correlate(tables.key_copies)
)
_KEYS_AT_RISK = (
    select(_keys.uuid)
    .where(
        _keys.key_manager == bindparam("k"),
        _IS_KEPT,
        _keys.uuid > bindparam("after"),
        exists()
        .where(
            _copies.key == _keys.uuid,
            _copies.key_server.in_(bindparam("going", expanding=True)),
            _copies.presence != Presence.DESTROYED.value,
        )
        .correlate(tables.keys),
        ~exists()
        .where(
            _copies.key == _keys.uuid,
            _copies.key_server.in_(bindparam("stay", expanding=True)),
            _copies.host == "",
            _copies.presence == Presence.PRESENT.value,
            _copies.proven.between(bindparam("since"), bindparam("until")),
            _ATTEMPT_NOT_ABORTED,
        )
        .correlate(tables.keys),
    )
    .order_by(_keys.uuid)
    .limit(bindparam("limit"))
)
_PROVEN_COPIES = (
    select(tables.key_copies)
    .join(tables.keys, _keys.uuid == _copies.key)
    .where(
        _keys.key_manager == bindparam("k"),
        _IS_KEPT,
        _copies.presence == Presence.PRESENT.value,
        _copies.proven >= bindparam("since"),
        _ATTEMPT_NOT_ABORTED,
    )
    .order_by(_copies.key, _copies.attempt, _copies.key_server, _copies.host)
)
_NOTE_PROVEN = (
    update(tables.key_copies)
    .where(
        _copies.key == bindparam("the_key"),
        _copies.attempt == bindparam("the_attempt"),
        _copies.key_server == bindparam("the_server"),
        _copies.host == bindparam("the_host"),
        _copies.presence == Presence.PRESENT.value,
        _copies.unique_identifiers == bindparam("ids"),
    )
    .values(proven=bindparam("time"))
)
_PRESENT_ON = (_copies.key_server == bindparam("s"), _copies.presence == Presence.PRESENT.value)
_LOCK_KEYS_ON = (
    select(_keys.uuid)
    .where(_keys.uuid.in_(select(_copies.key).where(_copies.key_server == bindparam("s"))))
    .order_by(_keys.uuid)
    .with_for_update()
)
_DOUBT_COPIES = update(tables.key_copies).where(*_PRESENT_ON).values(presence=Presence.UNKNOWN.value)


class KeyRemovalRows(Statements):
    """The rows of keys at risk and of proven copies."""

    def keys_at_risk(
        self,
        key_manager: str,
        going: Collection[str],
        stay: Collection[str],
        period: Period,
        after: str,
        limit: int,
    ) -> tuple[str, ...]:
        servers = {"going": list(going), "stay": list(stay)}
        bound = servers | {"k": key_manager, "since": period.since, "until": period.until}
        return self.all(_KEYS_AT_RISK, bound | {"after": after, "limit": limit}, lambda row: str(row.uuid))

    def note_proven(self, copies: Sequence[Copy], time: datetime) -> None:
        rows = [
            {
                "the_key": copy.key,
                "the_attempt": copy.attempt,
                "the_server": copy.key_server,
                "the_host": copy.host,
                "ids": row_of(copy)["unique_identifiers"],
                "time": time,
            }
            for copy in copies
        ]
        if rows:
            self.change(_NOTE_PROVEN, rows)

    def doubt_copies(self, key_server: str) -> None:
        if self.row_locks:
            self.all(_LOCK_KEYS_ON, {"s": key_server}, lambda row: str(row.uuid))
        self.change(_DOUBT_COPIES, {"s": key_server})

    def copies_proven(self, key_manager: str, since: datetime) -> tuple[Copy, ...]:
        return self.all(_PROVEN_COPIES, {"k": key_manager, "since": since}, copy_of)
