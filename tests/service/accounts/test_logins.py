"""Logging in over a real store, with real hashes and a clock set by hand."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, TypeVar

import pytest

from keystead.core.errors import AUTHENTICATION_FAILED, TOO_MANY_REQUESTS, OntapError
from keystead.core.model import Account, Role
from keystead.core.secret import Secret
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.accounts.logins import AT_ONCE, Logins, delay_s
from keystead.service.audit.log import AuditLog
from keystead.service.context import Caller
from keystead.service.offline import OfflineReads
from keystead.service.ports.store import StoreError
from keystead.store import SqlStore, open_store
from tests.service.worlds.basics import KEYRING, CountingHasher, HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from keystead.service.ports.store import Transaction

T = TypeVar("T")

PASSWORD = Secret("pässword")
WRONG = "wrong"
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def clock() -> HandClock:
    """Time that passes when a test says so."""
    return HandClock()


@pytest.fixture
def hasher() -> Iterator[CountingHasher]:
    """Real hashes, counted."""
    made = CountingHasher()
    yield made
    made.close()


@pytest.fixture
async def store(sqlite_url: str, hasher: CountingHasher) -> AsyncIterator[SqlStore]:
    """Yield a store with three accounts; ``carded`` logs in by certificate only."""
    opened = open_store(sqlite_url)
    password_hash = await hasher.hash(PASSWORD)
    await opened.write(
        lambda tx: [
            tx.put_account(Account(name, role, hash_, certificate=not hash_))
            for name, role, hash_ in (
                ("admin", Role.ADMIN, password_hash),
                ("reader", Role.READONLY, password_hash),
                ("carded", Role.READONLY, ""),
            )
        ]
    )
    yield opened
    await opened.close()


@pytest.fixture
def audit(store: SqlStore, clock: HandClock) -> AuditLog:
    """Where failed logins are counted."""
    return AuditLog(store, KEYRING, clock, "node-1")


def offline(store: SqlStore, clock: HandClock) -> OfflineReads:
    """Return the limit of reads without the database."""
    return OfflineReads(store, clock, "node-1", limit_s=60)


@pytest.fixture
async def logins(store: SqlStore, hasher: CountingHasher, clock: HandClock, audit: AuditLog) -> AsyncIterator[Logins]:
    """Yield the service, whose sleeping passes at once."""
    yield Logins(store, hasher, clock, audit, offline(store, clock), sleep=clock.sleep)
    await audit.close()


async def refused(logins: Logins, name: str = "admin", password: str = WRONG, where: str = HERE) -> None:
    """A login that must fail with 401."""
    with pytest.raises(OntapError) as caught:
        await logins.authenticate(name, Secret(password), where)
    assert caught.value.kind is AUTHENTICATION_FAILED


@pytest.mark.parametrize(("name", "role"), [("admin", Role.ADMIN), ("reader", Role.READONLY)])
async def test_the_right_password_says_who_calls(logins: Logins, name: str, role: Role) -> None:
    """With the role of the account's row and the caller's address."""
    assert await logins.authenticate(name, PASSWORD, HERE) == Caller(name, role, HERE)


async def test_who_has_read_keys_is_known_with_the_next_call(
    logins: Logins, store: SqlStore, hasher: CountingHasher
) -> None:
    """The remembered credential stays valid: no second hash."""
    assert not (await logins.authenticate("reader", PASSWORD, HERE)).has_read_keys
    assert await store.write(lambda tx: tx.note_first_read("reader")) is not None
    assert await store.write(lambda tx: tx.note_first_read("reader")) is None
    assert (await logins.authenticate("reader", PASSWORD, HERE)).has_read_keys
    assert hasher.verified == 1


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("admin", "wrong"),
        ("admin", ""),
        ("Admin", "pässword"),
        ("admin ", "pässword"),
        ("nobody", "pässword"),
        ("carded", "pässword"),
        ("carded", ""),
        ("", "pässword"),
        ("admin\x00", "pässword"),
        ("\ud800", "pässword"),
        ("x" * 5000, "pässword"),
    ],
    ids=lambda text: repr(text)[:20].encode("ascii", "backslashreplace").decode(),
)
async def test_anything_else_is_refused_alike(logins: Logins, name: str, password: str) -> None:
    """A name that cannot be one is no fault of the store's."""
    await refused(logins, name, password)


async def test_a_verified_credential_is_not_hashed_again(logins: Logins, hasher: CountingHasher) -> None:
    """From any address; another account's is its own."""
    for where in (HERE, HERE, THERE):
        await logins.authenticate("admin", PASSWORD, where)
    assert hasher.verified == 1
    await logins.authenticate("reader", PASSWORD, HERE)
    assert hasher.verified == 2


async def test_a_remembered_credential_fits_no_other_password(logins: Logins) -> None:
    """While it is remembered."""
    await logins.authenticate("admin", PASSWORD, HERE)
    await refused(logins)


async def test_a_credential_is_forgotten_when_it_is_not_used(
    logins: Logins, hasher: CountingHasher, clock: HandClock
) -> None:
    """After minutes; use keeps it."""
    for pause in (0, 200, 200, 301):
        clock.advance(pause)
        await logins.authenticate("admin", PASSWORD, HERE)
    assert hasher.verified == 2


@pytest.mark.parametrize("change", ["password", "role", "deleted"])
async def test_a_changed_account_is_asked_again_at_once(
    logins: Logins, store: SqlStore, hasher: CountingHasher, change: str
) -> None:
    """Whatever process changed it: every login goes by the row as it is then."""
    await logins.authenticate("admin", PASSWORD, HERE)
    account = await store.read(lambda tx: tx.account("admin"))
    assert account is not None
    if change == "password":
        other_hash = await hasher.hash(Secret("other"))
        await store.write(lambda tx: tx.put_account(replace(account, password_hash=other_hash)))
        await refused(logins, password="pässword")
        await logins.authenticate("admin", Secret("other"), HERE)
    elif change == "role":
        await store.write(lambda tx: tx.put_account(replace(account, role=Role.READONLY)))
        assert (await logins.authenticate("admin", PASSWORD, HERE)).role is Role.READONLY
        assert hasher.verified == 2
    else:
        with store.database.writer.begin() as connection:
            connection.exec_driver_sql("DELETE FROM accounts WHERE name = 'admin'")
        await refused(logins, password="pässword")


async def test_a_row_is_read_again_only_when_something_was_committed(
    logins: Logins, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anything at all, by whomever."""
    await logins.authenticate("admin", PASSWORD, HERE)
    reads = []
    read_few = store.read_few

    async def counted(work: Callable[[Transaction], T]) -> T:
        reads.append(work)
        return await read_few(work)

    monkeypatch.setattr(store, "read_few", counted)
    for _ in range(3):
        await logins.authenticate("admin", PASSWORD, HERE)
    assert reads == []
    with store.database.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE accounts SET comment = 'x' WHERE name = 'reader'")
    for _ in range(3):
        await logins.authenticate("admin", PASSWORD, HERE)
    assert len(reads) == 1


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_credential_can_be_recalled_when_the_database_fails(
    store: SqlStore,
    hasher: CountingHasher,
    clock: HandClock,
    audit: AuditLog,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """A remembered credential with the right password is accepted without the database, for calls that permit it."""
    logins = Logins(
        store,
        hasher,
        clock,
        audit,
        OfflineReads(store, clock, "node-1", limit_s=60),
        sleep=clock.sleep,
        patience_s=0.05,
    )
    await logins.authenticate("admin", PASSWORD, HERE)
    known = await logins.authenticate("admin", PASSWORD, THERE, recall=True)

    async def away(work: object) -> object:
        del work
        if how == "hangs":
            await asyncio.Event().wait()
        raise StoreError("the database cannot be reached")

    monkeypatch.setattr(store, "read_few", away)
    monkeypatch.setattr(store, "version", lambda: None)
    async with asyncio.timeout(60):
        assert await logins.authenticate("admin", PASSWORD, THERE, recall=True) == known
        for name, password in (("admin", Secret(WRONG)), ("reader", PASSWORD)):
            with pytest.raises(StoreError):
                await logins.authenticate(name, password, HERE, recall=True)
        if how == "fails":
            with pytest.raises(StoreError):
                await logins.authenticate("admin", PASSWORD, HERE)
        clock.advance(200)
        locked = Account("admin", Role.READONLY, "another hash", locked=True)
        await store.write(lambda tx: tx.put_account(locked))  # nobody here can read it
        assert await logins.authenticate("admin", PASSWORD, THERE, recall=True) == known
        clock.advance(101)  # the call before did not prolong the time
        with pytest.raises(StoreError):
            await logins.authenticate("admin", PASSWORD, HERE, recall=True)


@pytest.mark.parametrize("change", ["locked", "deleted", "none"])
async def test_a_comparison_forgets_changed_accounts(
    logins: Logins, store: SqlStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """So an account that another node locked or deleted is not recalled; others are."""
    await logins.compare()  # nothing is remembered
    await logins.authenticate("admin", PASSWORD, HERE)
    await logins.authenticate("reader", PASSWORD, HERE)
    account = await store.read(lambda tx: tx.account("admin"))
    assert account is not None
    if change == "locked":
        await store.write(lambda tx: tx.put_account(replace(account, locked=True)))
    elif change == "deleted":
        await store.write(lambda tx: tx.delete_account("admin"))
    await logins.compare()

    async def away(work: object) -> object:
        raise StoreError(f"the database cannot be reached: {work}")

    monkeypatch.setattr(store, "read_few", away)
    monkeypatch.setattr(store, "version", lambda: None)
    assert (await logins.authenticate("reader", PASSWORD, HERE, recall=True)).account == "reader"
    if change == "none":
        assert (await logins.authenticate("admin", PASSWORD, HERE, recall=True)).account == "admin"
    else:
        with pytest.raises(StoreError):
            await logins.authenticate("admin", PASSWORD, HERE, recall=True)


async def test_a_locked_account_is_refused(logins: Logins, store: SqlStore) -> None:
    """Remembered or not, with the right password; it counts again when it is unlocked."""
    await logins.authenticate("admin", PASSWORD, HERE)
    account = await store.read(lambda tx: tx.account("admin"))
    assert account is not None
    await store.write(lambda tx: tx.put_account(replace(account, locked=True)))
    await refused(logins, password="pässword")
    await store.write(lambda tx: tx.put_account(account))
    assert (await logins.authenticate("admin", PASSWORD, HERE)).role is Role.ADMIN


async def test_a_burst_with_one_credential_costs_one_hash(logins: Logins, hasher: CountingHasher) -> None:
    """As when a client opens many connections at once."""
    callers = await asyncio.gather(*[logins.authenticate("admin", PASSWORD, HERE) for _ in range(50)])
    assert callers == [Caller("admin", Role.ADMIN, HERE)] * 50
    assert hasher.verified == 1


async def test_a_caller_that_goes_away_does_not_fail_the_others(logins: Logins, clock: HandClock) -> None:
    """If the first of two callers with one credential is cancelled, the other gets the result of the same hash."""
    await refused(logins)
    clock.slept.clear()
    first = asyncio.create_task(logins.authenticate("admin", PASSWORD, HERE))
    second = asyncio.create_task(logins.authenticate("admin", PASSWORD, HERE))
    while not clock.slept:  # noqa: ASYNC110 - the login is delayed just before its hash
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).account == "admin"


async def test_different_credentials_of_one_address_are_bounded(logins: Logins, hasher: CountingHasher) -> None:
    """More than a few at once are told to come back; another address, and a known credential, are served."""
    await logins.authenticate("reader", PASSWORD, HERE)
    guesses = [asyncio.create_task(logins.authenticate("admin", Secret(f"{n}"), HERE)) for n in range(AT_ONCE + 5)]
    other = asyncio.create_task(logins.authenticate("admin", PASSWORD, THERE))
    known = asyncio.create_task(logins.authenticate("reader", PASSWORD, HERE))
    errors = await asyncio.gather(*guesses, return_exceptions=True)
    kinds = [error.kind for error in errors if isinstance(error, OntapError)]
    assert (kinds.count(AUTHENTICATION_FAILED), kinds.count(TOO_MANY_REQUESTS)) == (AT_ONCE, 5)
    assert (await other).account == "admin"
    assert (await known).account == "reader"
    assert hasher.verified == AT_ONCE + 2
    await refused(logins)  # nothing of this address is under way any more


def test_slowing_grows_to_two_seconds_and_no_further() -> None:
    """The first two failures are typing errors."""
    assert [delay_s(failures) for failures in range(10)] == [0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert delay_s(10**6) == 2.0


async def test_failed_logins_slow_the_next_of_the_same_account_and_address(logins: Logins, clock: HandClock) -> None:
    """Nobody else, and nobody whose credential is known."""
    await logins.authenticate("reader", PASSWORD, HERE)
    for number in range(12):
        await refused(logins, password=f"{number}")
    assert clock.slept[-1] == 2.0
    assert len(clock.slept) == 11
    clock.slept.clear()
    await refused(logins, where=THERE)
    await refused(logins, name="nobody")
    await logins.authenticate("reader", PASSWORD, HERE)
    assert [pause for pause in clock.slept if pause] == []


async def test_a_known_credential_is_never_slowed(logins: Logins, clock: HandClock) -> None:
    """Also while somebody guesses from the same address."""
    await logins.authenticate("admin", PASSWORD, HERE)
    for number in range(12):
        await refused(logins, password=f"{number}")
    clock.slept.clear()
    await logins.authenticate("admin", PASSWORD, HERE)
    assert clock.slept == []


async def test_nobody_is_locked_out(logins: Logins, clock: HandClock) -> None:
    """The right password works after any number of wrong ones, and takes the slowing away."""
    for number in range(12):
        await refused(logins, password=f"{number}")
    clock.slept.clear()
    await logins.authenticate("admin", PASSWORD, HERE)
    assert clock.slept == [2.0]
    clock.slept.clear()
    await refused(logins)
    assert clock.slept == []


async def test_failures_are_forgiven_after_minutes(logins: Logins, clock: HandClock) -> None:
    """Without any."""
    for number in range(12):
        await refused(logins, password=f"{number}")
    clock.slept.clear()
    clock.advance(301)
    await refused(logins)
    assert clock.slept == []


@pytest.mark.parametrize(("changed", "slept"), [(False, 2.0), (True, 0.0)])
async def test_a_change_of_the_account_ends_the_delays(
    logins: Logins, clock: HandClock, store: SqlStore, changed: bool, slept: float
) -> None:
    """Of its own logins only, and for the next login; other accounts still wait."""
    for number in range(12):
        await refused(logins, password=f"{number}")
        await refused(logins, name="carded", password=f"{number}")
    if changed:
        found = await store.read(lambda tx: tx.account("admin"))
        assert found is not None
        await store.write(lambda tx: tx.put_account(found))
    clock.slept.clear()
    await logins.authenticate("admin", PASSWORD, HERE)
    assert sum(clock.slept) == slept
    clock.slept.clear()
    await refused(logins, name="carded")
    assert clock.slept == [2.0]


async def test_failed_logins_are_counted_for_the_audit(logins: Logins, audit: AuditLog, store: SqlStore) -> None:
    """By the name that was tried, never with the password."""
    for _ in range(3):
        await refused(logins, password="canary")
    await refused(logins, name="nobody", password="canary")
    await audit.close()
    records = await store.read(lambda tx: tx.audit_records("node-1", 0, 10))
    assert [(record.account, record.message[:8]) for record in records] == [
        ("admin", "3 failed"),
        ("nobody", "1 failed"),
    ]
    assert "canary" not in repr(records)


async def test_an_unknown_account_costs_the_time_of_a_known_one(logins: Logins, hasher: CountingHasher) -> None:
    """Or names could be told from non-names by the time of the answer; those without a password as well."""
    await refused(logins)
    spent: dict[str, list[float]] = {"admin": [], "nobody": [], "carded": []}
    for number in range(7):
        for name, times in spent.items():
            began = time.perf_counter()
            await refused(logins, name=name, password=f"{number}", where=f"{number}")
            times.append(time.perf_counter() - began)
    assert hasher.verified == 22
    for name in ("admin", "carded"):
        assert 1 / 3 < median(spent[name]) / median(spent["nobody"]) < 3


async def test_memory_is_bounded(store: SqlStore, hasher: CountingHasher, clock: HandClock, audit: AuditLog) -> None:
    """The oldest failures are forgotten, so they delay no login; only the beginning of a name counts."""
    logins = Logins(store, hasher, clock, audit, offline(store, clock), sleep=clock.sleep, entries=3)
    for name in ("a", "b", "c", "d" * 1000):
        await refused(logins, name=name)
    assert clock.slept == []
    await refused(logins, name="a")
    assert clock.slept == []
    await refused(logins, name="d" * 64)
    assert len(clock.slept) == 1


async def test_a_withdrawn_account_is_read_with_a_commit(
    store: SqlStore, hasher: CountingHasher, clock: HandClock, audit: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of it does not count, nor does a row that a former primary reads."""
    offline = OfflineReads(store, clock, "node-1", limit_s=60)
    logins = Logins(store, hasher, clock, audit, offline, sleep=clock.sleep)
    for name in ("admin", "reader"):
        await logins.authenticate(name, PASSWORD, HERE)
    offline.withdraw([Withdrawn(Thing.ACCOUNT, "admin")])
    verified = hasher.verified
    known = await logins.authenticate("admin", PASSWORD, HERE, recall=True)
    assert hasher.verified == verified + 1, "the password must be shown again"

    async def away(work: object) -> object:
        del work
        raise StoreError("it commits nothing")

    monkeypatch.setattr(store, "version", lambda: None)  # as PostgreSQL's
    monkeypatch.setattr(store, "write", away)
    for recall in (True, False):
        with pytest.raises(StoreError):
            await logins.authenticate("admin", PASSWORD, HERE, recall=recall)
        await logins.authenticate("reader", PASSWORD, HERE, recall=recall)
    monkeypatch.undo()
    clock.advance(1)
    await offline.compare()
    monkeypatch.setattr(store, "write", away)
    assert await logins.authenticate("admin", PASSWORD, HERE) == known
