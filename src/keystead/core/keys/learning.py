"""How the abilities of a key server are found out: as what it takes a key, and what each answer means. Pure.

A server is tried with canaries: objects of ours that stay there. A canary's number says how it is tried, and its bytes
are random ones with their keyed digest: so one whose Register was never answered can be looked for by name, and proves
to whoever comes next what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from keystead.core.keys.destroying import ACTIVE
from keystead.core.keys.digests import agrees, digest
from keystead.core.keys.model import KeyForm
from keystead.core.keys.names import parse
from keystead.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.keys.model import ServerProfile

RANDOM_BYTES: Final = 32
"""The random part of a canary. Whole, it is as long as the key of a volume."""

ROUNDS: Final = 3
"""How many names may turn out to be taken before a server is given up: each time all ways are open again."""

LOST_LOOKS: Final = 3
LOST_S: Final = 3600.0
"""A canary is lost for good when so many looks in a row, over at least so long, did not find it."""

_ACTIVATE: Final = 18  # KMIP's number of the operation


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to keep a key: as which objects, and whether with Application Specific Information."""

    form: KeyForm
    application_information: bool


TRIALS: Final = tuple(Trial(form, information) for form in KeyForm for information in (True, False))
"""All ways, the best first: one object before two, and with what helps to recognise it before without."""


def trial(number: int) -> Trial:
    """How the canary with this number is tried: numbers count the ways, round after round."""
    return TRIALS[(number - 1) % len(TRIALS)]


def first_number(profile: ServerProfile | None) -> int:
    """The canary that learning begins with: after one that was lost, the next round's first."""
    name = None if profile is None else parse(profile.canary_name)
    return 1 if name is None else _round(name.attempt) * len(TRIALS) + 1


def after_refusal(number: int) -> int | None:
    """The next way, when a server does not take this one; None when it was the last."""
    return number + 1 if number % len(TRIALS) else None


def after_taken(number: int, first: int) -> int | None:
    """The same way under another name, when that name is taken by what cannot be seen; None after some rounds."""
    following = number + len(TRIALS)
    return following if _round(following) < _round(first) + ROUNDS else None


def _round(number: int) -> int:
    return 1 + (number - 1) // len(TRIALS)


def canary(digest_key: Secret, key_server: str, random: bytes) -> Secret:
    """The material of a canary that is made of so many random bytes."""
    return Secret(random + digest(digest_key, key_server, Secret(random)))


def is_canary(digest_key: Secret, key_server: str, material: Secret) -> bool:
    """Whether material is that of a canary of this server, each bit of it."""
    octets = material.reveal()
    return agrees(digest_key, key_server, Secret(octets[:RANDOM_BYTES]), octets[RANDOM_BYTES:])


def activates(*, accepted: bool, state: str, operations: Iterable[int]) -> bool:
    """Whether keys are activated on a server: its Activate was accepted, or had been before it was asked again.

    ``state`` is the canary's before. On servers whose objects are Active at once there is nothing to activate.
    """
    return accepted or (state == ACTIVE and _ACTIVATE in operations)


def lost(looks: int, absent_s: float) -> bool:
    """Whether a canary that was not there at so many looks, for so many seconds, will not come back.

    Servers lose sight of objects for a while: a restart, a role that was changed, an index that is being rebuilt.
    """
    return looks >= LOST_LOOKS and absent_s >= LOST_S


def same_canary(one: ServerProfile, other: ServerProfile) -> bool:
    """Whether two profiles are about the same object."""
    return (one.canary_name, one.canary, one.canary_digest) == (other.canary_name, other.canary, other.canary_digest)


def seeing(profile: ServerProfile, found: Iterable[str]) -> ServerProfile:
    """A profile with the servers whose canaries were found there, too. One that was found once is not given up."""
    return replace(profile, sees=tuple(sorted({*profile.sees, *found})))


def without(profiles: Iterable[ServerProfile], key_server: str) -> tuple[ServerProfile, ...]:
    """The profiles that say something of a server which is another one now, as they are without it."""
    return tuple(
        replace(profile, sees=tuple(seen for seen in profile.sees if seen != key_server))
        for profile in profiles
        if key_server in profile.sees
    )
