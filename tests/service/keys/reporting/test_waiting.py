"""Work on copies that waits, of keys that were created on real sessions with scripted key servers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.waiting import WaitsFor, Work
from keystead.core.model import State
from keystead.service.context import Call
from keystead.service.keys.reporting.waiting import WaitingWork
from tests.service.worlds.keys import CALL, KeyWorld, observe

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction


async def test_copies_to_settle_to_destroy_and_to_purge(key_world: KeyWorld) -> None:
    """Each with what it waits for; a lost server is waited for, and held destruction."""
    manager = await key_world.key_manager(*await key_world.start(2))
    node = await key_world.node()
    unsettled, failed, purged = [await node.create(manager, name) for name in ("unsettled", "failed", "purged")]
    await observe(key_world, manager, State.AVAILABLE, State.NOT_RESPONDING)
    service = WaitingWork(key_world.store, key_world.clock)
    assert await service.list(CALL, manager) == ()

    def change(tx: Transaction) -> None:
        _, lost = tx.key_servers(manager)
        there = [copy for copy in tx.copies([unsettled.uuid]) if copy.key_server == lost.uuid]
        tx.put_copies([replace(copy, presence=Presence.SENT) for copy in there], new=False)
        (attempt,) = tx.attempts([failed.uuid])
        tx.drop_attempt(failed.uuid, attempt.number)
        tx.add_attempt(replace(attempt, state=AttemptState.ABORTED, expired=True))
        tx.put_copies([copy for copy in copies if copy.key == failed.uuid], new=True)
        assert tx.change_key(replace(purged, state=KeyState.PURGING), KeyState.COMMITTED)

    copies = await key_world.copies(failed.uuid)
    await key_world.store.write(change)
    found = {
        (each.of.key.name, each.of.work, each.of.waits_for): each.server for each in await service.list(CALL, manager)
    }
    first, second = (str(server.address) for server in (await key_world.topology(manager)).servers)
    assert found == {
        ("unsettled", Work.SETTLE, WaitsFor.SERVER): second,
        ("failed", Work.DESTROY, WaitsFor.OTHER_SERVER): first,
        ("failed", Work.DESTROY, WaitsFor.SERVER): second,
        ("purged", Work.PURGE, WaitsFor.NEXT_ROUND): first,
        ("purged", Work.PURGE, WaitsFor.SERVER): second,
    }

    def hold(tx: Transaction) -> None:
        incarnation = tx.incarnation()
        assert incarnation is not None
        tx.put_incarnation(replace(incarnation, destroys=False))

    await key_world.store.write(hold)
    waits = {(each.of.work, each.of.waits_for) for each in await service.list(CALL, manager)}
    assert waits == {
        (Work.SETTLE, WaitsFor.SERVER),
        (Work.DESTROY, WaitsFor.RELEASE),
        (Work.PURGE, WaitsFor.RELEASE),
    }


async def test_only_who_sees_the_key_manager_is_told(key_world: KeyWorld) -> None:
    """For an account of another SVM there is none."""
    manager = await key_world.key_manager(*await key_world.start(1), svm=await key_world.home.svm())
    with pytest.raises(OntapError) as refused:
        await WaitingWork(key_world.store, key_world.clock).list(
            Call(CALL.caller, "GET", "/", scope=await key_world.home.svm()), manager
        )
    assert refused.value.kind is errors.ENTRY_NOT_FOUND
