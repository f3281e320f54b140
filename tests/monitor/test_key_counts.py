"""The metrics about keys: what they count, when, and how old it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from keystead.core.model import Observation, State
from keystead.monitor.key_counts import KeyCounts
from keystead.monitor.metrics import Metrics
from keystead.service.keys.reporting.survival import KeySurvival
from tests.service.worlds.learning import on_sqlite
from tests.store.samples import NOON

if TYPE_CHECKING:
    from keystead.service.keys.reporting.survival import CountedKeys
    from keystead.service.ports.store import Transaction
    from tests.service.worlds.keys import KeyWorld


async def gauges(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the values of all gauges about keys by the labels after the key manager."""
    text = (await metrics.exposition())[0].decode()
    return {
        family.name: {
            tuple(value for name, value in sample.labels.items() if name not in ("svm", "key_manager")): sample.value
            for sample in family.samples
        }
        for family in text_string_to_metric_families(text)
        if family.name.startswith(("keystead_key", "keystead_domains"))
    }


async def until(metrics: Metrics, name: str, series: int, value: float) -> dict[str, dict[tuple[str, ...], float]]:
    """Wait until a gauge has so many series, and this value in all; return all gauges."""
    async with asyncio.timeout(60):
        while list((found := await gauges(metrics))[name].values()) != [value] * series:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)
    return found


@on_sqlite
async def test_what_is_counted(key_world: KeyWorld) -> None:
    """Keys by their copies, with the age of the proof; a server that was removed has no series."""
    manager = await key_world.key_manager(*await key_world.start(3))
    node = await key_world.node()
    metrics, holds = Metrics(), True
    counts = KeyCounts(KeySurvival(key_world.store, key_world.clock), lambda: holds, metrics, period_s=0.02)
    counts.start()
    try:
        await until(metrics, "keystead_keys", 1, 0.0)
        key = await node.create(manager)
        servers = (await key_world.topology(manager)).servers

        def observe(tx: Transaction) -> None:
            states = (State.AVAILABLE, State.AVAILABLE, State.NOT_RESPONDING)
            uuid = tx.nodes()[0].uuid
            seen = [Observation(uuid, each.uuid, "", state, NOON) for each, state in zip(servers, states, strict=True)]
            tx.put_observations(seen, new=True)

        await key_world.store.write(observe)
        await until(metrics, "keystead_keys", 1, 1.0)
        found = await until(metrics, "keystead_domains_may_fail", 1, 1.0)
        assert found["keystead_keys_unreadable"] == {(): 0.0}
        assert found["keystead_key_copies"] == {
            (str(servers[0].address), "present"): 1.0,
            (str(servers[1].address), "present"): 1.0,
            (str(servers[2].address), "away"): 1.0,
        }
        proofs = [copy.proven for copy in await key_world.copies(key.uuid) if copy.key_server != servers[2].uuid]
        assert found["keystead_keys_oldest_proof_timestamp_seconds"] == {(): min(filter(None, proofs)).timestamp()}
        now = key_world.clock.now().timestamp()
        assert found["keystead_keys_counted_timestamp_seconds"][()] == pytest.approx(now, abs=60)
        await key_world.store.write(lambda tx: tx.delete_key_server(servers[2].uuid))
        await until(metrics, "keystead_key_copies", 2, 1.0)
        holds = False
        assert all(not series for series in (await gauges(metrics)).values())
    finally:
        await counts.close()


async def test_counting_takes_a_tenth_of_the_time() -> None:
    """After a count that takes long, the next one waits nine times as long."""
    began: list[float] = []
    clock = asyncio.get_running_loop().time

    class Slow(KeySurvival):
        def __init__(self) -> None:
            pass

        async def of_all(self) -> tuple[CountedKeys, ...]:
            """Note when it was called, and take a while."""
            began.append(clock())
            await asyncio.sleep(0.05)
            return ()

    counts = KeyCounts(Slow(), lambda: True, Metrics(), period_s=0.001)
    counts.start()
    try:
        async with asyncio.timeout(60):
            while len(began) < 2:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    finally:
        await counts.close()
    assert began[1] - began[0] >= 0.5
