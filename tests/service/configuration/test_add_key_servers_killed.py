"""A process that dies at any statement or commit of an add leaves all of its servers with their record, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.killing import Harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.core.model import KeyServer
    from tests.peers.homes import Home

STORED, EXISTS, MANAGER_EXISTS = "stored", "65536870", "65536823"


@pytest.fixture(scope="module")
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Yield the fork server that runs what is killed: at commits, and with ``--long`` at every statement."""
    with Harness(statements=request.config.getoption("--long")) as running:
        yield running


@pytest.fixture
def servers(sound_ports: list[int]) -> list[dict[str, Any]]:
    """Three servers, with a password and with secondaries."""
    a, b, c = (f"127.0.0.1:{port}" for port in sound_ports[:3])
    return [
        {"server": a, "username": "keystead", "password": "a password of a key server"},
        {"server": b, "secondary_key_servers": ["127.0.0.2", "127.0.0.3"]},
        {"server": c, "secondary_key_servers": ["127.0.0.4"], "username": "keystead", "password": "another password"},
    ]


def are_whole(stored: list[KeyServer], asked: list[dict[str, Any]]) -> bool:
    """Return True if all is there: addresses in order, secondaries, passwords."""
    return [
        (str(server.address), list(server.secondary_key_servers), server.sealed_password is not None)
        for server in stored
    ] == [(each["server"], each.get("secondary_key_servers", []), "password" in each) for each in asked]


def after_the_commit(points: list[str]) -> int:
    """Return how many points come after the commit: connections that are given back."""
    return len(points) - points.index("commit") - 1


async def check_after_a_kill(
    home: Home, stored: list[KeyServer], asked: list[dict[str, Any]], records: int, point: int
) -> None:
    """All with one record, or none with none; the chain holds."""
    new_records = len(await home.records(after=records))
    assert (len(stored), new_records) in {(0, 0), (len(asked), 1)}, f"killed at point {point}"
    assert not stored or are_whole(stored, asked)
    await home.check_chain()


@pytest.mark.long
async def test_an_add_killed_at_every_point(harness: Harness, home: Home, servers: list[dict[str, Any]]) -> None:
    """All or none at each; the same call again works, or says that the servers are there when they are."""
    place: dict[str, Any] = {"data": str(home.data), "database": home.database}
    kept = point = 0
    while True:
        key_manager = await home.key_manager()
        records = len(await home.records())
        outcome = harness.run("add", at=point, key_manager=key_manager, servers=servers, **place)
        stored = await home.servers(key_manager)
        if not outcome.killed:
            break
        await check_after_a_kill(home, stored, servers, records, point)
        kept += bool(stored)
        again = harness.run("add", key_manager=key_manager, servers=servers, **place)
        assert again.result == (EXISTS if stored else STORED), f"killed at point {point}"
        assert are_whole(await home.servers(key_manager), servers)
        point += 1
    assert outcome.result == STORED
    assert point == len(outcome.points) > 2
    assert outcome.points.count("commit") == 1
    assert kept == after_the_commit(outcome.points), "only a kill after the commit leaves the servers there"
    await home.check_chain()


@pytest.mark.long
async def test_a_creation_killed_at_every_point(harness: Harness, home: Home, servers: list[dict[str, Any]]) -> None:
    """A key manager is there with all of its servers and its record, or not at all."""
    place: dict[str, Any] = {"data": str(home.data), "database": home.database}
    kept = point = 0
    while True:
        svm = await home.svm()
        new = {"svm": svm.name, "client_certificate": home.client_certificate, "server_ca": home.server_ca}
        records = len(await home.records())
        outcome = harness.run("create", at=point, new=new, servers=servers[:2], **place)
        made = await home.store.read(lambda tx: tx.key_manager_of(svm.uuid))  # noqa: B023 - run at once
        if not outcome.killed:
            break
        stored = await home.servers(made.uuid) if made else []
        assert bool(made) == bool(stored), f"killed at point {point}"
        await check_after_a_kill(home, stored, servers[:2], records, point)
        kept += bool(stored)
        again = harness.run("create", new=new, servers=servers[:2], **place)
        assert again.result == (MANAGER_EXISTS if stored else STORED), f"killed at point {point}"
        point += 1
    assert outcome.result == STORED
    assert point == len(outcome.points) > 2
    assert kept == after_the_commit(outcome.points)
    await home.check_chain()
