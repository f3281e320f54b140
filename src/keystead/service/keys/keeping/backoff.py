"""Pauses: how key servers that take no copy are left alone, longer each time, and which key is their next.

A server may refuse all keys, when it is full, or one. So it is tried again after a pause, and with the keys after the
one that it refused; those before come when the walk over all keys begins anew. Nothing of this is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_S: Final = 60.0
LONGEST_S: Final = 1800.0


@dataclass(slots=True)
class _Pause:
    """Until when (monotonic), how long it is, and after which key (uuid) to go on."""

    until: float
    length_s: float
    after: str


class Pauses:
    """The pauses of servers, by uuid. Times are those of a monotonic clock."""

    def __init__(self) -> None:
        self._of: dict[str, _Pause] = {}

    def may_try(self, key_server: str, key: str, now: float) -> bool:
        """Whether a server may be given a copy of a key (uuid)."""
        pause = self._of.get(key_server)
        return pause is None or (pause.until <= now and key > pause.after)

    def failed(self, key_server: str, key: str, now: float) -> None:
        """A server did not take a copy: pause. What fails at the same time does not make that longer."""
        pause = self._of.get(key_server)
        if pause is None or pause.until + LONGEST_S < now:
            self._of[key_server] = _Pause(now + FIRST_S, FIRST_S, key)
        elif pause.until > now:
            pause.after = max(pause.after, key)
        else:
            length_s = min(2 * pause.length_s, LONGEST_S)
            self._of[key_server] = _Pause(now + length_s, length_s, key)

    def walked(self, now: float) -> None:
        """All keys were offered: the next walk begins with the first, on servers that do not pause."""
        self._of = {uuid: pause for uuid, pause in self._of.items() if pause.until + LONGEST_S >= now}
        for pause in self._of.values():
            if pause.until <= now:
                pause.after = ""

    def clear(self) -> None:
        """Try all again now."""
        self._of.clear()
