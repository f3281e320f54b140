"""Removals of many keys: two readings, with stored proofs, so that a call, a job or a process goes on with them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import JobState
from keystead.kmip.testing.server import held
from keystead.kmip.ttlv.enums import Operation
from keystead.service.keys.guarding import pages as key_pages
from keystead.service.keys.guarding import removal as key_guard
from keystead.service.keys.guarding.removal import RemovalGuard
from tests.service.worlds.changing import Changer, changer, changer_of, identifier
from tests.service.worlds.guards import LONG_AGO_S
from tests.service.worlds.jobs import jobs_of
from tests.service.worlds.keys import CALL, KeyWorld, asked, full, on_sqlite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.keys.model import Key
    from keystead.core.model import Job, KeyServer
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.cluster.jobs import Jobs

KEYS = 5
GET = Operation.GET


class Many:
    """A key manager with more keys than a page, on several servers, of which nothing was read for long.

    The last reading does not fit at first. Before it begins anew, ``between`` is done once.
    """

    def __init__(self, changing: Changer, servers: list[KmipServer], keys: list[Key]) -> None:
        self.changing, self.servers, self.keys = changing, servers, keys
        self.world = changing.world
        self.between: Callable[[], Awaitable[object]] | None = None
        self.fits_at = 2
        self.readings = 0
        self._before: list[int] = []

    async def rows(self) -> tuple[KeyServer, ...]:
        """Return the configured servers."""
        return await self.world.servers(self.changing.manager)

    def jobs(self, changing: Changer | None = None) -> Jobs:
        """Return the jobs of a process."""
        made = changing or self.changing
        works = made.servers.removals.works
        return jobs_of(made.node.store, self.world.clock, made.node.uuid, works, made.node.audit)

    async def job(self, row: KeyServer, jobs: Jobs, return_timeout: int = 30, changing: Changer | None = None) -> Job:
        """Remove a server as a job."""
        servers = (changing or self.changing).servers
        state = await servers.state(CALL, row.key_manager)
        request = await servers.removals.job(state, row.address)
        return (await jobs.run_in_steps(CALL, request, return_timeout=return_timeout)).job

    def begin_counting(self) -> None:
        """Count the Gets of each server from now on."""
        self._before = [len(asked(server, GET)) for server in self.servers]

    def gets(self) -> list[int]:
        """Return how many Gets came to each server, without those for canaries."""
        return [len(asked(server, GET)) - before for server, before in zip(self.servers, self._before, strict=True)]

    async def forget(self, key: int, server: int) -> None:
        """Have a server lose a copy, while its canary stays."""
        self.servers[server].responder.store.forget(await identifier(self.changing, self.keys[key], server))


async def many(world: KeyWorld, monkeypatch: pytest.MonkeyPatch, servers: int) -> Many:
    """Build many keys; the removal of a server needs two readings."""
    monkeypatch.setattr(key_pages, "PAGE", 2)
    peers = await world.start(servers)
    changing = await changer(world, *peers, min_copies=1)
    keys = [await changing.node.create(changing.manager, f"key {number}") for number in range(KEYS)]
    made = Many(changing, peers, keys)
    begin, read_last = RemovalGuard._begin, RemovalGuard._read_last

    async def after_what_happens(guard: RemovalGuard, *args: Any) -> Any:
        if made.readings and made.between is not None:
            between, made.between = made.between, None
            await between()
        return await begin(guard, *args)

    async def cut_off(guard: RemovalGuard, proving: Any) -> bool:
        made.readings += 1
        return made.readings >= made.fits_at and await read_last(guard, proving)

    monkeypatch.setattr(RemovalGuard, "_begin", after_what_happens)
    monkeypatch.setattr(RemovalGuard, "_read_last", cut_off)
    world.clock.advance(LONG_AGO_S)
    made.begin_counting()
    return made


@pytest.fixture
def passes(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass on all clocks."""
    passed = 0.0
    real = time.monotonic
    monkeypatch.setattr(key_guard, "monotonic", lambda: real() + passed)

    def advance(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        key_world.clock.advance(seconds)

    return advance


async def refused(work: Awaitable[object]) -> OntapError:
    """Return the error of a removal."""
    with pytest.raises(OntapError) as raised:
        await work
    return raised.value


# --- jobs ---


async def test_keys_on_two_other_servers_are_read_once(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each copy elsewhere is read once, page by page; the job says how far it is, and ends with the removal."""
    found = await many(key_world, monkeypatch, 3)
    row = (await found.rows())[0]
    job = await found.job(row, found.jobs())
    assert (job.state, job.code, job.resumable and (job.resumable.done, job.resumable.total)) == (
        JobState.SUCCESS,
        0,
        (KEYS, KEYS),
    )
    assert row not in await found.rows()
    assert found.gets() == [0, KEYS + 1, KEYS + 1]  # each with a look at its canary
    assert [each.server.uuid for each in await found.changing.guard.detached(CALL, row.key_manager)] == [row.uuid]
    assert not [key for key in found.keys if await found.changing.lost(key)]


@on_sqlite
async def test_keys_on_one_other_server_are_read_again_last(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, passes: Callable[[float], None]
) -> None:
    """The only other proof must be fresh when the server goes."""
    found = await many(key_world, monkeypatch, 2)

    async def later() -> None:
        passes(31)

    found.between = later
    assert (await found.job((await found.rows())[0], found.jobs())).state is JobState.SUCCESS
    assert found.gets() == [0, 2 * KEYS + 1]


@on_sqlite
async def test_a_copy_vanishes_in_the_middle(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, passes: Callable[[float], None]
) -> None:
    """It was read, its server still shows its canary; the last reading finds it gone."""
    found = await many(key_world, monkeypatch, 2)

    async def vanish() -> None:
        passes(31)
        await found.forget(3, 1)

    found.between = vanish
    before = await found.rows()
    job = await found.job(before[0], found.jobs())
    assert (job.state, job.code) == (JobState.FAILURE, errors.SOLE_COPY.code)
    assert ("key_id", found.keys[3].key_id) in job.arguments
    assert await found.rows() == before


@on_sqlite
@pytest.mark.parametrize("servers", [2, 3])
async def test_a_server_dies_in_the_middle(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, servers: int) -> None:
    """Its proofs do not count any more: the others must have the keys, and are read again; without others, it stays."""
    found = await many(key_world, monkeypatch, servers)

    async def die() -> None:
        await found.servers[1].__aexit__(None, None, None)

    found.between = die
    before = await found.rows()
    job = await found.job(before[0], found.jobs())
    assert (job.state, job.code) == ((JobState.FAILURE, errors.SOLE_COPY.code), (JobState.SUCCESS, 0))[servers - 2]
    assert (before[0] in await found.rows()) is (servers == 2)


@on_sqlite
async def test_a_key_is_created_in_the_middle(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that came to the leaving server alone, after all others were proven, keeps it."""
    found = await many(key_world, monkeypatch, 2)
    prove = RemovalGuard.prove
    late: list[Key] = []

    async def and_create(*args: Any) -> Any:
        proven = await prove(*args)
        if not late:
            full(found.servers[1])
            late.append(await found.changing.node.create(found.changing.manager, "a late key"))
        return proven

    monkeypatch.setattr(RemovalGuard, "prove", and_create)
    before = await found.rows()
    job = await found.job(before[0], found.jobs())
    assert (job.state, job.code) == (JobState.FAILURE, errors.SOLE_COPY.code)
    assert job.arguments[:2] == (("keys", "1"), ("key_id", late[0].key_id))
    assert await found.rows() == before


async def test_two_removals_at_once(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers hold each other's only copies, both are proven: one of them stays, with every key."""
    found = await many(key_world, monkeypatch, 2)
    found.fits_at = 0
    prove, proven, both = RemovalGuard.prove, [], asyncio.Event()

    async def and_wait(*args: Any) -> Any:
        result = await prove(*args)
        proven.append(result)
        if len(proven) == 2:
            both.set()
        await both.wait()
        return result

    monkeypatch.setattr(RemovalGuard, "prove", and_wait)
    jobs = found.jobs()
    ended = await asyncio.gather(*(found.job(row, jobs) for row in await found.rows()), return_exceptions=True)
    assert sorted(getattr(each, "code", -1) for each in ended) == [0, errors.SOLE_COPY.code]
    assert len(await found.rows()) == 1
    assert not [key for key in found.keys if await found.changing.lost(key)]


async def test_another_process_goes_on(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends after two pages; another one takes the job and reads only what is left."""
    found = await many(key_world, monkeypatch, 3)
    found.fits_at = 3
    row = (await found.rows())[0]
    gate, reached = asyncio.Event(), asyncio.Event()
    prove_page = RemovalGuard._prove_page

    async def stop_at_third(guard: RemovalGuard, proving: Any, *args: Any) -> Any:
        if proving.done >= 2 * key_pages.PAGE and not reached.is_set():
            reached.set()
            await gate.wait()
        return await prove_page(guard, proving, *args)

    monkeypatch.setattr(RemovalGuard, "_prove_page", stop_at_third)
    first = found.jobs()
    job = await found.job(row, first, return_timeout=0)
    async with asyncio.timeout(20):
        await reached.wait()
    await first.close()
    left = await first.get(CALL, job.uuid)
    assert left.state is JobState.QUEUED
    assert left.resumable is not None
    assert (left.resumable.done, left.resumable.total) == (4, KEYS)
    key_world.clock.advance(3000)
    other = changer_of(key_world, await key_world.node(), found.changing.manager)
    second = found.jobs(other)
    await second._runner.look()
    async with asyncio.timeout(20):
        await second._runner.run(job.uuid)
    ended = await second.get(CALL, job.uuid)
    assert ended.state is JobState.SUCCESS
    assert found.gets() == [0, KEYS + 1, KEYS + 1]
    await second.close()


@on_sqlite
async def test_the_same_removal_is_not_begun_twice(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call joins the job; a paused job holds up nothing."""
    found = await many(key_world, monkeypatch, 3)
    row, jobs, answer = (await found.rows())[0], found.jobs(), asyncio.Event()
    found.servers[1].faults[GET] = held(answer)
    first = await found.job(row, jobs, return_timeout=0)
    second = asyncio.create_task(found.job(row, jobs))
    await asyncio.sleep(0)
    answer.set()
    ended = await second
    assert (ended.uuid, ended.state) == (first.uuid, JobState.SUCCESS)
    await jobs.close()


# --- calls ---


async def test_repeated_calls_go_on(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call ends in the middle and says how far it is; none reads again what an earlier one has proven."""
    found = await many(key_world, monkeypatch, 3)
    found.fits_at = 99
    row = (await found.rows())[0]
    prove_page, pages = RemovalGuard._prove_page, 0

    async def one_page(guard: RemovalGuard, proving: Any, *args: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages % 2 == 0:
            proving.ends = 0.0
            raise await guard._unfinished(proving)
        return await prove_page(guard, proving, *args)

    monkeypatch.setattr(RemovalGuard, "_prove_page", one_page)
    said = [(await found.changing.removal_refused(row)).arguments for _ in range(2)]
    assert said == [(("keys", "5"), ("proven", done), ("reason", "not_proven_in_time")) for done in ("2", "4")]
    found.fits_at = 0
    monkeypatch.setattr(RemovalGuard, "_prove_page", prove_page)
    await found.changing.remove(row)
    assert sorted(found.gets()) == [0, KEYS, KEYS + 1]  # the last key is read once, because that is fresh


@on_sqlite
async def test_an_attempt_that_was_left_alone_begins_anew(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, passes: Callable[[float], None]
) -> None:
    """After an hour without a call nothing of it counts."""
    found = await many(key_world, monkeypatch, 3)
    found.fits_at = 99
    row = (await found.rows())[0]
    assert (await found.changing.removal_refused(row)).kind is errors.KEYS_UNPROVEN
    passes(3600)
    found.fits_at = found.readings + 2
    await found.changing.remove(row)
    assert found.gets() == [0, 2 * KEYS + 1, 2 * KEYS + 1]


@on_sqlite
@pytest.mark.parametrize(
    ("jump_s", "during"), [(-7200, False), (-40, False), (40, False), (7200, False), (-40, True), (7200, True)]
)
async def test_the_clock_jumps_in_the_middle(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, jump_s: float, *, during: bool
) -> None:
    """Nobody knows how old the proofs are, so none counts; the keys are proven again, and the server goes.

    The clock jumps before the last reading, or after it has begun.
    """
    found = await many(key_world, monkeypatch, 3)
    read_last = RemovalGuard._read_last

    async def jump() -> None:
        key_world.clock.advance(jump_s)

    async def and_jump(guard: RemovalGuard, proving: Any) -> bool:
        if found.readings == 1:
            await jump()
        return await read_last(guard, proving)

    if during:
        monkeypatch.setattr(RemovalGuard, "_read_last", and_jump)
    else:
        found.between = jump
    row = (await found.rows())[0]
    await found.changing.remove(row)
    assert row not in await found.rows()
    assert sum(found.gets()[1:]) >= 3 * KEYS
    assert not [key for key in found.keys if await found.changing.lost(key)]
