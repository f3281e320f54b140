"""TLS sessions kept for resumption: bounded in age and number, and never moved from one peer or identity to another.

Resuming verifies nothing again: a certificate revoked or an authority removed meanwhile goes unnoticed. So a session
counts from the last *full* handshake, however often resuming renewed it, and stays with the address, the server name
and the SSLContext (our identity, and the authorities that we trust) that it was made with. Who proves something, as a
probe does, uses none. No I/O here; one thread uses it. RFC 5246 section 7.3, RFC 8446 section 2.2.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

AGE_S: Final = 600.0
"""Seconds after a full handshake for which its session may be resumed."""

SESSIONS: Final = 1024
"""Sessions kept: a few KiB each."""


class Key(NamedTuple):
    """What a session belongs to: the socket's peer address, the name checked in its certificate, and the context."""

    address: Any
    server_name: str | None
    context: ssl.SSLContext


class Session(NamedTuple):
    """A session and when (by the cache's clock) its full handshake was; without one, the peer is *barred* till then."""

    session: ssl.SSLSession | None
    began: float


class Sessions:
    """The cache. ``age_s`` is in seconds; ``clock`` gives seconds that never go back.

    A peer with which resuming failed is barred, that is not offered a session again, for ``age_s``: otherwise every
    other connection to a server that cannot resume would fail.
    """

    def __init__(
        self, *, age_s: float = AGE_S, limit: int = SESSIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._age_s = age_s
        self._limit = limit
        self._clock = clock
        self._kept: OrderedDict[Key, Session] = OrderedDict()  # oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key) -> Session | None:
        """Return what may be offered to that peer."""
        self._forget_old()
        kept = self._kept.get(key)
        return kept if kept is not None and kept.session is not None else None

    def keep(self, key: Key, session: ssl.SSLSession) -> None:
        """Keep the session of a full handshake that ended just now, unless the peer is barred."""
        self._forget_old()
        kept = self._kept.get(key)
        if kept is None or kept.session is not None:
            self._put(key, session)

    def renew(self, key: Key, offered: Session, session: ssl.SSLSession) -> None:
        """Replace a session by the one that resuming it gave; it keeps its age. Nothing, if it was dropped since."""
        kept = self._kept.get(key)
        if kept is not None and kept.session is not None and kept.began == offered.began:
            self._kept[key] = Session(session, offered.began)

    def drop(self, key: Key) -> None:
        """Forget a session after any failure of its peer."""
        kept = self._kept.get(key)
        if kept is not None and kept.session is not None:
            del self._kept[key]

    def bar(self, key: Key) -> None:
        """Forget a session whose resumption failed, and keep none of that peer for ``age_s``."""
        self._put(key, None)

    def clear(self) -> None:
        """Forget everything, as when credentials or authorities were changed."""
        self._kept.clear()

    def _put(self, key: Key, session: ssl.SSLSession | None) -> None:
        self._kept[key] = Session(session, self._clock())
        self._kept.move_to_end(key)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def _forget_old(self) -> None:
        old = self._clock() - self._age_s
        while self._kept and next(iter(self._kept.values())).began <= old:
            self._kept.popitem(last=False)


class Attempt:
    """One connection's part: the session that it offers, and what becomes of it."""

    __slots__ = ("_key", "_sessions", "offered")

    def __init__(self, sessions: Sessions, key: Key) -> None:
        self._sessions = sessions
        self._key = key
        self.offered = sessions.find(key)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What to hand to OpenSSL."""
        return self.offered.session if self.offered is not None else None

    def answered(self, tls: ssl.SSLObject) -> None:
        """Keep the session: the peer has sent application data, and with TLS 1.3 its tickets come before that."""
        session = tls.session
        if session is None or not (session.has_ticket or (session.id and tls.version() == "TLSv1.2")):
            return
        if self.offered is not None and tls.session_reused:
            self._sessions.renew(self._key, self.offered, session)
        else:
            self._sessions.keep(self._key, session)

    def failed(self, *, resuming: bool) -> None:
        """Note a failure of the connection; ``resuming`` says that the session offered may be the cause."""
        (self._sessions.bar if resuming else self._sessions.drop)(self._key)
