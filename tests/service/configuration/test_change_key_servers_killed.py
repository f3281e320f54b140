"""A process that dies at any statement or commit of a change leaves the server of before or after, never a mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.secret import Secret
from keystead.service.probing.prober import password_context
from tests.peers.killing import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.homes import Home

STORED, MISSING = "stored", "65536843"


@pytest.fixture(scope="module")
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Yield the fork server that runs what is killed: at commits, and with ``--long`` at every statement."""
    with Harness(statements=request.config.getoption("--long")) as running:
        yield running


async def filled(home: Home, *servers: str) -> str:
    """Return a key manager whose first server has a credential and secondaries."""
    key_manager = await home.key_manager(*servers)
    first, *_ = await home.servers(key_manager)
    sealed = home.keyring.seal(Secret("first"), password_context(first.uuid))
    row = replace(first, username="first", sealed_password=sealed, secondary_key_servers=("127.0.0.2", "127.0.0.3"))
    await home.store.write(lambda tx: tx.change_key_server(row))
    return key_manager


async def shown(home: Home, key_manager: str) -> list[tuple[Any, ...]]:
    """Return what is stored of each server, its password opened."""
    rows = []
    for row in await home.servers(key_manager):
        sealed = row.sealed_password
        password = home.keyring.unseal(sealed, password_context(row.uuid)).reveal() if sealed else None
        rows.append((str(row.address), row.username, password, row.secondary_key_servers, row.timeout, row.position))
    return rows


@pytest.mark.long
async def test_a_modification_killed_at_every_point(harness: Harness, home: Home, sound_ports: list[int]) -> None:
    """All that was asked for with one record, or nothing; the same call again works, or says that it is done."""
    place: dict[str, Any] = {"data": str(home.data), "database": home.database}
    a, b, c = (f"127.0.0.1:{port}" for port in sound_ports[:3])
    second = {
        "server": a,
        "port": sound_ports[2],
        "username": "second",
        "password": "second",
        "secondary_key_servers": ["127.0.0.4"],
        "timeout": 7,
    }
    old = (a, "first", b"first", ("127.0.0.2", "127.0.0.3"), 25, 1)
    new = (c, "second", b"second", ("127.0.0.4",), 7, 1)
    other = (b, "", None, (), 25, 2)
    kept = point = 0
    while True:
        key_manager = await filled(home, a, b)
        records = len(await home.records())
        outcome = harness.run("change", at=point, key_manager=key_manager, verb="modify", fields=second, **place)
        stored = await shown(home, key_manager)
        if not outcome.killed:
            break
        changed = stored == [new, other]
        assert changed or stored == [old, other], f"killed at point {point}"
        assert len(await home.records()) - records == int(changed), f"killed at point {point}"
        await home.check_chain()
        kept += changed
        again = harness.run("change", key_manager=key_manager, verb="modify", fields=second, **place)
        assert again.result == (MISSING if changed else STORED), f"killed at point {point}"
        assert await shown(home, key_manager) == [new, other]
        point += 1
    assert (outcome.result, stored) == (STORED, [new, other])
    assert point == len(outcome.points) > 2
    assert outcome.points.count("commit") == 1
    assert kept == len(outcome.points) - outcome.points.index("commit") - 1, "only a kill after the commit changes it"
    await home.check_chain()


@pytest.mark.long
async def test_a_removal_killed_at_every_point(harness: Harness, home: Home, sound_ports: list[int]) -> None:
    """The server is gone with one record, or there with its secondaries and none."""
    place: dict[str, Any] = {"data": str(home.data), "database": home.database}
    a, b = (f"127.0.0.1:{port}" for port in sound_ports[:2])
    old = (a, "first", b"first", ("127.0.0.2", "127.0.0.3"), 25, 1)
    other = (b, "", None, (), 25, 2)
    gone = {"server": a}
    point = 0
    while True:
        key_manager = await filled(home, a, b)
        records = len(await home.records())
        outcome = harness.run("change", at=point, key_manager=key_manager, verb="remove", fields=gone, **place)
        stored = await shown(home, key_manager)
        if not outcome.killed:
            break
        removed = stored == [other]
        assert removed or stored == [old, other], f"killed at point {point}"
        assert len(await home.records()) - records == int(removed), f"killed at point {point}"
        again = harness.run("change", key_manager=key_manager, verb="remove", fields=gone, **place)
        assert again.result == (MISSING if removed else STORED), f"killed at point {point}"
        point += 1
    assert (outcome.result, stored) == (STORED, [other])
    assert point == len(outcome.points) > 2
    await home.check_chain()
