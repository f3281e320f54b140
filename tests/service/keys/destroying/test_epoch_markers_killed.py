"""Fences: a process that dies at any step on the way to the next one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.epoch_markers import ANCHOR, EpochMarkerState
from keystead.service.keys.destroying.epoch_markers import EVERY_S
from keystead.service.ports.objects import Fault, KeyServerFault
from keystead.service.ports.store import StoreError
from tests.service.worlds.clones import GOES_ON, HELD, fences_on, side, twin_of
from tests.service.worlds.keepers import keeping
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.service.worlds.keys import KeyWorld


pytestmark = on_sqlite


class Dying:
    """The way of a process to its database and its key servers, on which it dies at a step: before it, or after it."""

    def __init__(self, context: Any, step: int, *, after: bool) -> None:
        self._context, self._left, self._after = context, step, after
        self.died = False

    def context(self) -> Any:
        """Return what the process works with."""
        return replace(self._context, store=_Steps(self._context.store, self), objects=_Sessions(self))

    async def step(self, failure: Exception, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Do something, unless it is dead by then."""
        self._left -= 1
        self.died = self.died or self._left <= 0
        if self._left < 0 or (self.died and not self._after):
            raise failure
        result = await call(*arguments, **options)
        if self.died:
            raise failure
        return result


class _Steps:
    def __init__(self, store: Any, dying: Dying) -> None:
        self._store, self._dying = store, dying
        self.read = store.read

    async def write(self, work: Any) -> Any:
        return await self._dying.step(StoreError("died"), self._store.write, work)


class _Sessions:
    def __init__(self, dying: Dying) -> None:
        self._dying = dying

    @asynccontextmanager
    async def session(self, endpoint: Any, **options: Any) -> AsyncIterator[Any]:
        async with self._dying._context.objects.session(endpoint, **options) as session:
            yield _Session(session, self._dying)


class _Session:
    def __init__(self, session: Any, dying: Dying) -> None:
        self._session, self._dying = session, dying

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            failure = KeyServerFault(Fault.UNANSWERED, "died")
            return await self._dying.step(failure, getattr(self._session, name), *arguments, **options)

        return call


@pytest.mark.parametrize("first", [True, False], ids=["the first fence", "a later fence"])
@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_a_crash_at_each_step(key_world: KeyWorld, tmp_path: Path, *, first: bool, after: bool) -> None:
    """The next process goes on from there, and is no clone; a clone of that moment is, once the original has."""
    kept = await keeping(key_world, *(servers := await key_world.start(1)))
    step = 0
    while True:
        step += 1
        if first:
            servers[0].responder.store.forget_all()
            await kept.learner.ensure(kept.manager)
            await key_world.store.write(lambda tx: _without_fences(tx, kept.manager))
        else:
            key_world.clock.advance(EVERY_S + 1)
            await (await side(kept)).advance()
        key_world.clock.advance(EVERY_S + 1)
        dying = Dying(kept.context, step, after=after)
        try:
            await (await side(kept, dying.context())).advance()
        except StoreError:
            assert dying.died
        original = await side(kept)
        clone = await twin_of(original, tmp_path / f"clone{step}")
        assert len(await original.advance()) == 1, f"step {step}"
        (marker,) = await original.fences()
        assert marker is not None
        assert (marker.state, marker.previous_identifiers) == (EpochMarkerState.HELD, ())
        assert fences_on(servers[0]) == [ANCHOR, marker.number]
        assert await original.stands() == GOES_ON
        assert await clone.advance() == frozenset(), f"step {step}"
        assert await clone.stands() == HELD
        if not dying.died:
            break
    assert step > 8


def _without_fences(tx: Any, manager: str) -> None:
    for server in tx.key_servers(manager):
        (profile,) = tx.profiles([server.uuid])
        tx.delete_profile(server.uuid)
        tx.put_profile(profile)
