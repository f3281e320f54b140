"""Login by password.

A verified credential is remembered for minutes, as a MAC under a key of this process, with the version of the account's
row. Every login compares this version, so that a changed account must show its password again. A login to read the
metrics, or a key, does without the row when the database fails.

Failed logins delay the next login of the same account and address, before the hash. Nobody is locked out, and a
remembered credential is never delayed. A change of the account, as by a new password, ends the delays.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from typing import TYPE_CHECKING, NamedTuple

from cachetools import TTLCache

from keystead.core.errors import AUTHENTICATION_FAILED, TOO_MANY_REQUESTS, OntapError
from keystead.core.secret import Secret
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.context import Caller
from keystead.service.offline import REMEMBERED_S
from keystead.service.ports.store import AWAY, StorageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from keystead.core.model import Account
    from keystead.service.audit.log import AuditLog
    from keystead.service.offline import OfflineReads
    from keystead.service.ports.cluster import AccountRows
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import PasswordHasher
    from keystead.service.ports.store import Store

PATIENCE_S = 1.0
"""Seconds that a login with ``recall`` waits for the database."""

FORGIVEN_S = 300.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 2.0
ENTRIES = 4096
"""Most credentials that are remembered, and most accounts, each with an address, with counted failures.

The oldest go first.
"""

NAME_LIMIT = 64
AT_ONCE = 8
"""Most credentials of one address that are verified at a time. More are answered 429."""


def delay_s(failures: int) -> float:
    """Return the seconds that the next login waits: 0 after up to two failures, then 0.1 s, doubled up to 2 s."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 3, 16)) if failures > 2 else 0.0


class Logins:
    """Authentication by password. One per process.

    ``patience_s`` and ``entries`` are limits; see the constants of this module.
    """

    def __init__(
        self,
        store: Store[AccountRows],
        hasher: PasswordHasher,
        clock: Clock,
        audit: AuditLog,
        offline: OfflineReads,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        patience_s: float = PATIENCE_S,
        entries: int = ENTRIES,
    ) -> None:
        self._patience_s = patience_s
        self._store = store
        self._hasher = hasher
        self._audit = audit
        self._offline = offline
        self._sleep = sleep
        self._process_key = os.urandom(32)
        self._remembered: TTLCache[str, _Remembered] = TTLCache(entries, REMEMBERED_S, timer=clock.monotonic)
        self._rows: TTLCache[str, _Row] = TTLCache(entries, REMEMBERED_S, timer=clock.monotonic)
        self._failures: TTLCache[tuple[str, str, int], int] = TTLCache(entries, FORGIVEN_S, timer=clock.monotonic)
        self._verifying: dict[tuple[str, bytes], asyncio.Task[bool]] = {}
        self._dummy_hash = ""
        offline.add(self.compare)
        offline.on_withdrawn(Thing.ACCOUNT, self._forget)

    async def authenticate(self, name: str, password: Secret, location: str, *, recall: bool = False) -> Caller:
        """Return the caller at ``location``. Raises OntapError (401; 429 when too many logins wait), StoreError.

        With ``recall``, a remembered credential is accepted without the account's row if the database does not answer.
        It is for reads that must work while the database is away.
        """
        try:
            account = self._unchanged(name)
            if account is None and is_plausible(name):
                async with asyncio.timeout(self._patience_s if recall else None):
                    account = await self._account(name)
        except (StoreError, TimeoutError) as failure:
            recalls = recall and not self._offline.is_withdrawn(Withdrawn(Thing.ACCOUNT, name))
            known = self._remembered.get(name) if recalls else None
            if known is None or not hmac.compare_digest(known.proof, self._proof(name, known.account, password)):
                raise (
                    failure
                    if isinstance(failure, StoreError)
                    else StorageError("the database is slow", AWAY, retry_after_s=1)
                ) from None
            return Caller.of(known.account, location)
        proof = self._proof(name, account, password)
        if account is not None and not account.locked and self._is_remembered(account, proof):
            return Caller.of(account, location)
        verified = await self._verify_once(name, account, password, location, proof)
        if account is None or not verified:
            raise OntapError(AUTHENTICATION_FAILED)
        return Caller.of(account, location)

    async def compare(self) -> None:
        """Forget the credentials of accounts that have changed in the database. Raises StoreError."""
        known = {name: each.account.version for name, each in self._remembered.items()}
        if known:
            now = await self._store.read(lambda tx: {name: tx.account(name) for name in known})
            for name, account in now.items():
                if account is None or account.version != known[name]:
                    self._remembered.pop(name, None)

    def _forget(self, name: str) -> None:
        """Forget an account that another node has changed."""
        self._remembered.pop(name, None)
        self._rows.pop(name, None)

    def _unchanged(self, name: str) -> Account | None:
        """Return the account's row as it was read before, or None if anything was committed since."""
        known = self._rows.get(name)
        if known is None or known.version is None or known.version != self._store.version():
            return None
        return known.account

    async def _account(self, name: str) -> Account | None:
        """Read the account's row, and remember it."""
        version = self._store.version()
        account = await self._offline.read_few(lambda tx: tx.account(name), Withdrawn(Thing.ACCOUNT, name))
        if account is not None:
            self._rows[name] = _Row(version, account)
        return account

    async def _verify_once(
        self, name: str, account: Account | None, password: Secret, location: str, proof: bytes
    ) -> bool:
        """Verify a credential, or wait for the call that is doing so (single-flight).

        A burst of calls costs one hash.
        """
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
        """Delay the login, verify the password, and remember the outcome.

        A login takes the same time if there is no such account, or if the account has no password.
        """
        guesser = (name[:NAME_LIMIT], location, account.version if account else 0)
        failures = self._failures.get(guesser) or 0
        if failures:
            await self._sleep(delay_s(failures))
        if not self._dummy_hash:
            self._dummy_hash = await self._hasher.hash(Secret(os.urandom(16).hex()))
        password_hash = account.password_hash if account else ""  # also empty for logins by certificate only
        verified = await self._hasher.verify(password_hash or self._dummy_hash, password)
        if account is None or account.locked or not verified:
            self._failures[guesser] = (self._failures.get(guesser) or 0) + 1
            self._audit.login_failed(name, location, account)
            return False
        self._failures.pop(guesser, None)
        self._remembered[account.name] = _Remembered(account, proof)
        return True

    def _proof(self, name: str, account: Account | None, password: Secret) -> bytes:
        """Return the MAC of a credential. Without this process's key, it does not help to find the password."""
        parts = (name.encode(errors="replace"), (account.password_hash if account else "").encode(), password.reveal())
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._process_key, message, "sha256")

    def _is_remembered(self, account: Account, proof: bytes) -> bool:
        known = self._remembered.get(account.name)
        if known is None or known.account.version != account.version or not hmac.compare_digest(known.proof, proof):
            return False
        # Again, because a credential in use stays remembered; and with the role as it is now.
        self._remembered[account.name] = known._replace(account=account)
        return True


class _Remembered(NamedTuple):
    """A credential that was verified, and the account's row at that time."""

    account: Account
    proof: bytes


class _Row(NamedTuple):
    """An account's row, and the version of the store before the row was read."""

    version: Hashable | None
    account: Account


def is_plausible(name: str) -> bool:
    """Return True if the name is short and printable, so that the store may be asked for it."""
    return 0 < len(name) <= NAME_LIMIT and name.isprintable()
