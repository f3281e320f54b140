"""Back-off for key servers that do not store copies: pauses that double, and the key to continue with.

A server may refuse one key, or all keys because it is full. Keys are offered in the order of their uuids. After a pause
the server is offered the keys after the refused one. The next walk over all keys offers it the others. Pauses are in
memory only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keystead.core.backoff import Backoff

FIRST_S: Final = 60.0
LONGEST_S: Final = 1800.0
"""How many seconds the first pause and the longest pause last."""


@dataclass(slots=True)
class _Pause:
    """The back-off of a server. After it, only keys with a greater uuid than ``last_key`` are offered."""

    backoff: Backoff
    last_key: str


class Pauses:
    """The pauses of servers, by uuid. Times are from a monotonic clock."""

    def __init__(self) -> None:
        self._by_server: dict[str, _Pause] = {}

    def may_try(self, key_server: str, key: str, now: float) -> bool:
        """Return True if a server (uuid) may be offered a copy of a key (uuid) now."""
        pause = self._by_server.get(key_server)
        return pause is None or (pause.backoff.is_over(now) and key > pause.last_key)

    def failed(self, key_server: str, key: str, now: float) -> None:
        """Pause a server that did not store a copy of a key (uuid). Offer it the keys after this one later.

        Each pause is twice as long as the one before. If the last pause ended more than :data:`LONGEST_S` ago, the
        pauses begin with :data:`FIRST_S` again. A failure during a pause does not change its end.
        """
        pause = self._by_server.get(key_server)
        if pause is not None and not pause.backoff.is_over(now):
            pause.last_key = max(pause.last_key, key)
            return
        if pause is None or pause.backoff.until + LONGEST_S < now:
            pause = self._by_server[key_server] = _Pause(Backoff(FIRST_S, LONGEST_S), key)
        pause.last_key = key
        pause.backoff.failed(now)

    def walked(self, now: float) -> None:
        """End a walk over all keys: servers without a running pause are offered all keys in the next walk.

        Pauses that ended more than :data:`LONGEST_S` ago are deleted.
        """
        recent = {uuid: pause for uuid, pause in self._by_server.items() if pause.backoff.until + LONGEST_S >= now}
        for pause in recent.values():
            if pause.backoff.is_over(now):
                pause.last_key = ""
        self._by_server = recent

    def clear(self) -> None:
        """Delete all pauses."""
        self._by_server.clear()
