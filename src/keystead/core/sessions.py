"""The rules of the console's sessions: how long one lasts, what ends it, and when a password must be asked again. Pure.

The browser holds a token. The database holds only its digest, so that a copy of the database opens no page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from keystead.core.model import Account

IDLE: Final = timedelta(minutes=30)
"""How long a session lasts without a page that somebody asked for. Polls of an open page do not count."""

LIFETIME: Final = timedelta(hours=12)
"""How long a session lasts at most."""

NOTED_EVERY: Final = timedelta(minutes=1)
"""How often the time of the last use is stored."""

CONFIRMED_FOR: Final = timedelta(minutes=5)
"""How long the password is not asked again before what destroys."""


@dataclass(frozen=True, slots=True)
class Session:
    """A login to the console. ``digest`` is that of its token, and names the session.

    ``account_version`` is the version of the account's row at the login: any change of the account ends the session.
    ``authority`` is the CA (uuid) that vouched for a login by certificate, else empty. ``location`` is the address of
    the browser. ``confirmed`` is when the password was last shown, None after a login by certificate.
    """

    digest: str
    account: str
    account_version: int
    authority: str
    location: str
    began: datetime
    used: datetime
    confirmed: datetime | None


def digest_of(token: str) -> str:
    """Return the digest (SHA-256, hexadecimal) of a token. A token is random, so it needs no slow hash."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def is_valid(session: Session, account: Account | None, now: datetime) -> bool:
    """Return True if a session still opens pages. ``account`` is as it is now, None if it was deleted."""
    unchanged = account is not None and account.version == session.account_version and not account.locked
    return unchanged and now < ends_at(session)


def ends_at(session: Session) -> datetime:
    """Return when the session ends unless it is used before."""
    return min(session.used + IDLE, session.began + LIFETIME)


def is_to_be_noted(session: Session, now: datetime) -> bool:
    """Return True if the use of a session at ``now`` is to be stored."""
    return now >= session.used + NOTED_EVERY


def is_confirmed(session: Session, now: datetime) -> bool:
    """Return True if the password was shown so lately that it is not asked again."""
    return session.confirmed is not None and now < session.confirmed + CONFIRMED_FOR
