"""Two processes add, change and remove servers of one key manager: what is left is what some order would leave.

Names and passwords say which change they came from, so that a lost or mixed change is seen.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from keystead.service.probing.prober import password_context
from tests.peers.adding import Adder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.peers.homes import Home

MOST = 4
STORED, EXISTS, LIMIT, MISSING = "stored", "65536870", "65536038", "65536843"
ROUNDS, LONG_ROUNDS = 24, 150

Fields = dict[str, Any]
Request = tuple[str, Fields]
Row = tuple[str, int, str, str]
"""A stored server: address, timeout, user name, password."""


def after(rows: Sequence[Row], request: Request) -> tuple[list[Row], str]:
    """Return the rules of one call, written anew: what is stored then, and how the call fares."""
    verb, fields = request
    address = fields["server"]
    found = next((row for row in rows if row[0] == address), None)
    others = [row for row in rows if row[0] != address]
    if verb == "add":
        if found:
            return [*rows], EXISTS
        new = (address, 10, fields.get("username", ""), fields.get("password", ""))
        return ([*rows], LIMIT) if len(rows) == MOST else ([*rows, new], STORED)
    if found is None:
        return [*rows], MISSING
    if verb == "remove":
        return others, STORED
    moved = f"127.0.0.1:{fields['port']}" if "port" in fields else address
    if any(row[0] == moved for row in others):
        return [*rows], EXISTS
    _, timeout, username, password = found
    credential = (fields.get("username", username), fields.get("password", password))
    changed = (moved, fields.get("timeout", timeout), *credential)
    return [changed if row is found else row for row in rows], STORED


def is_explained(before: Sequence[Row], requests: Sequence[Request], fates: Sequence[str], left: list[Row]) -> bool:
    """Return True if some order of the requests leads to what was observed."""
    for order in permutations(range(len(requests))):
        rows, expected = list(before), [""] * len(requests)
        for each in order:
            rows, expected[each] = after(rows, requests[each])
        if (rows, expected) == (left, list(fates)):
            return True
    return False


def drawn(chance: random.Random, ports: Sequence[int], label: str) -> Request:
    """One call; ``label`` goes into what it stores."""
    server: Fields = {"server": f"127.0.0.1:{chance.choice(ports)}"}
    credential = {"username": f"user {label}", "password": f"password {label}"}
    requests: list[Request] = [
        ("add", server | chance.choice([{}, credential])),
        ("remove", server),
        ("modify", server | {"port": chance.choice(ports)}),
        ("modify", server | credential),
        ("modify", server | {"timeout": int(label)}),
        ("modify", server | credential | {"port": chance.choice(ports), "timeout": int(label)}),
    ]
    return chance.choice(requests)


async def left_in(home: Home, key_manager: str) -> list[Row]:
    """Return what is stored, passwords opened where they stand."""

    def password(uuid: str, sealed: bytes | None) -> str:
        return home.keyring.unseal(sealed, password_context(uuid)).reveal().decode() if sealed else ""

    return [
        (str(row.address), row.timeout, row.username, password(row.uuid, row.sealed_password))
        for row in await home.servers(key_manager)
    ]


async def check_rounds(home: Home, ports: Sequence[int], rounds: int) -> None:
    """Run the rounds and check each."""
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311 - printed, so that a failure can be repeated
    seen: set[str] = set()
    records = len(await home.records())
    with ExitStack() as stack:
        adders = [stack.enter_context(Adder(home.data, home.database)) for _ in range(2)]
        for _ in range(rounds):
            some = chance.sample(ports, 5)
            key_manager = await home.key_manager(*(f"127.0.0.1:{port}" for port in some[: chance.randint(1, 4)]))
            before = await left_in(home, key_manager)
            requests = [drawn(chance, some, str(number)) for number in range(1, 5)]
            for number, adder in enumerate(adders):
                adder.change(key_manager, requests[2 * number :][:2])
            fates = [fate for adder in adders for fate in adder.outcomes()]
            left = await left_in(home, key_manager)
            observed = f"seed {seed}: {before} and {requests} gave {fates} and {left}"
            assert len(left) <= MOST, observed
            assert is_explained(before, requests, fates, left), observed
            seen |= set(fates)
            records += fates.count(STORED)
    assert {STORED, EXISTS, MISSING} <= seen <= {STORED, EXISTS, MISSING, LIMIT}
    assert len(await home.records()) == records
    await home.check_chain()


async def test_two_processes_that_change_at_once(home: Home, sound_ports: list[int]) -> None:
    """Never more than four, no change lost or half done, no password without its name, each refusal explained."""
    await check_rounds(home, sound_ports, ROUNDS)


@pytest.mark.long
async def test_two_processes_that_change_at_once_for_long(home: Home, sound_ports: list[int]) -> None:
    """The same, far more often."""
    await check_rounds(home, sound_ports, LONG_ROUNDS)


def test_the_check_itself_refuses_what_cannot_be() -> None:
    """A lost password, a mixed credential, a server that came back, and a refusal without a cause."""
    a, b = "127.0.0.1:1", "127.0.0.1:2"
    before = [(a, 25, "", "")]
    named: Request = ("modify", {"server": a, "username": "u", "password": "p"})
    other: Request = ("modify", {"server": a, "username": "v", "password": "q"})
    moved: Request = ("modify", {"server": a, "port": 2})
    gone: Request = ("remove", {"server": a})
    both = [STORED, STORED]
    assert is_explained(before, [named, moved], both, [(b, 25, "u", "p")])
    assert not is_explained(before, [named, moved], both, [(b, 25, "", "")])
    assert not is_explained(before, [named, other], both, [(a, 25, "u", "q")])
    assert is_explained(before, [named, gone], [MISSING, STORED], [])
    assert not is_explained(before, [named, gone], both, [(a, 25, "u", "p")])
    assert not is_explained(before, [named, gone], [EXISTS, STORED], [])
