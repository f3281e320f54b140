"""Sessions of the console over a real store, with real hashes and a clock set by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core.errors import AUTHENTICATION_FAILED, ENTRY_NOT_FOUND, OntapError
from keystead.core.model import Account, Role
from keystead.core.secret import Secret
from keystead.core.sessions import IDLE, LIFETIME, digest_of, is_confirmed
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.accounts.certificate_logins import CertificateLogins
from keystead.service.accounts.logins import Logins
from keystead.service.accounts.sessions import Sessions
from keystead.service.audit.log import AuditLog
from keystead.service.context import Call, Caller
from keystead.service.offline import OfflineReads
from keystead.service.ports.store import StoreError
from keystead.store import SqlStore, open_store
from tests.service.worlds.basics import KEYRING, CountingHasher, HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from keystead.core.errors import ErrorKind

PASSWORD = Secret("pässword")
HERE = "192.0.2.1"
ADMIN = Call(Caller("admin", Role.ADMIN, HERE), "POST", "/sessions")
READER = Call(Caller("reader", Role.READONLY, HERE), "POST", "/sessions")


class World:
    """A store with two accounts, and the sessions of one process."""

    def __init__(self, store: SqlStore, clock: HandClock, hasher: CountingHasher) -> None:
        self.store = store
        self.clock = clock
        self.audit = AuditLog(store, KEYRING, clock, "node")
        self.offline = OfflineReads(store, clock, "node", limit_s=60)
        logins = Logins(store, hasher, clock, self.audit, self.offline)
        by_certificate = CertificateLogins(store, clock, self.audit, self.offline)
        self.sessions = Sessions(store, logins, by_certificate, self.audit, clock, self.offline)

    async def begin(self, name: str = "admin") -> str:
        """Log in and return the token."""
        return await self.sessions.begin(name, PASSWORD, HERE)

    async def is_over(self, token: str) -> bool:
        """Return True if the token opens no page."""
        try:
            await self.sessions.find(token, HERE, polls=True)
        except OntapError as error:
            return error.kind is AUTHENTICATION_FAILED
        return False

    async def change(self, name: str, change: Callable[[Account], Account]) -> None:
        """Change an account."""
        account = await self.store.read(lambda tx: tx.account(name))
        assert account is not None
        await self.store.write(lambda tx: tx.put_account(change(account)))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Yield a world on each database."""
    hasher, store = CountingHasher(), open_store(database_url)
    password_hash = await hasher.hash(PASSWORD)
    for name, role in (("admin", Role.ADMIN), ("reader", Role.READONLY)):
        account = Account(name, role, password_hash)
        await store.write(lambda tx: tx.put_account(account))  # noqa: B023 - awaited
    made = World(store, HandClock(), hasher)
    yield made
    await made.audit.close()
    await store.close()
    hasher.close()


async def refused(kind: ErrorKind, work: Callable[[], object]) -> None:
    """Expect this error of an awaitable."""
    with pytest.raises(OntapError) as error:
        await work()  # type: ignore[misc]
    assert error.value.kind is kind


async def test_a_session_opens_pages_until_it_is_over(world: World) -> None:
    """It lasts while it is used, twelve hours at most. Polls do not count as use."""
    token = await world.begin()
    caller, session = await world.sessions.find(token, "192.0.2.9")
    assert (caller.account, caller.role, caller.location) == ("admin", Role.ADMIN, "192.0.2.9")
    assert (session.digest, session.location) == (digest_of(token), HERE)
    for _ in range(3):
        world.clock.advance((IDLE - timedelta(minutes=1)).total_seconds())
        await world.sessions.find(token, HERE)
    world.clock.advance((IDLE - timedelta(minutes=1)).total_seconds())
    assert not await world.is_over(token)
    world.clock.advance(60)
    assert await world.is_over(token)
    token = await world.begin()
    for _ in range(int(LIFETIME / IDLE) * 2):
        world.clock.advance(IDLE.total_seconds() / 2)
        if await world.is_over(token):
            break
        await world.sessions.find(token, HERE)
    assert await world.is_over(token)


async def test_wrong_logins_begin_none(world: World) -> None:
    """Neither a wrong password nor a foreign token opens a page; the attempts are counted as those of the API."""
    await refused(AUTHENTICATION_FAILED, lambda: world.sessions.begin("admin", Secret("wrong"), HERE))
    await refused(AUTHENTICATION_FAILED, lambda: world.sessions.begin("nobody", PASSWORD, HERE))
    assert await world.is_over("")
    assert await world.is_over("guessed")
    assert await world.store.read(lambda tx: tx.sessions()) == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda account: replace(account, password_hash="other"),
        lambda account: replace(account, role=Role.READONLY),
        lambda account: replace(account, locked=True),
    ],
    ids=["password", "role", "lock"],
)
async def test_a_changed_account_ends_its_sessions(world: World, change: Callable[[Account], Account]) -> None:
    """Those of other accounts go on."""
    token, other = await world.begin("reader"), await world.begin("admin")
    await world.change("reader", change)
    assert await world.is_over(token)
    assert not await world.is_over(other)


async def test_a_deleted_account_takes_its_sessions_along(world: World) -> None:
    """An account of the same name does not bring them back."""
    token = await world.begin("reader")
    account = await world.store.read(lambda tx: tx.account("reader"))
    assert account is not None
    await world.store.write(lambda tx: tx.delete_account("reader"))
    await world.store.write(lambda tx: tx.put_account(account))
    assert await world.is_over(token)


async def test_who_may_see_and_end_which_session(world: World) -> None:
    """The administrator all of them, everybody else their own."""
    admin, reader = await world.begin("admin"), await world.begin("reader")
    assert [each.account for each in await world.sessions.list(READER)] == ["reader"]
    assert {each.account for each in await world.sessions.list(ADMIN)} == {"admin", "reader"}
    await refused(ENTRY_NOT_FOUND, lambda: world.sessions.end(READER, digest_of(admin)))
    await refused(ENTRY_NOT_FOUND, lambda: world.sessions.end(ADMIN, digest_of("none")))
    await world.sessions.end(ADMIN, digest_of(reader))
    assert await world.is_over(reader)
    await world.sessions.end(ADMIN, digest_of(admin))
    assert await world.is_over(admin)


async def test_the_password_is_confirmed(world: World) -> None:
    """A right password is noted in the session, a wrong one is refused."""
    token = await world.begin()
    world.clock.advance(600)
    _, session = await world.sessions.find(token, HERE)
    assert not is_confirmed(session, world.clock.now())
    await refused(AUTHENTICATION_FAILED, lambda: world.sessions.confirm(session, Secret("wrong"), HERE))
    await world.sessions.confirm(session, PASSWORD, HERE)
    _, session = await world.sessions.find(token, HERE)
    assert is_confirmed(session, world.clock.now())


async def test_what_is_over_is_deleted(world: World) -> None:
    """With the next login, so that the table does not grow."""
    await world.begin("reader")
    world.clock.advance(IDLE.total_seconds() + 1)
    await world.begin("admin")
    assert [each.account for each in await world.store.read(lambda tx: tx.sessions())] == ["admin"]
    records = await world.store.read(lambda tx: tx.audit_records("node", 0, 10))
    assert [(each.account, each.path, each.message) for each in records] == [
        (name, "/login", "began a session of the console") for name in ("reader", "admin")
    ]


async def test_a_session_of_a_withdrawn_account_is_proven_by_a_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A former primary that is cut off has the account as it was, and commits nothing."""
    token, other = await world.begin(), await world.begin("reader")
    world.offline.withdraw([Withdrawn(Thing.ACCOUNT, "admin")])
    await world.sessions.find(token, HERE, polls=True)

    async def away(work: object) -> object:
        del work
        raise StoreError("it commits nothing")

    monkeypatch.setattr(world.store, "write", away)
    with pytest.raises(StoreError):
        await world.sessions.find(token, HERE, polls=True)
    await world.sessions.find(other, HERE, polls=True)
