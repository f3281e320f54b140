"""The rules of learning a server: in which form it stores a key, and what each answer means. Pure.

A server is tried with canaries, objects of ours that stay there. The number of a canary says in which way
(:class:`Trial`) it is stored. The numbers from 1 to ``len(TRIALS)`` are the first round: they try each way once. The
next numbers are the next round, with new names for the same ways.

The bytes of a canary are random bytes and their keyed digest. So if Register is not answered, the canary can be found
by name later, and its bytes prove what it is.
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
"""The number of random bytes of a canary. With its digest a canary is as long as the key of a volume."""

ROUNDS: Final = 3
"""How many rounds are tried before learning fails. Each round has new names for all ways."""

LOST_LOOKS: Final = 3
LOST_S: Final = 3600.0
"""A canary is lost for good when so many looks in a row, over at least so many seconds, did not find it."""

_ACTIVATE: Final = 18  # KMIP's number of the operation Activate


@dataclass(frozen=True, slots=True)
class Trial:
    """A way to store a key: in which form, and whether with Application Specific Information."""

    form: KeyForm
    application_information: bool


TRIALS: Final = tuple(Trial(form, information) for form in KeyForm for information in (True, False))
"""All ways, the best first: one object before two, and with Application Specific Information before without."""


def trial(number: int) -> Trial:
    """Return the way that the canary with this number tries. Numbers go through all ways, round after round."""
    return TRIALS[(number - 1) % len(TRIALS)]


def first_number(profile: ServerProfile | None) -> int:
    """Return the number of the first canary: 1, or the first of the round after the canary in the profile."""
    name = None if profile is None else parse(profile.canary_name)
    return 1 if name is None else _round(name.attempt) * len(TRIALS) + 1


def next_way(number: int) -> int | None:
    """Return the number of the canary that tries the next way, after the server refused the canary ``number``.

    Return None if that canary tried the last way.
    """
    return number + 1 if number % len(TRIALS) else None


def next_round(number: int, first: int) -> int | None:
    """Return the number of the canary that tries the same way in the next round, and so has a new name.

    Call it if the name of the canary ``number`` belongs to an object that cannot be read. Return None after
    :data:`ROUNDS` rounds from ``first``.
    """
    following = number + len(TRIALS)
    return following if _round(following) < _round(first) + ROUNDS else None


def _round(number: int) -> int:
    return 1 + (number - 1) // len(TRIALS)


def canary(digest_key: Secret, key_server: str, random: bytes) -> Secret:
    """Return the material of a canary made of :data:`RANDOM_BYTES` random bytes."""
    return Secret(random + digest(digest_key, key_server, Secret(random)))


def is_canary(digest_key: Secret, key_server: str, material: Secret) -> bool:
    """Return True if the material is exactly that of a canary of this server."""
    octets = material.reveal()
    return agrees(digest_key, key_server, Secret(octets[:RANDOM_BYTES]), octets[RANDOM_BYTES:])


def activates(*, accepted: bool, state: str, operations: Iterable[int]) -> bool:
    """Return True if keys must be activated on the server: it accepted Activate, or the canary was Active before.

    ``state`` is the canary's State before Activate. It counts only if Query names Activate. On some servers without
    Activate, each new object is Active at once.
    """
    return accepted or (state == ACTIVE and _ACTIVATE in operations)


def lost(looks: int, absent_s: float) -> bool:
    """Return True if a canary that was absent in so many looks, over so many seconds, is lost for good.

    Servers hide objects for a while after a restart, after a change of roles, or while an index is rebuilt.
    """
    return looks >= LOST_LOOKS and absent_s >= LOST_S


def same_canary(one: ServerProfile, other: ServerProfile) -> bool:
    """Return True if both profiles are about the same canary object."""
    return (one.canary_name, one.canary, one.canary_digest) == (other.canary_name, other.canary, other.canary_digest)


def with_sees(profile: ServerProfile, found: Iterable[str]) -> ServerProfile:
    """Return the profile with these servers added to ``sees``. A server that was found once stays in ``sees``."""
    return replace(profile, sees=tuple(sorted({*profile.sees, *found})))


def without_server(profiles: Iterable[ServerProfile], key_server: str) -> tuple[ServerProfile, ...]:
    """Remove a server (uuid) from ``sees`` of all profiles. Return only the profiles that this changes.

    Call it when the server may be another one, or has a new canary.
    """
    return tuple(
        replace(profile, sees=tuple(seen for seen in profile.sees if seen != key_server))
        for profile in profiles
        if key_server in profile.sees
    )
