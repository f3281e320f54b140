"""A process that adds key servers to key managers as fast as it can: ``adding.py URL NAME START ROUNDS``."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from keystead.core.model import KeyServer
from keystead.core.server_address import ServerAddress
from keystead.store import open_store

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction

FULL, EXISTS, ADDED = "full", "exists", "added"


def add(tx: Transaction, manager: str, host: str, uuid: str) -> str:
    """Add one server unless there are four, or this one is there: what a use case does, without its rules."""
    assert tx.key_manager(manager, lock=True) is not None
    servers = tx.key_servers(manager)
    if any(server.address == ServerAddress(host, 5696) for server in servers):
        return EXISTS
    if len(servers) >= 4:
        return FULL
    position = max((server.position for server in servers), default=0) + 1
    tx.add_key_servers([KeyServer(uuid, manager, position, ServerAddress(host, 5696), 25, 10, "", ("secondary",))])
    return ADDED


async def main(url: str, name: str, start: float, rounds: int) -> None:
    """Print what came of each attempt: two servers of our own, two that the other process adds too."""
    store = open_store(url)
    await asyncio.sleep(max(0.0, start - time.time()))
    outcomes = []
    for number in range(rounds):
        manager = f"km-{number}"
        for host in ("shared1", f"{name}-1", "SHARED2", f"{name}-2"):
            uuid = f"{manager} {name} {host}"
            outcomes.append(await store.write(partial(add, manager=manager, host=host, uuid=uuid)))
    await store.close()
    print(*outcomes)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
