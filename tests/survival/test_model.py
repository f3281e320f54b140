"""A key manager against a small model of it: whatever is asked, in whatever order, both say the same of every key.

All key servers are well; coordinators die and come back, servers are added and removed, the database is cloned.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from keystead.core.keys.model import KeyState
from keystead.service.keys.attempts import EXPIRES
from tests.peers.certificates import server_context
from tests.service.worlds.keys import ShiftedClock, on_sqlite
from tests.survival.servers import Scripted, Watched
from tests.survival.systems import System

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from keystead.core.keys.model import Key
    from tests.peers.fixtures import Pki
    from tests.peers.homes import Home
    from tests.survival.systems import Process

T = TypeVar("T")

SERVERS = 4
STEPS = 24
names = st.sampled_from(["a", "b", "c"])
servers = st.integers(0, SERVERS - 1)


@dataclass
class Model:
    """What there should be: the keys by name, which of them are retired, and which servers are configured."""

    keys: dict[str, tuple[Key, bytes]] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    servers: set[int] = field(default_factory=lambda: set(range(SERVERS)))


class KeyManagerMachine(RuleBasedStateMachine):
    """One key manager for each example, on one installation."""

    home: ClassVar[Home]
    pki: ClassVar[Pki]
    clock: ClassVar[ShiftedClock]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model()
        self.made = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the example's loop."""
        return self.runner.run(work)

    @property
    def process(self) -> Process:
        """The one coordinator."""
        (found,) = self.system.processes
        return found

    @initialize()
    def begin(self) -> None:
        """Four servers, all well, and one coordinator."""
        self.run(self._begin())

    async def _begin(self) -> None:
        self.system = System(self.home, self.clock, Path(self.folder.name))
        context = server_context(self.pki.server, client_ca=self.pki.client_ca)
        self.places = [Scripted(context, Watched(self.system.witness)) for _ in range(SERVERS)]
        for place in self.places:
            await place.start()
        await self.system.begin(self.places)

    def teardown(self) -> None:
        """Everything is as it should be in the end, too."""
        wrong = self.run(self._end()) if hasattr(self, "system") else []
        self.runner.close()
        self.folder.cleanup()
        assert not wrong, self.system.report(wrong)

    async def _end(self) -> list[str]:
        try:
            return await self.system.verdict(Random(0))  # noqa: S311 - any choice will do
        finally:
            await self.system.close()
            for place in self.places:
                await place.close()

    # --- what callers do ---

    def _material(self) -> bytes:
        self.made += 1
        return self.made.to_bytes(32, "big") + bytes(32)

    @rule(name=names)
    def create(self, name: str) -> None:
        """There is a key of each name once."""
        material = self._material()
        key = self.run(self.system.create(self.process, name, material))
        assert (key is None) == (name in self.model.keys), self.system.refusal
        if key is not None:
            self.model.keys[name] = key, material

    @rule(name=names)
    def retrieve(self, name: str) -> None:
        """A key is read as it was given, unless it is retired."""
        if name in self.model.keys:
            key, material = self.model.keys[name]
            found = self.run(self.system.read(self.process, key, guaranteed=True))
            assert found == (None if name in self.model.retired else material)

    @rule(name=names)
    def retire(self, name: str) -> None:
        """A retired key keeps its name."""
        if name in self.model.keys:
            self.run(self.system.retire(self.process, self.model.keys[name][0]))
            self.model.retired.add(name)

    @rule(name=names)
    def recover(self, name: str) -> None:
        """Recover what is retired, until its window passes."""
        if name in self.model.keys:
            self.run(self.system.recover(self.process, self.model.keys[name][0]))
            self.model.retired.discard(name)

    @rule()
    def purge(self) -> None:
        """Once it has passed, the names of retired keys are free, and nothing brings the keys back."""
        self.run(self._purge())
        for name in self.model.retired:
            del self.model.keys[name]
        self.model.retired.clear()

    async def _purge(self) -> None:
        await self.system.pass_window()
        assert await self.system.keep(self.process)
        for name in self.model.retired:  # too late
            await self.system.recover(self.process, self.model.keys[name][0])

    # --- what operators do ---

    @rule(server=servers)
    def add_server(self, server: int) -> None:
        """A server is added once, and gets what it lacks."""
        added = self.run(self.system.add(self.process, self.places[server]))
        assert added == (server not in self.model.servers)
        self.model.servers.add(server)
        assert self.run(self.system.keep(self.process))

    @rule(server=servers)
    def remove_server(self, server: int) -> None:
        """A server goes unless it is the last one with keys."""
        removed = self.run(self.system.remove(self.process, self.places[server]))
        others = self.model.servers - {server}
        assert removed == (server in self.model.servers and bool(others or not self.model.keys))
        if removed:
            self.model.servers = others

    # --- what happens to coordinators ---

    @rule(name=names, step=st.integers(1, STEPS))
    def crash(self, name: str, step: int) -> None:
        """A coordinator dies while it creates a key: there is that key then, or none."""
        material = self._material()
        key = self.run(self._crash(name, material, step))
        if name in self.model.keys:
            assert key is not None
            assert key.key_id == self.model.keys[name][0].key_id
        elif key is not None:
            self.model.keys[name] = key, material

    async def _crash(self, name: str, material: bytes, step: int) -> Key | None:
        """The key of that name afterwards, when what was begun has been settled."""
        process = self.process
        process.life.at_step(step, process.life.kill)
        await self.system.create(process, name, material)
        process.life.resume()
        await self._restarted()
        self.clock.advance(EXPIRES.total_seconds() + 1)
        assert await self.system.keep(self.process)
        keys = (await self.system.catalogue()).keys.values()
        held = [key for key in keys if key.name == name and key.state in {KeyState.COMMITTED, KeyState.RETIRED}]
        assert len(held) <= 1
        return held[0] if held else None

    @rule()
    def restart(self) -> None:
        """A coordinator ends and another one takes its place: nothing but memory is lost."""
        self.run(self._restarted())

    async def _restarted(self) -> None:
        process = self.process
        await self.system.end(process)
        self.clock.advance(EXPIRES.total_seconds() + 1)  # the lease of one that was killed is over as well
        await self.system.start(process.seat)

    @rule(name=names)
    def clone(self, name: str) -> None:
        """A second system on a copy of the database, where a key is still retired, ends nothing that is in use here."""
        retired = {other for other in self.model.retired if other != name}
        self.run(self._clone(self.model.keys[name][0] if name in self.model.keys else None))
        self.model.retired.discard(name)
        assert self.run(self.system.keep(self.process))
        for other in retired:
            del self.model.keys[other]
        self.model.retired -= retired

    async def _clone(self, key: Key | None) -> None:
        if key is not None:
            await self.system.retire(self.process, key)
        clone = await self.system.clone()
        if key is not None:
            await self.system.recover(self.process, key)
        await self.system.pass_window()
        await self.system.keep(clone)
        await clone.close()

    # --- what is always so ---

    @invariant()
    def nothing_is_destroyed_that_may_not_be(self) -> None:
        """No server was asked to destroy what is in use."""
        assert not hasattr(self, "system") or not self.system.wrong, self.system.report(self.system.wrong)


def _check_sequences(home: Home, pki: Pki, examples: int, steps: int) -> None:
    machine = type("OnThisHome", (KeyManagerMachine,), {"home": home, "pki": pki, "clock": ShiftedClock()})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=[Phase.generate],  # a failure is told as it was found: to make it smaller would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


@on_sqlite
def test_the_model(home: Home, pki: Pki) -> None:
    """A few sequences of calls and faults keep the properties of the model."""
    _check_sequences(home, pki, 5, 15)


@pytest.mark.long
@on_sqlite
def test_the_model_for_long(home: Home, pki: Pki) -> None:
    """Many longer sequences of calls and faults keep the properties of the model."""
    _check_sequences(home, pki, 40, 30)
