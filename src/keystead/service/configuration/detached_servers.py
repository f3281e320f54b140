"""Key servers that were removed while copies of keys are on them, and never come back: they are given up.

What is on them is not destroyed, and nobody asks for it again. No key in use is lost by it: the same must be proven
elsewhere as for the removal of a server.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.destroying import ABANDONED
from keystead.core.keys.guarding import Removal, RemovalFindings, sole_copy
from keystead.core.keys.model import Receipt
from keystead.service.cluster.svms import concerning
from keystead.service.loading import incarnation_of, require_key_manager
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.server_address import ServerAddress
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.guarding.removal import RemovalGuard
    from keystead.service.ports.store import Transaction

GIVE_UP_S: Final = 40.0
"""How long a call may go on to prove what others change meanwhile."""


class DetachedKeyServers:
    """Gives them up."""

    def __init__(self, context: KeeperContext, guard: RemovalGuard, audit: AuditLog) -> None:
        self._context = context
        self._guard = guard
        self._audit = audit

    async def give_up(self, call: Call, key_manager: str, address: ServerAddress) -> None:
        """End every copy on a removed server, with a receipt that it was ``abandoned``, and forget the server.

        Raises 4 (404) for what is no such server; 65536700 while a key in use has no copy elsewhere that can be proven,
        or is just being written there.
        """
        ends = asyncio.get_running_loop().time() + GIVE_UP_S
        while True:
            manager, servers = await self._context.store.read(lambda tx: _detached(tx, call, key_manager, address))
            with concerning(manager.svm):
                found = {each.uuid: await self._guard.prove(call, Removal(manager, each), ends) for each in servers}
                work = partial(self._give_up, call=call, key_manager=key_manager, address=address, found=found)
                if await self._context.store.write(work):
                    return
                check_left(ends)

    def _give_up(
        self,
        tx: Transaction,
        call: Call,
        key_manager: str,
        address: ServerAddress,
        found: Mapping[str, RemovalFindings],
    ) -> bool:
        """Give up what is stored under an address; False when proofs do not hold any more."""
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
    tx: Transaction, call: Call, key_manager: str, address: ServerAddress, *, lock: bool = False
) -> tuple[KeyManager, list[KeyServer]]:
    """A key manager and its removed servers of an address: one that was removed several times is several."""
    manager = require_key_manager(tx, call, key_manager, lock=lock)
    servers = [each.server for each in tx.detached_key_servers(manager.uuid) if each.server.address == address]
    if not servers:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
    return manager, servers
