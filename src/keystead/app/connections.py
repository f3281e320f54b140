"""How many connections clients may have: in all, of one address, and a reserve for addresses that have logged in.

A connection counts from its acceptance to its end, with its handshake. IPv6 addresses count by /64, because a client
may have as many addresses of one as it likes. This module opens and closes nothing.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import structlog
from cachetools import TTLCache

from keystead.monitor.families import REFUSED
from keystead.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.settings import Settings

log = structlog.get_logger(__name__)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

KNOWN_S: Final = 900.0
"""Seconds from an address's last authenticated request in which it may use the reserve."""

KNOWN: Final = 4096
"""Most addresses that are remembered for it. The oldest go first."""

LOGGED_S: Final = 60.0
"""Seconds between two log lines about one address."""

LOGGED: Final = 1024
"""Most addresses with a log line in this time."""

OF_ADDRESS, RESERVED, IN_ALL, PROXY_HEADER = REFUSED.values
"""Why a connection is refused, as the metric says it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most connections in all, most of one address, and how many of all are the reserve."""

    in_all: int
    of_address: int
    reserved: int

    @classmethod
    def of(cls, settings: Settings, open_files: int) -> Limits:
        """Return the limits that the settings ask for.

        Connections get half of the open files at most, because key servers and the database need the rest.
        """
        in_all = max(1, min(settings.connections, open_files // 2))
        if in_all < settings.connections:
            log.warning("too few open files are allowed (ulimit -n): fewer connections than set", connections=in_all)
        of_address = max(1, in_all * settings.connections_per_address // 100)
        return cls(in_all, of_address, in_all * settings.connections_reserved // 100)


class Place:
    """A connection that counts until it leaves."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def leave(self) -> None:
        """Count the connection no more. It may be called again."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Connections:
    """The connections that clients have now. ``count_refused`` is called with the reason of each refusal."""

    def __init__(
        self, limits: Limits, count_refused: Callable[[str], None], timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._count_refused = count_refused
        self._now: Counter[str] = Counter()
        self._in_all = 0
        self._known: TTLCache[str, None] = TTLCache(KNOWN, KNOWN_S, timer=timer)
        self._logged: TTLCache[str, None] = TTLCache(LOGGED, LOGGED_S, timer=timer)

    @property
    def in_all(self) -> int:
        """The number of connections now."""
        return self._in_all

    @property
    def most(self) -> int:
        """The most connections at a time."""
        return self._limits.in_all

    def enter(self, address: str) -> Place | None:
        """Count a connection of this address. Return None if it is refused."""
        counted = counted_as(address)
        if reason := self._refusal(counted):
            self.refuse(address, reason)
            return None
        return self._place(counted)

    def enter_by_proxy(self, proxy: str) -> Place | None:
        """Count a connection whose client a proxy has yet to name. Return None if it is refused.

        Only the limit in all holds for it. Others hold once the client is named.
        """
        if self._in_all >= self._limits.in_all:
            self.refuse(proxy, IN_ALL)
            return None
        return self._place("")

    def logged_in(self, address: str) -> None:
        """Let an address use the reserve for a while, because a request of it was authenticated."""
        self._known[counted_as(address)] = None

    def refuse(self, address: str, reason: str, **details: str) -> None:
        """Count a connection that is refused, and log it if no other of its address was logged a moment ago."""
        self._count_refused(reason)
        counted = counted_as(address)
        if counted not in self._logged and len(self._logged) < LOGGED:
            self._logged[counted] = None
            log.warning("connections are refused", client=address, reason=reason, **details)

    def _refusal(self, counted: str) -> str:
        """Return why one more connection is refused; empty if it is not."""
        limits = self._limits
        if self._now[counted] >= limits.of_address:
            return OF_ADDRESS
        if self._in_all >= limits.in_all:
            return IN_ALL
        if self._in_all >= limits.in_all - limits.reserved and counted not in self._known:
            return RESERVED
        return ""

    def _place(self, counted: str) -> Place:
        self._now[counted] += 1
        self._in_all += 1

        def leave() -> None:
            self._in_all -= 1
            self._now[counted] -= 1
            if not self._now[counted]:
                del self._now[counted]

        return Place(leave)


class TrustedProxies:
    """The proxies that must name the client of each connection."""

    def __init__(self, networks: tuple[IPNetwork, ...]) -> None:
        self._networks = networks

    @classmethod
    def parse(cls, texts: tuple[str, ...]) -> TrustedProxies:
        """Read addresses and networks. Raises SettingsError."""
        try:
            return cls(tuple(map(ipaddress.ip_network, texts)))
        except ValueError as error:
            raise SettingsError(f"setting 'trusted_proxies': {error}") from None

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and any(_plain(address) in network for network in self._networks)


@lru_cache(maxsize=4096)
def counted_as(address: str) -> str:
    """Return the text under which an address is counted: the address, or its /64 for IPv6."""
    plain = _plain(address)
    return str(plain) if plain.version == 4 else str(ipaddress.IPv6Network((int(plain) >> 64 << 64, 64)))


def _plain(address: str) -> IPAddress:
    """Read an address. One of IPv4 that is mapped into IPv6, as a listener on ``::`` sees it, is of IPv4."""
    parsed = ipaddress.ip_address(address)
    return getattr(parsed, "ipv4_mapped", None) or parsed
