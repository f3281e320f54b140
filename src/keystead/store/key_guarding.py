"""Rows of keys that a removal or a relocation puts at risk. The database finds them, because they are few of many."""

# ruff: noqa: D102 - the port documents the methods
from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, case, delete, distinct, exists, func, or_, select, update

from keystead.core.key_servers import MAX_PRIMARIES
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.keys.proving import ENOUGH, PROOF_AGE, ProvingAttempt
from keystead.store import tables
from keystead.store.keys import copy_of, row_of
from keystead.store.statements import Statements, columns_of, storing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy
    from keystead.core.keys.proving import NeededProofs
    from keystead.store.statements import Parameters

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
_PROVEN_ELSEWHERE = (
    _copies.key == _keys.uuid,
    _copies.host == "",
    _copies.presence == Presence.PRESENT.value,
    _ATTEMPT_NOT_ABORTED,
)
_STAY = [_copies.key_server.in_(bindparam(f"stay_{number}", expanding=True)) for number in range(MAX_PRIMARIES)]
_IN_DOMAIN = case(*((servers, number) for number, servers in enumerate(_STAY)))
_DOMAINS_PROVEN = (
    select(func.count(distinct(_IN_DOMAIN)))
    .where(
        *_PROVEN_ELSEWHERE,
        or_(*_STAY),
        _copies.proven.between(bindparam("attempt_since"), bindparam("attempt_until")),
    )
    .correlate(tables.keys)
    .scalar_subquery()
)
_AT_RISK = (
    _keys.key_manager == bindparam("k"),
    _IS_KEPT,
    exists()
    .where(
        _copies.key == _keys.uuid,
        _copies.key_server.in_(bindparam("going", expanding=True)),
        _copies.presence != Presence.DESTROYED.value,
    )
    .correlate(tables.keys),
    ~exists()
    .where(
        *_PROVEN_ELSEWHERE,
        or_(*_STAY),
        _copies.proven.between(bindparam("fresh_since"), bindparam("fresh_until")),
    )
    .correlate(tables.keys),
    _DOMAINS_PROVEN < ENOUGH,
)
_KEYS_AT_RISK = (
    select(_keys.uuid).where(*_AT_RISK, _keys.uuid > bindparam("after")).order_by(_keys.uuid).limit(bindparam("limit"))
)
_COUNT_AT_RISK = select(func.count().label("number")).select_from(tables.keys).where(*_AT_RISK)
_attempt = tables.proving_attempts.c
_PROVING_ATTEMPT = select(tables.proving_attempts).where(_attempt.what == bindparam("w"))
_PUT_PROVING_ATTEMPT = storing(tables.proving_attempts, "what")
_FORGET_PROVING_ATTEMPTS = delete(tables.proving_attempts).where(_attempt.touched <= bindparam("before"))
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
        stay: Sequence[Collection[str]],
        needed: NeededProofs,
        after: str,
        limit: int,
    ) -> tuple[str, ...]:
        bound = _at_risk(key_manager, going, stay, needed) | {"after": after, "limit": limit}
        return self.all(_KEYS_AT_RISK, bound, lambda row: str(row.uuid))

    def count_at_risk(
        self, key_manager: str, going: Collection[str], stay: Sequence[Collection[str]], needed: NeededProofs
    ) -> int:
        bound = _at_risk(key_manager, going, stay, needed)
        return self.one(_COUNT_AT_RISK, bound, lambda row: int(row.number)) or 0

    def proving_attempt(self, what: str) -> ProvingAttempt | None:
        return self.one(
            _PROVING_ATTEMPT,
            {"w": what},
            lambda row: ProvingAttempt(row.what, row.key_manager, row.began, row.touched),
        )

    def put_proving_attempt(self, attempt: ProvingAttempt) -> None:
        self.change(_FORGET_PROVING_ATTEMPTS, {"before": attempt.touched - PROOF_AGE})
        self.store(_PUT_PROVING_ATTEMPT, columns_of(tables.proving_attempts, attempt))

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


def _at_risk(
    key_manager: str, going: Collection[str], stay: Sequence[Collection[str]], needed: NeededProofs
) -> Parameters:
    """Return what the statements about keys at risk are asked with."""
    domains = [*map(list, stay), *([[]] * MAX_PRIMARIES)]
    fresh, attempt = needed.fresh, needed.attempt
    return {
        **{f"stay_{number}": domains[number] for number in range(MAX_PRIMARIES)},
        "k": key_manager,
        "going": list(going),
        "fresh_since": fresh.since,
        "fresh_until": fresh.until,
        "attempt_since": attempt.since,
        "attempt_until": attempt.until,
    }
