"""The removal of a key server: prove its keys elsewhere, then count the proofs again and delete it in one transaction.

A removal of few keys is one call. A removal of many is a resumable job: its proofs are stored page by page, and the job
goes on from there after its process was stopped.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.key_servers import plan_remove
from keystead.core.keys.guarding import Removal
from keystead.core.server_address import ServerAddress
from keystead.service.cluster.jobs import StepRequest
from keystead.service.cluster.svms import about_svm
from keystead.service.configuration.key_server_rows import named
from keystead.service.ports.cluster import AuditRows, ClusterRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.probing.queue import RETRY_AFTER_S, check_left

if TYPE_CHECKING:
    from keystead.core.key_servers import ServersState
    from keystead.core.keys.guarding import RemovalFindings
    from keystead.core.model import KeyServer
    from keystead.service.cluster.job_runner import JobSteps, StepWork
    from keystead.service.configuration.context import ConfigurationContext
    from keystead.service.context import Call
    from keystead.service.ports.store import Transaction

KIND: Final = "remove_key_server"
"""The kind of the job."""

AT_ONCE_S: Final = 2.0
"""Seconds after which a removal becomes a job, unless its caller waits longer."""

STEP_S: Final = 86_400.0
"""Seconds after which a job ends that does not come to its end."""

TRIES: Final = 5
"""How often a job proves again what others have changed meanwhile."""


class Rows(
    TopologyRows,
    KeyManagerRows,
    ClusterRows,
    NodeRows,
    AuditRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    RemovalRows,
    DetachedRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class _Changed(Exception):  # noqa: N818 - named as what happened, like LeaseLost
    """Others have changed what was proven, so nothing is stored."""


class KeyServerRemovals:
    """The removals of key servers, as calls and as jobs."""

    def __init__(self, context: ConfigurationContext) -> None:
        self._context = context

    @property
    def works(self) -> dict[str, StepWork]:
        """The work of the job, by the name of its kind."""
        return {KIND: self._remove_in_steps}

    async def remove(
        self, call: Call, state: ServersState, address: ServerAddress, ends: float, *, force: bool = False
    ) -> None:
        """Remove one server with its secondaries until ``ends`` (loop time), or raise 65536843.

        Raises 65536700 if keys would be lost with it, and 262145 (503) when time is over. Raises 65536600 unless
        ``force``, if the setting is on and a node is silent.
        """
        while True:
            server = plan_remove(state, address, force=force)
            found = await self._context.removal_guard.prove(call, Removal(state.key_manager, server), ends)
            work = partial(self._remove, call=call, server=server, found=found, force=force)
            if await self._context.store.write(work):
                return
            check_left(ends)
            state = await self._load(call, state.key_manager.uuid)

    async def job(self, state: ServersState, address: ServerAddress, *, force: bool = False) -> StepRequest:
        """Return the job that removes a server. Raises as :meth:`remove` does before it reads a key."""
        server = plan_remove(state, address, force=force)
        keys = await self._context.store.read(lambda tx: self._context.removal_guard.keys_on(tx, server))
        about = {"key_manager": server.key_manager, "uuid": server.uuid, "server": str(address), "force": force}
        return StepRequest(KIND, about, state.key_manager.svm, keys, joins=True)

    async def _remove_in_steps(self, steps: JobSteps) -> None:
        """Prove the keys page by page, and end the job in the transaction that removes the server."""
        about = steps.parameters
        force, address = about["force"], ServerAddress.parse(about["server"])
        ends = asyncio.get_running_loop().time() + STEP_S
        for _ in range(TRIES):
            state = await self._load(steps.call, about["key_manager"])
            with about_svm(state.key_manager.svm):
                server = plan_remove(state, address, force=force)
                if server.uuid != about["uuid"]:
                    raise OntapError(errors.KEY_SERVER_NOT_CONFIGURED, target="server")
                removal = Removal(state.key_manager, server)
                found = await self._context.removal_guard.prove(steps.call, removal, ends, partial(_step, steps))
                work = partial(self._remove_or_raise, call=steps.call, server=server, found=found, force=force)
                try:
                    await steps.end(JobOutcome(), work)
                except _Changed:
                    continue
                return
        raise OntapError(errors.TOO_BUSY, target="server", retry_after=RETRY_AFTER_S)

    async def _load(self, call: Call, key_manager: str) -> ServersState:
        return await self._context.store.read_few(lambda tx: self._context.load(tx, call, key_manager))

    def _remove(self, tx: Rows, call: Call, server: KeyServer, found: RemovalFindings, *, force: bool) -> bool:
        """Remove a server. Return False if the server, or the proof for its removal, has changed."""
        now = self._context.load(tx, call, server.key_manager, lock=True)
        if plan_remove(now, server.address, force=force) != server:
            return False
        if not self._context.removal_guard.check(tx, Removal(now.key_manager, server), found):
            return False
        self._context.removal_guard.detach(tx, server)
        tx.delete_key_server(server.uuid)
        self._context.audit.succeed(tx, call, named("removed", [server]), svm=now.key_manager.svm)
        return True

    def _remove_or_raise(self, tx: Transaction, **how: Any) -> None:
        if not self._remove(tx, **how):
            raise _Changed


async def _step(steps: JobSteps, done: int, keys: int) -> None:
    """Store how far the job is."""
    await steps.store(None, done, keys, lambda _: None)
