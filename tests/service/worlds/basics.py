"""What use cases need in tests besides a real store: a clock that is set by hand, a keyring, a counting hasher."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keystead.core.secret import Secret
from keystead.sealing import Argon2Hasher, Keyring

KEYRING, DATA_KEY = Keyring.create(Secret(bytes(range(32))))


class HandClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the wall clock."""
        return self.time

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.time.timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Pass at once, and remember for how long."""
        self.slept.append(seconds)
        self.advance(seconds)


class CountingHasher(Argon2Hasher):
    """The real hasher, which counts what it verifies."""

    def __init__(self) -> None:
        super().__init__()
        self.verified = 0

    async def verify(self, password_hash: str, password: Secret) -> bool:
        """Verify, and count."""
        self.verified += 1
        return await super().verify(password_hash, password)
