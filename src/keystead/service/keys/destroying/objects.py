"""One object on its way to its end: whose it is, and what is done to it, step by step.

Whether it may be destroyed at all has been decided by then: see :mod:`keystead.service.keys.destroying.purge`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.attempts import object_names
from keystead.core.keys.destroying import ABSENT, DESTROYED, REVOKED, Step, steps
from keystead.core.keys.model import IN_USE
from keystead.core.keys.names import ObjectKind, object_name
from keystead.service.keys.looking.look import agrees, attributes_of, is_named
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import Tracked
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.ports.objects import ObjectAttributes, ObjectSession

log = structlog.get_logger(__name__)

REVOKE_FIRST: Final = frozenset({Fault.DENIED, Fault.WRONG_STATE, Fault.REFUSED})
"""Answers to a Destroy that an object may get because it is Active, whatever was said of its State."""


def with_ids(row: Tracked, ids: tuple[str, ...]) -> Tracked:
    """The copy with the identifiers under which it was found."""
    return replace(row, copy=replace(row.copy, unique_identifiers=ids))


async def end_object(
    holding: Holding, at: Visit, row: Tracked, id_: str, facts: ObjectAttributes, done: list[str]
) -> None:
    """Revoke and destroy one object, and note what was done. Raises KeyServerFault, LeaseLost."""
    ours = await _is_ours(at, row, id_, facts)
    if ours is False:
        log.warning("an object that was to be destroyed is another's", address=at.address)
        done.append(ABSENT)
    if not ours:
        return
    remaining = list(steps(facts.state))
    while remaining:
        step = remaining.pop(0)
        holding.check_time()
        try:
            await (at.session.revoke if step is Step.REVOKE else at.session.destroy)(id_)
        except KeyServerFault as fault:
            if fault.fault is Fault.NOT_FOUND:
                done.append(ABSENT)
                return
            if step is Step.REVOKE and fault.fault.answered:
                continue  # it may not have been Active; whether it can be destroyed is seen then
            if REVOKED in done or fault.fault not in REVOKE_FIRST:
                raise
            holding.check_time()
            await at.session.revoke(id_)
            remaining.append(Step.DESTROY)
            step = Step.REVOKE
        done.append(REVOKED if step is Step.REVOKE else DESTROYED)


async def left_by(session: ObjectSession, row: Tracked) -> tuple[str, ...]:
    """All objects under the names of an attempt, whichever of them this copy is: all of them are to end."""
    names = [name for names in object_names(row.attempt) for name in names]
    return tuple(dict.fromkeys([id_ for name in names for id_ in await session.locate(name)]))


async def attributes_if_present(session: ObjectSession, id_: str) -> ObjectAttributes | None:
    """What a server says of an object; None when it is not there."""
    try:
        return await attributes_of(session, id_)
    except KeyServerFault as fault:
        if fault.fault is not Fault.NOT_FOUND:
            raise
        return None


async def _is_ours(at: Visit, row: Tracked, id_: str, facts: ObjectAttributes) -> bool | None:
    """Whether an object is one of a copy's, by its name; by the bytes of them all where no names are told.

    None when nobody can say: bytes say nothing of a descriptor, nor of what an aborted attempt left of a key in use,
    whose copies have the same.
    """
    if facts.names:
        return is_named(facts, row.attempt) or descriptor_name(row) in facts.names
    if row.key.state in IN_USE or id_ not in row.copy.unique_identifiers:
        return None
    try:
        material = await at.session.get(row.copy.unique_identifiers)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return None
    return agrees(at, row.key, material)


def descriptor_name(row: Tracked) -> str:
    """Under which name the descriptor beside a copy is written."""
    return str(object_name(row.attempt, ObjectKind.DESCRIPTOR))


async def descriptors(session: ObjectSession, row: Tracked) -> tuple[str, ...]:
    """The descriptor beside a copy, also one that was written and not noted, where the server finds it."""
    if row.copy.descriptor:
        return (row.copy.descriptor,)
    try:
        return await session.locate(descriptor_name(row))
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return ()
