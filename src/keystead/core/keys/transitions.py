"""Every change of a key's state and of a copy's presence that the code makes. Pure.

Each row is (from, to, why); from is None where the key or the copy is new. ``scripts/generate_docs.py`` draws both
tables in ``docs/explanation/keys.md``.
"""

from __future__ import annotations

from typing import Final

from keystead.core.keys.model import KeyState, Presence

KeyTransition = tuple[KeyState | None, KeyState, str]
CopyTransition = tuple[Presence | None, Presence, str]

KEY_TRANSITIONS: Final[tuple[KeyTransition, ...]] = (
    (None, KeyState.PENDING, "an attempt is stored"),
    (None, KeyState.COMMITTED, "adopted or rebuilt"),
    (KeyState.PENDING, KeyState.COMMITTED, "enough proven copies, or rebuilt"),
    (
        KeyState.PENDING,
        KeyState.ABORTED,
        "too few copies, configuration changed, or timed out",
    ),
    (KeyState.ABORTED, KeyState.COMMITTED, "rebuilt"),
    (KeyState.COMMITTED, KeyState.RETIRED, "deleted"),
    (KeyState.RETIRED, KeyState.COMMITTED, "recovered"),
    (KeyState.RETIRED, KeyState.RETIRED, "deleted again in a later incarnation"),
    (KeyState.RETIRED, KeyState.PURGING, "overdue, and destruction is not held"),
    (KeyState.PURGING, KeyState.PURGED, "every copy ended"),
    (KeyState.PURGED, KeyState.PURGING, "found again"),
)
"""Each change of a key's state. Rebuilt: a rebuild found its descriptor, which is written after the commit."""

_AGREES: Final = "bytes agree"
_DIFFERS: Final = "bytes differ"
_UNREAD: Final = "not readable, or server moved"
_ABSENT: Final = "absent, and canary seen"
_ENDED: Final = "destroyed, absent, or server given up"
_LATE: Final = "noted late by a suspended process"

COPY_TRANSITIONS: Final[tuple[CopyTransition, ...]] = (
    (None, Presence.SENT, "an attempt is about to write"),
    (None, Presence.PRESENT, "adopted or rebuilt"),
    (None, Presence.UNKNOWN, "object of an ended attempt found"),
    (Presence.SENT, Presence.MISSING, "not sent, or refused"),
    (Presence.SENT, Presence.PRESENT, _AGREES),
    (Presence.UNKNOWN, Presence.PRESENT, _AGREES),
    (Presence.MISSING, Presence.PRESENT, _AGREES),
    (Presence.DIFFERENT, Presence.PRESENT, _AGREES),
    (Presence.SENT, Presence.DIFFERENT, _DIFFERS),
    (Presence.PRESENT, Presence.DIFFERENT, _DIFFERS),
    (Presence.UNKNOWN, Presence.DIFFERENT, _DIFFERS),
    (Presence.MISSING, Presence.DIFFERENT, _DIFFERS),
    (Presence.SENT, Presence.UNKNOWN, _UNREAD),
    (Presence.PRESENT, Presence.UNKNOWN, _UNREAD),
    (Presence.MISSING, Presence.UNKNOWN, _UNREAD),
    (Presence.DIFFERENT, Presence.UNKNOWN, _UNREAD),
    (Presence.SENT, Presence.MISSING, _ABSENT),
    (Presence.UNKNOWN, Presence.MISSING, _ABSENT),
    (Presence.DIFFERENT, Presence.MISSING, _ABSENT),
    (Presence.SENT, Presence.DESTROYED, _ENDED),
    (Presence.PRESENT, Presence.DESTROYED, _ENDED),
    (Presence.UNKNOWN, Presence.DESTROYED, _ENDED),
    (Presence.MISSING, Presence.DESTROYED, _ENDED),
    (Presence.DIFFERENT, Presence.DESTROYED, _ENDED),
    (Presence.DESTROYED, Presence.UNKNOWN, "found again"),
    (Presence.DESTROYED, Presence.PRESENT, _LATE),
    (Presence.DESTROYED, Presence.DIFFERENT, _LATE),
)
"""Each change of a copy's presence. A present copy that is gone is unknown until the sweep of its server has ended.

A destroyed copy is noted late if its writer was suspended for an hour, and another process ended the attempt meanwhile.
"""
