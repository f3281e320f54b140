"""Destroy one object: check that it is the expected object, then revoke and destroy it.

:mod:`keystead.service.keys.destroying.purge` has decided before that the object may be destroyed.
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
"""Faults of a Destroy after which the object is revoked: it may be Active although its State says otherwise."""


def with_ids(row: Tracked, ids: tuple[str, ...]) -> Tracked:
    """Return the copy with these Unique Identifiers."""
    return replace(row, copy=replace(row.copy, unique_identifiers=ids))


async def destroy_object(
    holding: Holding, at: Visit, row: Tracked, id_: str, facts: ObjectAttributes, done: list[str]
) -> None:
    """Destroy one object, and revoke it before if it is Active. Append each action to ``done``.

    If the server refuses Destroy with a fault of :data:`REVOKE_FIRST`, revoke the object and send Destroy once more. An
    object that is not the expected one is not changed, and the action is :data:`ABSENT`. If it is not known which
    object it is, nothing is done. Raises KeyServerFault, LeaseLost.
    """
    expected = await _is_expected(at, row, id_, facts)
    if expected is False:
        log.warning("an object is not destroyed: it is not the expected object", address=at.address)
        done.append(ABSENT)
    if not expected:
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
                continue  # because it may not have been Active: the answer to Destroy decides
            if REVOKED in done or fault.fault not in REVOKE_FIRST:
                raise
            holding.check_time()
            await at.session.revoke(id_)
            done.append(REVOKED)
            remaining.append(Step.DESTROY)
        else:
            done.append(REVOKED if step is Step.REVOKE else DESTROYED)


async def objects_of_attempt(session: ObjectSession, row: Tracked) -> tuple[str, ...]:
    """Return the identifiers of all objects under the names of an attempt, because all of them must be destroyed."""
    names = [name for names in object_names(row.attempt) for name in names]
    return tuple(dict.fromkeys([id_ for name in names for id_ in await session.locate(name)]))


async def attributes_if_present(session: ObjectSession, id_: str) -> ObjectAttributes | None:
    """Return the attributes of an object, or None if the server does not have it."""
    try:
        return await attributes_of(session, id_)
    except KeyServerFault as fault:
        if fault.fault is not Fault.NOT_FOUND:
            raise
        return None


async def _is_expected(at: Visit, row: Tracked, id_: str, facts: ObjectAttributes) -> bool | None:
    """Return True if an object is part of a copy or is its descriptor; None if that is not known.

    The names decide. If the server tells no names, the bytes of the whole copy decide. Bytes cannot decide for a
    descriptor, or for a key in use: other copies of that key have the same bytes.
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
    """Return the object name of a copy's descriptor."""
    return str(object_name(row.attempt, ObjectKind.DESCRIPTOR))


async def descriptor_ids(session: ObjectSession, row: Tracked) -> tuple[str, ...]:
    """Return the identifiers of a copy's descriptor. If none is stored, look for it by name.

    Return none if the server refuses. Raises KeyServerFault if the server does not answer.
    """
    if row.copy.descriptor:
        return (row.copy.descriptor,)
    try:
        return await session.locate(descriptor_name(row))
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return ()
