"""The resolver: from a host name to checked socket addresses. Only addresses that were checked are connected to.

A call of ``getaddrinfo`` has no deadline and cannot be cancelled. So each lookup runs in its own daemon thread, and the
number of lookups is bounded. A hanging resolver delays neither the caller's deadline nor the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from keystead.keyservers.own_addresses import is_own
from keystead.kmip.transport.connect import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystead.keyservers.egress import EgressRules, IPAddress, Rule

LOOKUPS: Final = 32
"""The most lookups at a time. A hanging lookup counts until the system's resolver gives up (seconds to a minute)."""

Answer = list[tuple[int, int, int, str, tuple[Any, ...]]]


class NameNotResolvedError(Exception):
    """No address is known for the host: no such name, a temporary failure, or a name that DNS cannot carry."""


class AddressNotAllowedError(Exception):
    """At least one of the host's addresses is refused by the egress rules. ``rule`` is the rule that refuses it."""

    def __init__(self, address: str, rule: Rule) -> None:
        super().__init__(f"{address}: {rule.word}")
        self.rule = rule


class Resolver:
    """A resolver of host names outside the event loop, which checks every address. It belongs to one event loop."""

    def __init__(
        self,
        rules: EgressRules,
        *,
        lookups: int = LOOKUPS,
        getaddrinfo: Callable[..., Answer] = socket.getaddrinfo,  # type: ignore[assignment]
        is_own: Callable[[IPAddress], bool] = is_own,
    ) -> None:
        self._rules = rules
        self._places = asyncio.Semaphore(lookups)
        self._getaddrinfo = getaddrinfo
        self._is_own = is_own

    async def look_up(self, host: str, port: int) -> tuple[Address, ...]:
        """Return all addresses of ``host``, in the system's order. Call :meth:`check` before you use any of them.

        Raises:
            NameNotResolvedError.
        """
        addresses = _literal(host, port) or await self._ask(host, port)
        if not addresses:
            raise NameNotResolvedError
        return addresses

    def check(self, addresses: Sequence[Address], *, new: bool = False) -> None:
        """Raise AddressNotAllowedError if one of the addresses is forbidden, even if others are allowed.

        ``new``: the host is not stored yet as a key server, so it may not be this host either.
        """
        for address in addresses:
            text = address.sockaddr[0]
            rule = self._rules.refusal(text, self._is_own) if new else self._rules.refusal(text)
            if rule is not None:
                raise AddressNotAllowedError(text, rule)

    async def _ask(self, host: str, port: int) -> tuple[Address, ...]:
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def report(answer: Answer | None, error: Exception | None) -> None:
            self._places.release()
            if answered.done():  # the caller gave up
                return
            if answer is not None:
                answered.set_result(answer)
            else:
                answered.set_exception(error or NameNotResolvedError())

        def work() -> None:
            answer, failure = None, None
            try:
                answer = self._getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:  # UnicodeError: a label is empty or too long
                failure = NameNotResolvedError()
                failure.__cause__ = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(report, answer, failure)

        threading.Thread(target=work, name="resolve", daemon=True).start()
        answer = await answered
        return tuple(
            dict.fromkeys(
                Address(family, sockaddr)
                for family, _, _, _, sockaddr in answer
                if family in {socket.AF_INET, socket.AF_INET6}
            )
        )


def _literal(host: str, port: int) -> tuple[Address, ...]:
    """Return the socket address of a host that is written as an IP address. Empty if it is a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ()
    if address.version == 4:
        return (Address(socket.AF_INET, (str(address), port)),)
    return (Address(socket.AF_INET6, (str(address), port, 0, 0)),)
