"""TLS sessions that are kept for resumption: bounded in age and number, and bound to one peer and one identity.

Resuming does not verify the peer again. So it misses a certificate that was revoked, or an authority that was removed.
Therefore a session's age counts from its last *full* handshake, even if resuming renewed the session. A session stays
bound to the address, the server name and the SSLContext (our identity and our trusted authorities).

A caller that wants a proof, such as a probe, resumes no session. No I/O here. It is for one thread. RFC 5246 section
7.3, RFC 8446 section 2.2.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

AGE_S: Final = 600.0
"""Seconds after a full handshake in which its session may be resumed."""

SESSIONS: Final = 1024
"""The most sessions that are kept. Each takes a few KiB."""


class Key(NamedTuple):
    """The owner of a session: the socket's peer address, the name checked in its certificate, and the context."""

    address: Any
    server_name: str | None
    context: ssl.SSLContext


class Session(NamedTuple):
    """A session and the time of its full handshake, by the cache's clock.

    Without a session, the peer is *barred* since that time.
    """

    session: ssl.SSLSession | None
    began: float


class Sessions:
    """The cache of sessions. ``age_s`` is in seconds; ``clock`` returns seconds of a monotonic clock.

    A peer with which resuming failed is barred: it is offered no session for ``age_s``. Otherwise every other
    connection to a server that cannot resume would fail.
    """

    def __init__(
        self, *, age_s: float = AGE_S, limit: int = SESSIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._age_s = age_s
        self._limit = limit
        self._clock = clock
        self._kept: OrderedDict[Key, Session] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key) -> Session | None:
        """Return the session that may be offered to the peer, or None."""
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
        """Replace a session by the one from its resumption, with the same age. Do nothing if it was dropped since."""
        kept = self._kept.get(key)
        if kept is not None and kept.session is not None and kept.began == offered.began:
            self._kept[key] = Session(session, offered.began)

    def drop(self, key: Key) -> None:
        """Forget the session of a peer after a failure."""
        kept = self._kept.get(key)
        if kept is not None and kept.session is not None:
            del self._kept[key]

    def bar(self, key: Key) -> None:
        """Forget a session whose resumption failed, and keep no session of that peer for ``age_s``."""
        self._put(key, None)

    def clear(self) -> None:
        """Forget everything, as after a change of credentials or authorities."""
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


def session_of(tls: ssl.SSLObject) -> ssl.SSLSession | None:
    """Return the session of a connection, or None if there is none.

    None, too, for a session that OpenSSL cannot encode, because the peer's certificate has more than 64 KiB.
    """
    try:
        return tls.session
    except ValueError:
        return None


class Attempt:
    """One connection's use of the cache: the session that it offers, and what to keep of it."""

    __slots__ = ("_key", "_sessions", "offered")

    def __init__(self, sessions: Sessions, key: Key) -> None:
        self._sessions = sessions
        self._key = key
        self.offered = sessions.find(key)

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session for OpenSSL, or None."""
        return self.offered.session if self.offered is not None else None

    def answered(self, tls: ssl.SSLObject) -> None:
        """Keep the session if it can be resumed, because the peer has sent application data.

        In TLS 1.3 the tickets come before that data.
        """
        session = session_of(tls)
        if session is None or not (session.has_ticket or (session.id and tls.version() == "TLSv1.2")):
            return
        if self.offered is not None and tls.session_reused:
            self._sessions.renew(self._key, self.offered, session)
        else:
            self._sessions.keep(self._key, session)

    def failed(self, *, resuming: bool) -> None:
        """Note a failure of the connection. ``resuming`` says that the offered session may be the cause."""
        (self._sessions.bar if resuming else self._sessions.drop)(self._key)
