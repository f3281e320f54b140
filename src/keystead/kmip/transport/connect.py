"""A TCP connection to the first of several addresses that answers (RFC 8305, "Happy Eyeballs").

It does not resolve names: the caller gives resolved and checked addresses. It has no time-outs: the caller sets
deadlines (``asyncio.timeout``). A cancelled call leaves no socket open.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keystead.kmip.ttlv.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Address:
    """A resolved and checked socket address: an address family, and the argument of ``socket.connect`` for it."""

    family: int
    sockaddr: tuple[Any, ...]


async def connect_tcp(addresses: Sequence[Address], *, stagger: float = 0.25) -> socket.socket:
    """Connect to the first address that answers and return its non-blocking socket (RFC 8305, section 5).

    Try a further address every ``stagger`` seconds, or as soon as an attempt fails. Earlier attempts go on.

    Raises:
        TransportError: phase "connect"; its cause is the most informative failure (refused before unreachable).
    """
    if not addresses:
        raise TransportError("connect", "no address to connect to")
    try:
        if len(addresses) == 1:
            return await _connect_one(addresses[0])
        return await _connect_staggered(list(addresses), stagger)
    except OSError as error:
        raise TransportError("connect", "no address accepted a connection") from error


async def _connect_one(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_staggered(waiting: list[Address], stagger: float) -> socket.socket:
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_connect_one(waiting.pop(0))))
            ended, _ = await asyncio.wait(
                running, timeout=stagger if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in ended:
                running.discard(attempt)
                if (error := attempt.exception()) is None:
                    return attempt.result()
                if not isinstance(error, OSError):
                    raise error
                failures.append(error)
    finally:
        for attempt in running:
            attempt.add_done_callback(_close_late)
            attempt.cancel()
    raise min(failures, key=_rank)


def _close_late(attempt: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that succeeded after another address had won."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def _rank(error: OSError) -> int:
    """Rank a failed attempt: a refusal says more than no route, and no route says more than a time-out."""
    return {errno.ECONNREFUSED: 0, errno.ETIMEDOUT: 2}.get(error.errno or 0, 1)
