"""Rows of the console's sessions, as a transaction reads and writes them."""

# ruff: noqa: D102, SLF001 - the port documents the methods; Row._mapping is SQLAlchemy's public name
from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, or_, select

from keystead.core.sessions import Session
from keystead.store import tables
from keystead.store.statements import Statements, columns_of, storing

if TYPE_CHECKING:
    from datetime import datetime

_sessions = tables.sessions.c
_ALL = select(tables.sessions).order_by(_sessions.began.desc(), _sessions.digest)
_OF_ACCOUNT = _ALL.where(_sessions.account == bindparam("a"))
_ONE = select(tables.sessions).where(_sessions.digest == bindparam("d"))
_PUT = storing(tables.sessions, "digest")
_DELETE = delete(tables.sessions).where(_sessions.digest == bindparam("d"))
_DELETE_OLD = delete(tables.sessions).where(
    or_(_sessions.began < bindparam("the_began"), _sessions.used < bindparam("the_used"))
)


class SessionRows(Statements):
    """The rows of the console's sessions."""

    def session(self, digest: str) -> Session | None:
        return self.one(_ONE, {"d": digest}, lambda row: Session(**row._mapping))

    def sessions(self, account: str | None = None) -> tuple[Session, ...]:
        statement, values = (_ALL, {}) if account is None else (_OF_ACCOUNT, {"a": account})
        return self.all(statement, values, lambda row: Session(**row._mapping))

    def put_session(self, session: Session) -> None:
        self.store(_PUT, columns_of(tables.sessions, session))

    def delete_session(self, digest: str) -> None:
        self.change(_DELETE, {"d": digest})

    def delete_old_sessions(self, began: datetime, used: datetime) -> None:
        self.change(_DELETE_OLD, {"the_began": began, "the_used": used})
