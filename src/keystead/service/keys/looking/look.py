"""Looking at copies on one key server: in one session, its canary first, and what follows of each look.

Nothing is decided on what Locate names: an object is a copy when its bytes agree with the key's digest. What is stored
of a look is stored by compare-and-set, under the keeper's lease.
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

_NO_FACTS: Final = ObjectAttributes((), "", None)


@dataclass(frozen=True, slots=True)
class CopyObservation:
    """What was seen of a copy: which objects it is made of, and the State of the first.

    ``whole``: each object that may be the copy said something; else it may be one that did not.
    """

    look: CopyAnswer
    unique_identifiers: tuple[str, ...] = ()
    state: str = ""
    whole: bool = True


_TELLING: Final = (CopyAnswer.AGREES, CopyAnswer.DIFFERS, CopyAnswer.REFUSED, CopyAnswer.ABSENT)
"""Which of several looks at a copy counts: the first of these."""


async def look(at: Visit, row: Tracked, *, thorough: bool = False) -> CopyObservation:
    """Look at a copy: its attributes, then its bytes; under its identifiers, else under its attempt's name.

    There each object is looked at until one agrees. Where Locate returns whatever is there, each object would be asked
    for its attributes: a known copy is looked for so only by a ``thorough`` look. Raises KeyServerFault when the server
    does not answer.
    """
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
    best = min(seen, key=lambda each: _TELLING.index(each.look))
    return replace(best, whole=all(each.look is not CopyAnswer.REFUSED for each in seen))


async def _look(at: Visit, row: Tracked, ids: tuple[str, ...]) -> CopyObservation:
    try:
        facts = [await attributes_of(at.session, id_) for id_ in ids]
        if any(each.state in DESTROYED_STATES for each in facts):
            return CopyObservation(CopyAnswer.ABSENT)
        material = await at.session.get(ids)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return CopyObservation(CopyAnswer.ABSENT if fault.fault is Fault.NOT_FOUND else CopyAnswer.REFUSED, ids)
    if agrees(at, row.key, material):
        return CopyObservation(CopyAnswer.AGREES, ids, facts[0].state)
    if any(each.names and not is_named(each, row.attempt) for each in facts):
        return CopyObservation(CopyAnswer.ABSENT)  # the server has given the identifier to another object
    return CopyObservation(CopyAnswer.DIFFERS, ids, facts[0].state)


def agrees(at: Visit, key: Key, material: Secret) -> bool:
    """Whether material is a key's."""
    return digests.agrees(at.digest_key, key.uuid, material, key.digest)


async def attributes_of(session: ObjectSession, unique_identifier: str) -> ObjectAttributes:
    """What a server says of an object, nothing where it does not say. Raises KeyServerFault: not there, no answer."""
    try:
        return await session.get_attributes(unique_identifier)
    except KeyServerFault as fault:
        if fault.fault is Fault.NOT_FOUND or not fault.fault.answered:
            raise
        return _NO_FACTS


def is_named(facts: ObjectAttributes, attempt: Attempt) -> bool:
    """Whether an object bears one of the names under which an attempt writes."""
    return any(name in facts.names for names in object_names(attempt) for name in names)


async def located(session: ObjectSession, attempt: Attempt) -> AsyncIterator[tuple[str, ...]]:
    """What may be the copy under an attempt's names: each whole, then each pair that its parts make."""
    for names in object_names(attempt):
        found = [await session.locate(name) for name in names]
        for ids in product(*found):
            yield ids


async def look_at_many(at: Visit, rows: Sequence[Tracked]) -> list[CopyObservation]:
    """Look at copies whose identifiers are known, in order: at their bytes, in batches; in doubt, at each alone."""
    answers = await at.session.get_many([row.copy.unique_identifiers for row in rows])
    found = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, Secret) and agrees(at, row.key, answer):
            found.append(CopyObservation(CopyAnswer.AGREES, row.copy.unique_identifiers, row.copy.object_state))
        elif isinstance(answer, KeyServerFault) and not answer.fault.answered:
            raise answer
        else:
            found.append(await look(at, row))
    return found
