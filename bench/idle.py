"""Idle clients, as a process of their own: ``python -m bench.idle PORT COUNT plain|tls``.

It opens so many connections to this port of 127.0.0.1 from one address, and sends nothing. Who is closed comes again
after a while. It prints a line when all have tried once, and stays until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
import sys

SOURCE = "127.0.0.66"
AGAIN_S = 15.0
AT_ONCE = 64


async def _client(port: int, context: ssl.SSLContext | None, turn: asyncio.Semaphore, tried: asyncio.Event) -> None:
    """Be connected for ever, or try to be."""
    while True:
        with contextlib.suppress(OSError):
            writer = None
            try:
                async with turn:
                    reader, writer = await asyncio.open_connection(
                        "127.0.0.1", port, ssl=context, local_addr=(SOURCE, 0)
                    )
                tried.set()
                await reader.read()
            finally:
                tried.set()
                if writer is not None:
                    writer.close()
        await asyncio.sleep(AGAIN_S)


async def main(port: int, count: int, *, tls: bool) -> None:
    """Run the clients."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    turn, tried = asyncio.Semaphore(AT_ONCE), [asyncio.Event() for _ in range(count)]
    clients = [asyncio.create_task(_client(port, context, turn, each)) for each in tried]
    await asyncio.gather(*(each.wait() for each in tried))
    print("tried", flush=True)
    await asyncio.gather(*clients)


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), tls=sys.argv[3] == "tls"))
