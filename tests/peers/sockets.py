"""The sockets that this process has open, so that a test sees which ones stay."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for handle in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found += str(handle.readlink()).startswith("socket:")
    return found


async def expect_sockets(count: int) -> None:
    """Wait until this process has so many sockets open; raise TimeoutError after 60 s.

    A peer in this process closes its end later.
    """
    async with asyncio.timeout(60):
        while open_sockets() != count:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
