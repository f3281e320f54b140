"""Look at copies on one key server, in a session that has looked for the canary first.

Locate alone decides nothing: an object is a copy only if its bytes agree with the key's digest. This module stores
nothing. :mod:`keystead.service.keys.looking.changes` stores what a look changes.

Bytes that agree prove nothing on an address that hides its canary. It may lead to another of our key servers by now,
and that one holds copies of the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys import digests
from keystead.core.keys.attempts import object_names
from keystead.core.keys.keeping import DESTROYED_STATES, CopyAnswer
from keystead.core.secret import Secret
from keystead.service.ports.objects import Fault, KeyServerFault, ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from keystead.core.keys.model import Attempt, Key
    from keystead.service.keys.context import Tracked
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.ports.objects import ObjectSession


log = structlog.get_logger(__name__)

_NO_ATTRIBUTES: Final = ObjectAttributes((), "", None)


@dataclass(frozen=True, slots=True)
class CopyObservation:
    """What was seen of a copy: the answer, the identifiers of its objects, and the State of the first object.

    ``whole`` is False if the answer does not tell whether a copy is there. Then the server refused a part of a search
    by name, or the bytes agree on an address that hides its canary.
    """

    look: CopyAnswer
    unique_identifiers: tuple[str, ...] = ()
    state: str = ""
    whole: bool = True


_PRECEDENCE: Final = (CopyAnswer.AGREES, CopyAnswer.DIFFERS, CopyAnswer.REFUSED, CopyAnswer.ABSENT)
"""The order of importance of answers: of several looks at a copy, the first of these counts."""


async def look(at: Visit, row: Tracked, *, thorough: bool = False) -> CopyObservation:
    """Look at a copy: its attributes and bytes, under its identifiers, then under its attempt's names.

    Called to settle a copy, to search for a copy in doubt, and for a copy that did not agree in a batch. Nothing is
    stored. The search by name looks at each object until one agrees. There is no search after the answers ``agrees``
    and ``refused``. After a search, ``whole`` is False if the server refused an answer in it.

    Where Locate ignores names, the search costs a Get Attributes for every object on the server. There, only a
    ``thorough`` look searches by name for a copy with known identifiers. Raises KeyServerFault when the server does not
    answer.
    """
    return _believed(at, await _search(at, row, thorough=thorough))


async def _search(at: Visit, row: Tracked, *, thorough: bool) -> CopyObservation:
    """Look at a copy, and return the best answer; see :func:`look`."""
    known = row.copy.unique_identifiers
    seen = [await _look(at, row, known) if known else CopyObservation(CopyAnswer.ABSENT)]
    by_name = thorough or not known or at.profile is None or at.profile.locate_by_name
    if seen[0].look in {CopyAnswer.AGREES, CopyAnswer.REFUSED} or not by_name:
        return seen[0]
    try:
        async for ids in located(at.session, row.attempt):
            if ids != known:
                seen.append(await _look(at, row, ids))
            if seen[-1].look is CopyAnswer.AGREES:
                break
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        seen.append(CopyObservation(CopyAnswer.REFUSED, known))
    best = min(seen, key=lambda each: _PRECEDENCE.index(each.look))
    return replace(best, whole=all(each.look is not CopyAnswer.REFUSED for each in seen))


def _believed(at: Visit, seen: CopyObservation) -> CopyObservation:
    """Return an observation as it counts: on an address that hides its canary, no copy is there for us."""
    if seen.look is CopyAnswer.AGREES and not at.canary:
        return CopyObservation(CopyAnswer.ABSENT, whole=False)
    return seen


async def _look(at: Visit, row: Tracked, ids: tuple[str, ...]) -> CopyObservation:
    """Look at a copy under these identifiers only, and return the answer.

    It is ``absent`` if an object is not found, is destroyed, or now belongs to something else by its names. It is
    ``refused`` if the server refuses the bytes. Raises KeyServerFault when the server does not answer.
    """
    try:
        attributes = [await attributes_of(at.session, id_) for id_ in ids]
        if any(each.state in DESTROYED_STATES for each in attributes):
            return CopyObservation(CopyAnswer.ABSENT)
        material = await at.session.get(ids)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return CopyObservation(CopyAnswer.ABSENT if fault.fault is Fault.NOT_FOUND else CopyAnswer.REFUSED, ids)
    if agrees(at, row.key, material):
        return CopyObservation(CopyAnswer.AGREES, ids, attributes[0].state)
    if any(each.names and not is_named(each, row.attempt) for each in attributes):
        return CopyObservation(CopyAnswer.ABSENT)  # because the server gave the identifier to another object
    return CopyObservation(CopyAnswer.DIFFERS, ids, attributes[0].state)


def agrees(at: Visit, key: Key, material: Secret) -> bool:
    """Return True if the material agrees with the key's digest."""
    return digests.agrees(at.digest_key, key.uuid, material, key.digest)


async def attributes_of(session: ObjectSession, unique_identifier: str) -> ObjectAttributes:
    """Return the attributes of an object; empty attributes if the server refuses them.

    Raises KeyServerFault if the object is not found, or the server does not answer.
    """
    try:
        return await session.get_attributes(unique_identifier)
    except KeyServerFault as fault:
        if fault.fault is Fault.NOT_FOUND or not fault.fault.answered:
            raise
        return _NO_ATTRIBUTES


def is_named(attributes: ObjectAttributes, attempt: Attempt) -> bool:
    """Return True if an object bears one of the names under which the attempt writes its copies."""
    return any(name in attributes.names for names in object_names(attempt) for name in names)


async def located(session: ObjectSession, attempt: Attempt) -> AsyncIterator[tuple[str, ...]]:
    """Yield the identifiers of what may be the copy: each single object, then each pair of two parts.

    They are found under the names of the attempt. Nothing is read, so the caller must compare the bytes. Raises
    KeyServerFault.
    """
    for names in object_names(attempt):
        found = [await session.locate(name) for name in names]
        for ids in product(*found):
            yield ids


async def look_at_many(at: Visit, rows: Sequence[Tracked]) -> list[CopyObservation]:
    """Look at copies with known identifiers; return one observation for each, in order.

    The bytes are read in batches. For a copy that agrees, the State is the stored one and is not asked for. Any other
    copy is looked at again alone, by :func:`look`. Called in a sweep and in a verification. Raises KeyServerFault when
    the server does not answer.
    """
    answers = await at.session.get_many([row.copy.unique_identifiers for row in rows])
    found = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Secret) and agrees(at, row.key, answer):
            seen = CopyObservation(CopyAnswer.AGREES, row.copy.unique_identifiers, row.copy.object_state)
            found.append(_believed(at, seen))
        elif isinstance(answer, KeyServerFault) and not answer.fault.answered:
            raise answer
        else:
            found.append(await look(at, row))
    return found
