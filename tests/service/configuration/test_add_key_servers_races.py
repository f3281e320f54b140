"""Two processes add to one database at once: the outcome is always one that some order of the calls would give."""

from __future__ import annotations

import random
from contextlib import ExitStack
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from tests.peers.adding import Adder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.peers.homes import Home

MOST = 4
EXISTS, LIMIT, MANAGER_EXISTS, STORED = "65536870", "65536038", "65536823", "stored"
ROUNDS, LONG_ROUNDS = 16, 200

Requests = list[list[str]]


def in_this_order(before: Sequence[str], requests: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Return the rules, written anew: what is stored at the end and how each request fares."""
    stored, fates = list(before), []
    for servers in requests:
        if set(servers) & set(stored):
            fates.append(EXISTS)
        elif len(stored) + len(servers) > MOST:
            fates.append(LIMIT)
        else:
            stored += servers
            fates.append(STORED)
    return stored, fates


def is_explained(before: Sequence[str], requests: Requests, fates: Sequence[str], after: list[str]) -> bool:
    """Return True if some order of the requests leads to what was observed."""
    for order in permutations(range(len(requests))):
        expected = in_this_order(before, [requests[each] for each in order])
        if expected == (after, [fates[each] for each in order]):
            return True
    return False


def drawn(chance: random.Random, addresses: Sequence[str]) -> tuple[list[str], list[Requests]]:
    """Return the first servers of a round, and two requests for each of two processes. Most of them overlap."""
    before = chance.sample(addresses, chance.randint(0, 3))
    return before, [[chance.sample(addresses, chance.choice([1, 1, 2])) for _ in range(2)] for _ in range(2)]


async def check_rounds(home: Home, ports: Sequence[int], rounds: int) -> None:
    """Run the rounds and check each."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311 - printed, so that a failure can be repeated
    seen: set[str] = set()
    addresses = [f"127.0.0.1:{port}" for port in ports]
    records = len(await home.records())
    with ExitStack() as stack:
        adders = [stack.enter_context(Adder(home.data, home.database)) for _ in range(2)]
        for _ in range(rounds):
            before, orders = drawn(chance, addresses)
            key_manager = await home.key_manager(*before)
            for adder, requests in zip(adders, orders, strict=True):
                adder.add(key_manager, requests)
            fates = [fate for adder in adders for fate in adder.outcomes()]
            requests = [request for order in orders for request in order]
            after = [str(server.address) for server in await home.servers(key_manager)]
            observed = f"seed {seed}: {before} and {requests} gave {fates} and {after}"
            assert len(after) <= MOST, observed
            assert len(set(after)) == len(after), observed
            assert is_explained(before, requests, fates, after), observed
            seen |= set(fates)
            records += fates.count(STORED)
    assert seen == {STORED, EXISTS, LIMIT}
    assert len(await home.records()) == records
    await home.check_chain()


async def test_two_processes_that_add_at_once(home: Home, sound_ports: list[int]) -> None:
    """Never more than four, never a duplicate, each refusal with the code of its cause, the audit chain whole."""
    await check_rounds(home, sound_ports, ROUNDS)


@pytest.mark.long
async def test_two_processes_that_add_at_once_for_long(home: Home, sound_ports: list[int]) -> None:
    """The same, far more often."""
    await check_rounds(home, sound_ports, LONG_ROUNDS)


async def test_two_processes_that_create_one_key_manager(home: Home, sound_ports: list[int]) -> None:
    """One of them makes it, with all of its servers; everybody else hears that there is one."""
    with ExitStack() as stack:
        adders = [stack.enter_context(Adder(home.data, home.database)) for _ in range(2)]
        for _ in range(ROUNDS // 4):
            svm = await home.svm()
            new = {"svm": svm.name, "client_certificate": home.client_certificate, "server_ca": home.server_ca}
            requests = [[f"127.0.0.1:{sound_ports[number]}", f"127.0.0.1:{sound_ports[5]}"] for number in range(4)]
            for number, adder in enumerate(adders):
                adder.create(new, requests[2 * number :][:2])
            fates = [fate for adder in adders for fate in adder.outcomes()]
            assert sorted(fates) == [MANAGER_EXISTS] * 3 + [STORED]
            made = await home.store.read(lambda tx: tx.key_manager_of(svm.uuid))  # noqa: B023 - run at once
            assert made
            stored = [str(server.address) for server in await home.servers(made.uuid)]
            assert stored == requests[fates.index(STORED)]
    await home.check_chain()


def test_the_check_itself_refuses_what_cannot_be() -> None:
    """A fifth server, a duplicate, and a refusal without a cause are explained by no order."""
    full = ["a", "b", "c"]
    assert is_explained(full, [["d"], ["e"]], [STORED, LIMIT], [*full, "d"])
    assert not is_explained(full, [["d"], ["e"]], [STORED, STORED], [*full, "d", "e"])
    assert not is_explained(full, [["d"], ["d"]], [STORED, LIMIT], [*full, "d"])
    assert not is_explained([], [["d"], ["e"]], [STORED, EXISTS], ["d"])
