"""Back-off for key servers that do not take copies: pauses that double, and the key to continue with.

A server may refuse one key, or all keys because it is full. After a pause the server is offered the keys that follow
the refused one. The keys before come in the next walk over all keys. Pauses are kept in memory only.
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
    """The back-off of a server, and the key (uuid) after which to continue."""

    backoff: Backoff
    after: str


class Pauses:
    """The pauses of servers, by uuid. Times are from a monotonic clock."""

    def __init__(self) -> None:
        self._by_server: dict[str, _Pause] = {}

    def may_try(self, key_server: str, key: str, now: float) -> bool:
        """Return True if a server (uuid) may be offered a copy of a key (uuid) now."""
        pause = self._by_server.get(key_server)
        return pause is None or (pause.backoff.is_over(now) and key > pause.after)

    def failed(self, key_server: str, key: str, now: float) -> None:
        """Pause a server that did not take a copy of a key. A failure during a pause does not make the pause longer.

        A server that was not paused for :data:`LONGEST_S` begins with the first pause again.
        """
        pause = self._by_server.get(key_server)
        if pause is not None and not pause.backoff.is_over(now):
            pause.after = max(pause.after, key)
            return
        if pause is None or pause.backoff.until + LONGEST_S < now:
            pause = self._by_server[key_server] = _Pause(Backoff(FIRST_S, LONGEST_S), key)
        pause.after = key
        pause.backoff.failed(now)

    def walked(self, now: float) -> None:
        """End a walk over all keys: servers without a running pause start with the first key again.

        Pauses that ended more than :data:`LONGEST_S` ago are forgotten.
        """
        kept = {uuid: pause for uuid, pause in self._by_server.items() if pause.backoff.until + LONGEST_S >= now}
        for pause in kept.values():
            if pause.backoff.is_over(now):
                pause.after = ""
        self._by_server = kept

    def clear(self) -> None:
        """Forget all pauses."""
        self._by_server.clear()
