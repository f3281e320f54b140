"""Find out whether an address of a key server shows our keys now: its canary, and the newest copy there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from keystead.core.keys.digests import agrees
from keystead.service.keys.looking.canaries import shows_canary_of
from keystead.service.keys.topology import digest_key_context
from keystead.service.ports.keys import CopyRows, DigestKeyRows, KeyRows, ProfileRows
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from keystead.core.keys.model import Copy, Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.ports.objects import ObjectSession
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store

YOUNG: Final = timedelta(hours=1)
"""How long after a server was learned a secondary may lack the canary, because replication takes time."""


class Rows(ProfileRows, DigestKeyRows, CopyRows, KeyRows, Protocol):
    """The rows that this module reads."""


class _Expected(NamedTuple):
    """What an address must show. ``copy`` and ``key`` are the newest copy and its key, None if there is no copy."""

    profile: ServerProfile
    digest_key: Secret
    copy: Copy | None
    key: Key | None


class KeyVisibility:
    """The look of a node's monitor at the keys on its key servers."""

    def __init__(self, store: Store[Rows], sealer: Sealer, clock: Clock) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock

    async def sees_keys(self, session: ObjectSession, server: KeyServer, host: str) -> bool | None:
        """Return True if an address shows the server's canary and the newest copy there, False if it does not.

        ``host`` is empty for the primary. None if that is not known yet: the server was not learned, or a secondary may
        not have the canary yet. The newest copy is read too, because a server that was restored from an older copy
        still shows its canary. Called after each probe. Raises KeyServerFault when the server does not answer,
        StoreError, and SealError for a damaged digest key.
        """
        expected = await self._expected(server, host)
        if expected is None:
            return None
        profile = expected.profile
        if not await shows_canary_of(session, profile, profile, expected.digest_key):
            return None if host and self._clock.now() - profile.learned < YOUNG else False
        if await _shows_newest(session, expected):
            return True
        now = await self._expected(server, host)  # the copy may just have been destroyed
        return None if now is None or now.copy != expected.copy else False

    async def _expected(self, server: KeyServer, host: str) -> _Expected | None:
        """Return what the address must show; None if the server was not learned."""

        def read(tx: Rows) -> tuple[ServerProfile | None, bytes | None, Copy | None, Key | None]:
            profile = next(iter(tx.profiles([server.uuid])), None)
            copy = tx.newest_copy(server.uuid, host)
            return profile, tx.digest_key(server.key_manager), copy, None if copy is None else tx.key(copy.key)

        profile, sealed, copy, key = await self._store.read(read)
        if profile is None or sealed is None:
            return None
        return _Expected(profile, self._sealer.unseal(sealed, digest_key_context(server.key_manager)), copy, key)


async def _shows_newest(session: ObjectSession, expected: _Expected) -> bool:
    """Return True if the bytes of the newest copy are read and agree, or if there is no copy."""
    copy, key = expected.copy, expected.key
    if copy is None or key is None:
        return True
    try:
        material = await session.get(copy.unique_identifiers)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return False
    return agrees(expected.digest_key, key.uuid, material, key.digest)
