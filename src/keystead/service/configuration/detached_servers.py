"""Use cases of detached key servers: they are given up. A detached key server was removed while copies were on it.

The copies there are not destroyed, and nobody asks for them again. No key in use is lost: copies elsewhere must be
proven, as for the removal of a server.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.destroying import ABANDONED
from keystead.core.keys.guarding import Removal, RemovalFindings, sole_copy
from keystead.core.keys.model import Receipt
from keystead.service.cluster.svms import about_svm
from keystead.service.loading import incarnation_of, require_key_manager
from keystead.service.ports.cluster import AuditRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import (
    AttemptRows,
    CopyRows,
    DetachedRows,
    KeyRows,
    ReceiptRows,
    RemovalRows,
    TopologyRows,
)
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.server_address import ServerAddress
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.guarding.removal import RemovalGuard

GIVE_UP_S: Final = 40.0
"""Seconds for which a call may prove again what others change meanwhile."""


class Rows(
    TopologyRows,
    KeyManagerRows,
    AuditRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReceiptRows,
    RemovalRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class DetachedKeyServers:
    """The giving up of detached key servers."""

    def __init__(self, context: KeeperContext, guard: RemovalGuard, audit: AuditLog) -> None:
        self._context = context
        self._guard = guard
        self._audit = audit

    async def give_up(self, call: Call, key_manager: str, address: ServerAddress) -> None:
        """End every copy on a detached key server with a receipt ``abandoned``, and forget the server.

        Raises 4 (404) if there is no such server. Raises 65536700 if a key in use has no copy elsewhere that can be
        proven, or is being written to the server.
        """
        ends = asyncio.get_running_loop().time() + GIVE_UP_S
        while True:
            manager, servers = await self._context.store.read(lambda tx: _detached(tx, call, key_manager, address))
            with about_svm(manager.svm):
                found = {each.uuid: await self._guard.prove(call, Removal(manager, each), ends) for each in servers}
                work = partial(self._give_up, call=call, key_manager=key_manager, address=address, found=found)
                if await self._context.store.write(work):
                    return
                check_left(ends)

    def _give_up(
        self,
        tx: Rows,
        call: Call,
        key_manager: str,
        address: ServerAddress,
        found: Mapping[str, RemovalFindings],
    ) -> bool:
        """Give up the servers stored under an address. Return False if a proof does not hold any more."""
        manager, servers = _detached(tx, call, key_manager, address, lock=True)
        for server in servers:
            if not self._guard.check(tx, Removal(manager, server), found.get(server.uuid, RemovalFindings())):
                return False
            if written := tx.keys_written_to(server.uuid):
                raise sole_copy(written)
            now, incarnation = self._context.clock.now(), incarnation_of(tx).uuid
            tx.abandon_copies(Receipt("", 0, server.uuid, "", "", ABANDONED, now, incarnation, self._context.node))
            tx.delete_detached_key_server(server.uuid)
            tx.delete_profile(server.uuid)
            self._audit.succeed(tx, call, f"gave up removed key server {server.address}", svm=manager.svm)
        return True


def _detached(
    tx: Rows, call: Call, key_manager: str, address: ServerAddress, *, lock: bool = False
) -> tuple[KeyManager, list[KeyServer]]:
    """Return a key manager and its detached servers with this address.

    A server that was removed several times is several servers. Raises 4 (404) if there is none.
    """
    manager = require_key_manager(tx, call, key_manager, lock=lock)
    servers = [each.server for each in tx.detached_key_servers(manager.uuid) if each.server.address == address]
    if not servers:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
    return manager, servers
