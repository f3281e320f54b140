"""Logging in: who calls, proved by a password (design: accounts and roles).

A verified credential is remembered for minutes, as a MAC under a key of this process, beside the version of the
account's row, which every login goes by: a changed account is asked for its password again. (A login to read the
metrics, or a key, does without the row when the database fails.) Failed logins slow the next of the same account and
address, before the hash; nobody is locked out, and a remembered credential is never slowed.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from keystead.core.errors import AUTHENTICATION_FAILED, TOO_MANY_REQUESTS, OntapError
from keystead.core.secret import Secret
from keystead.service.context import Caller
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from keystead.core.model import Account
    from keystead.service.audit.log import AuditLog
    from keystead.service.ports.store import Clock, PasswordHasher, Store

REMEMBERED_S = 300.0
PATIENCE_S = 1.0
"""How long a login that may be recalled waits for the database."""

FORGIVEN_S = 300.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 2.0
ENTRIES = 4096
"""Credentials remembered, and accounts and addresses whose failures are counted; the oldest go first."""

NAME_LIMIT = 64
AT_ONCE = 8
"""Different credentials of one address that are being verified; more answer 429."""

V = TypeVar("V")


def delay_s(failures: int) -> float:
    """How long the next login waits after so many failures: nothing after two, then 0.1 s doubling up to 2 s."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 3, 16)) if failures > 2 else 0.0


class Logins:
    """Authenticates. One per process."""

    def __init__(
        self,
        store: Store,
        hasher: PasswordHasher,
        clock: Clock,
        audit: AuditLog,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._audit = audit
        self._sleep = sleep
        self._process_key = os.urandom(32)
        self._remembered: _Recent[_Remembered] = _Recent(clock, REMEMBERED_S)
        self._rows: _Recent[_Row] = _Recent(clock, REMEMBERED_S)
        self._failures: _Recent[int] = _Recent(clock, FORGIVEN_S)
        self._verifying: dict[tuple[str, bytes], asyncio.Task[bool]] = {}
        self._dummy_hash = ""

    async def authenticate(self, name: str, password: Secret, location: str, *, recall: bool = False) -> Caller:
        """Return who calls from ``location``. Raises OntapError (401; 429 when too many logins wait), StoreError.

        With ``recall`` a remembered credential is believed, for as long as it is remembered, when the database does not
        say what became of its account: for what is looked at just then.
        """
        try:
            account = self._unchanged(name)
            if account is None and is_plausible(name):
                async with asyncio.timeout(PATIENCE_S if recall else None):
                    account = await self._account(name)
        except (StoreError, TimeoutError) as failure:
            known = self._remembered.get(name) if recall else None
            if known is None or not hmac.compare_digest(known.proof, self._proof(name, known.account, password)):
                raise failure if isinstance(failure, StoreError) else StoreError("the database is slow") from None
            return Caller(known.account.name, known.account.role, location, known.account.svm)
        proof = self._proof(name, account, password)
        if account is not None and not account.locked and self._is_remembered(account, proof):
            return Caller(account.name, account.role, location, account.svm)
        verified = await self._verify_once(name, account, password, location, proof)
        if account is None or not verified:
            raise OntapError(AUTHENTICATION_FAILED)
        return Caller(account.name, account.role, location, account.svm)

    def _unchanged(self, name: str) -> Account | None:
        """The account's row as it was read, as long as nothing at all was committed since."""
        known = self._rows.get(name)
        if known is None or known.version is None or known.version != self._store.version():
            return None
        return known.account

    async def _account(self, name: str) -> Account | None:
        """The account's row as it is now."""
        version = self._store.version()
        account = await self._store.glance(lambda tx: tx.account(name))
        if account is not None:
            self._rows.put(name, _Row(version, account))
        return account

    async def _verify_once(
        self, name: str, account: Account | None, password: Secret, location: str, proof: bytes
    ) -> bool:
        """Verify a credential, or wait for the call that is doing so: a burst of calls costs one hash."""
        flight = (location, proof)
        task = self._verifying.get(flight)
        if task is None:
            if sum(where == location for where, _ in self._verifying) >= AT_ONCE:
                raise OntapError(TOO_MANY_REQUESTS, retry_after=1)
            task = asyncio.create_task(self._verify(name, account, password, location, proof))
            task.add_done_callback(lambda _: self._verifying.pop(flight))
            self._verifying[flight] = task
        return await asyncio.shield(task)

    async def _verify(self, name: str, account: Account | None, password: Secret, location: str, proof: bytes) -> bool:
        """Slow down, hash and keep what came out. An account without a password costs the time of others."""
        guesser = (name[:NAME_LIMIT], location)
        failures = self._failures.get(guesser) or 0
        if failures:
            await self._sleep(delay_s(failures))
        if not self._dummy_hash:
            self._dummy_hash = await self._hasher.hash(Secret(os.urandom(16).hex()))
        password_hash = account.password_hash if account else ""  # empty, too, of one that logs in by certificate only
        verified = await self._hasher.verify(password_hash or self._dummy_hash, password)
        if account is None or account.locked or not verified:
            self._failures.put(guesser, (self._failures.get(guesser) or 0) + 1)
            self._audit.login_failed(name, location, account)
            return False
        self._failures.forget(guesser)
        self._remembered.put(account.name, _Remembered(account, proof))
        return True

    def _proof(self, name: str, account: Account | None, password: Secret) -> bytes:
        """What is remembered of a credential: nothing that helps to find the password without this process's key."""
        parts = (name.encode(errors="replace"), (account.password_hash if account else "").encode(), password.reveal())
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._process_key, message, "sha256")

    def _is_remembered(self, account: Account, proof: bytes) -> bool:
        known = self._remembered.get(account.name)
        if known is None or known.account.version != account.version or not hmac.compare_digest(known.proof, proof):
            return False
        self._remembered.put(account.name, known)  # in use: remembered anew
        return True


class _Remembered(NamedTuple):
    """A credential that was verified when the account's row was this."""

    account: Account
    proof: bytes


class _Row(NamedTuple):
    """An account's row, and the version of the store before it was read."""

    version: Hashable | None
    account: Account


class _Recent(Generic[V]):
    """Values that are forgotten some seconds after they were put, or when there are too many."""

    def __init__(self, clock: Clock, keep_s: float) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """Return the value, None when there is none any more."""
        until, value = self._entries.get(key, (0.0, None))
        return value if self._clock.monotonic() < until else None

    def put(self, key: Hashable, value: V) -> None:
        """Keep a value, from now on."""
        self._entries[key] = (self._clock.monotonic() + self._keep_s, value)
        self._entries.move_to_end(key)
        if len(self._entries) > ENTRIES:
            self._entries.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Drop a value, if it is there."""
        self._entries.pop(key, None)


def is_plausible(name: str) -> bool:
    """Whether the store may be asked for such a name."""
    return 0 < len(name) <= NAME_LIMIT and name.isprintable()
