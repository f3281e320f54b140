"""The sending of messages: syslog over one connection for a batch, webhooks one request after the other.

A frame of syslog is the length in octets, a blank and the message (RFC 5425 section 4.3, RFC 6587 section 3.4.1). A
webhook has taken a message when it answers with a status from 200 to 299. Redirects are not followed, because the
administrator chose the host that may read the messages.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import h11

from keystead import __version__
from keystead.core.server_address import ServerAddress
from keystead.service.ports.forwarding import Undelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from keystead.service.ports.forwarding import Endpoint

SEND_S: Final = 30.0
"""Seconds in which a syslog server must take a batch."""

ANSWER_S: Final = 10.0
"""Seconds in which a webhook must answer a request."""

_HEAD_LIMIT: Final = 16 * 1024


class Outlet(Protocol):
    """One open connection."""

    async def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        ...

    async def receive(self) -> bytes:
        """Wait for data, and return some; ``b""`` at the end."""
        ...

    async def finish(self) -> None:
        """Return when the peer has taken everything."""
        ...


class NetworkSender:
    """Implements :class:`keystead.service.ports.forwarding.Sender`. What fails in ``open_`` raises Undelivered."""

    def __init__(self, open_: Callable[[Endpoint], AbstractAsyncContextManager[Outlet]]) -> None:
        self._open = open_

    async def send(self, endpoint: Endpoint, messages: Sequence[bytes]) -> None:
        """Send messages in order, and return when the server has taken all of them. Raises Undelivered."""
        if not endpoint.path:
            async with self._open(endpoint) as outlet, asyncio.timeout(SEND_S):
                await outlet.send(b"".join(b"%d %b" % (len(each), each) for each in messages))
                await outlet.finish()
            return
        for count, message in enumerate(messages):
            try:
                await self._post(endpoint, message)
            except Undelivered as failure:
                raise Undelivered(failure.reason, count) from None

    async def _post(self, endpoint: Endpoint, message: bytes) -> None:
        async with self._open(endpoint) as outlet, asyncio.timeout(ANSWER_S):
            try:
                status = await _status(outlet, endpoint, message)
            except h11.RemoteProtocolError:
                raise Undelivered("its answer is not HTTP, or not complete") from None
        if not 200 <= status < 300:
            raise Undelivered(f"it answers HTTP {status}")


async def _status(outlet: Outlet, endpoint: Endpoint, message: bytes) -> int:
    """Send a request, and return the status of its answer."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_LIMIT)
    headers = [
        ("Host", str(ServerAddress(endpoint.host, endpoint.port))),
        ("User-Agent", f"keystead/{__version__}"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(message))),
        ("Connection", "close"),
    ]
    request = h11.Request(method="POST", target=endpoint.path, headers=headers)
    parts = [connection.send(part) for part in (request, h11.Data(data=message), h11.EndOfMessage())]
    await outlet.send(b"".join(part for part in parts if part))
    while not isinstance(event := connection.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            connection.receive_data(await outlet.receive())
    return event.status_code
