"""Password hashes: argon2id as the design says, and never more than two at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from keystead.core.secret import Secret
from keystead.sealing import Argon2Hasher, passwords

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hasher() -> Iterator[Argon2Hasher]:
    """A hasher of the real cost, with its threads."""
    made = Argon2Hasher(memory_kib=passwords.MEMORY_KIB, passes=passwords.PASSES)
    yield made
    made.close()


async def test_hashes_have_the_designs_cost_and_a_salt(hasher: Argon2Hasher) -> None:
    """argon2id, 19 MiB, two passes, one lane; the same password never hashes the same."""
    hashes = {await hasher.hash(Secret("password")) for _ in range(3)}
    assert len(hashes) == 3
    assert all(text.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for text in hashes)


@pytest.mark.parametrize("password", ["", "password", "pässwörd €", b"p\xe4ss\x00"], ids=repr)
async def test_only_the_password_fits(hasher: Argon2Hasher, password: str | bytes) -> None:
    """Of any bytes: what they mean is the caller's."""
    stored = await hasher.hash(Secret(password))
    assert await hasher.verify(stored, Secret(password))
    assert not await hasher.verify(stored, Secret("another"))


@pytest.mark.parametrize("stored", ["", "!", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$", "$2b$12$abcdef"])
async def test_a_damaged_hash_fits_nothing(hasher: Argon2Hasher, stored: str) -> None:
    """Nor does it raise."""
    assert not await hasher.verify(stored, Secret("password"))


async def test_at_most_two_are_computed_at_a_time(hasher: Argon2Hasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """19 MiB each: a flood of logins queues. The event loop goes on meanwhile."""
    running, most, lock = 0, 0, threading.Lock()

    def slow(*_: object) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(hasher, "_verify", slow)
    turns = 0
    hashing = asyncio.gather(*[hasher.verify("", Secret("")) for _ in range(8)])
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert most == passwords.AT_ONCE == 2
    assert turns > 10
