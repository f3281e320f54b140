"""Looks for canaries on key servers that were learned: the result of one look, and when a canary is lost for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.core.keys.learning import lost
from keystead.service.keys.looking.canaries import CanarySight, find_own_canary, found_under, shows_canary_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.keys.model import ServerProfile
    from keystead.core.secret import Secret
    from keystead.service.ports.objects import ObjectSession


@dataclass(frozen=True, slots=True)
class CanaryLook:
    """The result of one look for canaries on a server.

    ``own`` says whether the server's own canary was found. ``sees`` are other servers with canaries that were found
    here for the first time. ``canary`` are the identifiers of the server's own canary if they have changed, else empty.
    ``public_key`` is the SHA-256 of the server's public key.
    """

    own: CanarySight
    sees: tuple[str, ...]
    canary: tuple[str, ...]
    public_key: str

    def is_news(self, profile: ServerProfile) -> bool:
        """Return True if the server was recognized by its canary, and has new identifiers or a new public key."""
        return self.own is CanarySight.SEEN and bool(self.canary or self.public_key not in {"", profile.public_key})


async def look_for_canaries_on(
    session: ObjectSession, key_server: str, profiles: Mapping[str, ServerProfile], digest_key: Secret
) -> CanaryLook:
    """Look on one server for its own canary, and for canaries of servers that are not in its ``sees`` yet.

    ``profiles`` are those of all servers of the key manager, by uuid. If the own canary is not seen, look for it under
    its name. If it is found there, the server has renumbered its objects: the result is ``SEEN``, with the new
    identifiers. Nothing is stored. Raises KeyServerFault when the server does not answer.
    """
    profile = profiles[key_server]
    others = [other for other in profiles.values() if other.key_server not in {key_server, *profile.sees}]
    own = await find_own_canary(session, profile, digest_key)
    new_ids = () if own is CanarySight.SEEN else await found_under(session, profile, profile, digest_key)
    sees = [each.key_server for each in others if await shows_canary_of(session, profile, each, digest_key)]
    return CanaryLook(CanarySight.SEEN if new_ids else own, tuple(sees), new_ids, session.public_key)


@dataclass(slots=True)
class _Absence:
    """A canary that is absent: at how many looks in a row, and since when (monotonic)."""

    looks: int
    since: float


class Absences:
    """The canaries that were absent at the last look, by server (uuid)."""

    def __init__(self) -> None:
        self._by_server: dict[str, _Absence] = {}

    def is_lost(self, key_server: str, own: CanarySight, now: float) -> bool:
        """Count one look. Return True if the server's canary is lost for good. An unclear look changes nothing."""
        if own is CanarySight.SEEN:
            self.forget(key_server)
        if own is not CanarySight.ABSENT:
            return False
        absence = self._by_server.setdefault(key_server, _Absence(0, now))
        absence.looks += 1
        return lost(absence.looks, now - absence.since)

    def forget(self, key_server: str) -> None:
        """Forget the absence of a canary, because it was seen, or because there is a new one."""
        self._by_server.pop(key_server, None)
