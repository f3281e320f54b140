"""Turns to probe: bounded per account and in all, fair, and ended by a shutdown."""

from __future__ import annotations

import asyncio

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.model import Svm
from keystead.service.probing.queue import ProbeQueue

SVM, OTHER_SVM = Svm("1", "svm1"), Svm("2", "svm2")


class Work:
    """Work that runs until it is let go, and remembers how much of it ran at once."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.go = asyncio.Event()

    async def __call__(self, left_s: float) -> float:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
        finally:
            self.running -= 1
        return left_s


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def refused(call: asyncio.Task[float]) -> ErrorKind:
    with pytest.raises(OntapError) as raised:
        await call
    return raised.value.kind


async def test_bounded_in_all_and_per_account() -> None:
    """No account runs more than its share, and all together no more than the whole."""
    queue, work = ProbeQueue(per_account=2, per_svm=8, in_all=3, waiting=32), Work()
    calls = [asyncio.create_task(queue.run(account, work)) for account in "aaaaabbbb"]
    await settle()
    assert work.running == 3
    work.go.set()
    assert len(await asyncio.gather(*calls)) == 9
    assert work.most == 3


async def test_a_flood_does_not_starve_others() -> None:
    """While one account's calls fill its share and its queue, another's call runs at once."""
    queue, flood, other = ProbeQueue(per_account=4, per_svm=8, in_all=16, waiting=32), Work(), Work()
    calls = [asyncio.create_task(queue.run("flood", flood)) for _ in range(36)]
    await settle()
    call = asyncio.create_task(queue.run("other", other))
    await settle()
    assert (flood.running, other.running) == (4, 1)
    flood.go.set()
    other.go.set()
    await asyncio.gather(call, *calls)


async def test_the_accounts_of_an_svm_share() -> None:
    """However many accounts an SVM has, together they run its share, and 429 comes for all of them."""
    queue, work, other = ProbeQueue(per_account=2, per_svm=3, in_all=16, waiting=2), Work(), Work()
    calls = [asyncio.create_task(queue.run(account, work, svm=SVM)) for account in "abcab"]
    await settle()
    assert (work.running, queue.calls) == (3, 5)
    assert await refused(asyncio.create_task(queue.run("d", work, svm=SVM))) is errors.TOO_MANY_REQUESTS
    others = [asyncio.create_task(queue.run("e", other, svm=svm)) for svm in (OTHER_SVM, None)]
    await settle()
    assert other.running == 2
    work.go.set()
    other.go.set()
    await asyncio.gather(*calls, *others)
    assert (work.most, queue.calls) == (3, 0)
    assert not queue._places_of


async def test_too_many_wait() -> None:
    """429 comes with the first call beyond those that run and the 32 that wait, and only for that account."""
    queue, work = ProbeQueue(per_account=4, per_svm=8, in_all=16, waiting=32), Work()
    calls = [asyncio.create_task(queue.run("a", work)) for _ in range(36)]
    await settle()
    with pytest.raises(OntapError) as raised:
        await queue.run("a", work)
    assert (raised.value.kind, raised.value.retry_after) == (errors.TOO_MANY_REQUESTS, 5)
    work.go.set()
    await asyncio.gather(*calls)
    assert await queue.run("a", work) > 39


async def test_turn_comes_too_late() -> None:
    """A call whose turn does not come within the deadline is told to come back."""
    queue, work = ProbeQueue(per_account=1, per_svm=8, in_all=1, waiting=32, deadline_s=0.05), Work()
    first = asyncio.create_task(queue.run("a", work))
    await settle()
    assert await refused(asyncio.create_task(queue.run("a", work))) is errors.TOO_BUSY
    assert await refused(asyncio.create_task(queue.run("b", work))) is errors.TOO_BUSY
    work.go.set()
    await first


async def test_shutdown_ends_what_runs_and_waits() -> None:
    """A shutdown ends every call with 503, and refuses those that come later."""
    queue, work = ProbeQueue(per_account=1, per_svm=8, in_all=1, waiting=32), Work()
    calls = [asyncio.create_task(queue.run("a", work)) for _ in range(3)]
    await settle()
    queue.close()
    assert [await refused(call) for call in calls] == [errors.SHUTTING_DOWN] * 3
    assert await refused(asyncio.create_task(queue.run("b", work))) is errors.SHUTTING_DOWN
    assert work.running == 0


async def test_a_caller_that_goes_away_gives_its_place_back() -> None:
    """A cancelled call ends its work, stays a cancellation, and frees its place."""
    queue, work = ProbeQueue(per_account=1, per_svm=8, in_all=1, waiting=0), Work()
    call = asyncio.create_task(queue.run("a", work))
    await settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    work.go.set()
    assert await queue.run("a", work) > 39


async def test_several_turns_of_one_call_have_one_deadline() -> None:
    """Each gets what is left of it; when it is over there is no turn: 262145, to be sent again."""
    queue, work = ProbeQueue(per_account=1, per_svm=8, in_all=1, waiting=0), Work()
    work.go.set()
    ends = queue.deadline()
    first = await queue.run("a", work, ends=ends - 30)
    assert 0 < first <= 10
    assert await queue.run("a", work, ends=ends) > 39
    with pytest.raises(OntapError) as raised:
        await queue.run("a", work, ends=ends - 40)
    assert raised.value.kind is errors.TOO_BUSY
    assert raised.value.retry_after is not None
    assert queue.calls == 0


async def test_an_error_of_the_work_passes_through() -> None:
    """What the work raises is the caller's, and the place is free again."""
    queue = ProbeQueue(per_account=1, per_svm=8, in_all=1, waiting=0)

    async def fail(_: float) -> None:
        raise OntapError(errors.NETWORK)

    for _ in range(2):
        with pytest.raises(OntapError) as raised:
            await queue.run("a", fail)
        assert raised.value.kind is errors.NETWORK
