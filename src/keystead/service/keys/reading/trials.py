"""Trials of addresses whose circuits are open: find out, for all reads that wait, whether an address is back.

Without trials, a server that is back would be left alone until the pause of its circuit ends. A trial changes nothing
if it fails, so that it delays no trial of the circuit itself. If it succeeds, it closes the circuit.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from keystead.core.keys.model import AddressId
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.process import Clock

TRIAL_S: Final = 1.0
"""How long a trial may take. So a silent address holds up no read for longer."""

EVERY_S: Final = 1.0
"""The least time from the beginning of one trial to the next at the same address."""


class _Trial(NamedTuple):
    """A trial that runs or has ended, and when it began (monotonic). The result is True if the address answered."""

    began: float
    task: asyncio.Task[bool]


class Trials:
    """The trials of one node: at each address one at a time, and at most one per :data:`EVERY_S`.

    ``trial_s`` is how long a trial may take, in seconds.
    """

    def __init__(self, objects: KeyObjects, clock: Clock, trial_s: float = TRIAL_S) -> None:
        self._objects = objects
        self._clock = clock
        self._trial_s = trial_s
        self._latest: dict[AddressId, _Trial] = {}

    async def passed(self, endpoint: Endpoint) -> bool:
        """Return True if an address answers: begin a trial, or join the latest one.

        The latest trial counts until the next one may begin. Called by a read before it asks an address whose circuit
        is open. If the caller is cancelled, the trial runs on for the others.
        """
        now = self._clock.monotonic()
        self._latest = {
            address: trial
            for address, trial in self._latest.items()
            if now < trial.began + EVERY_S or not trial.task.done()
        }
        address = endpoint.key_server, endpoint.host
        if address not in self._latest:
            task = asyncio.get_running_loop().create_task(self._try(endpoint))
            self._latest[address] = _Trial(now, task)
        return await asyncio.shield(self._latest[address].task)

    async def _try(self, endpoint: Endpoint) -> bool:
        """Ask an address for its capabilities, which costs it little. Return True if it answers, if only to refuse."""
        try:
            async with (
                asyncio.timeout(self._trial_s),
                self._objects.session(endpoint, timeout_s=self._trial_s, anew=True) as session,
            ):
                await session.get_capabilities()
        except (KeyServerFault, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Cancel the running trials, and wait until they have ended. Called when the node stops."""
        tasks = [trial.task for trial in self._latest.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
