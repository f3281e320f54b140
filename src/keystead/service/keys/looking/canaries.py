"""Canaries: try one key server with them, on one connection, and look for those that are there already.

A canary is an object of ours that stays on its server for good: what becomes of it tells what becomes of keys. It is
written under a name that says how it was tried, and looked for under that name before: so one whose answer never came,
or that another node has just written, is taken for what it is. None is ever destroyed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeVar

from keystead.core.keys.digests import agrees, digest
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.learning import (
    RANDOM_BYTES,
    activates,
    after_refusal,
    after_taken,
    canary,
    is_canary,
    trial,
)
from keystead.core.keys.model import ServerProfile
from keystead.core.keys.names import canary_name, parse, parts
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from keystead.core.keys.model import KeyForm
    from keystead.core.keys.names import ObjectName
    from keystead.core.secret import Secret
    from keystead.service.ports.objects import ObjectSession

T = TypeVar("T")

NOT_TAKEN: Final = frozenset({Fault.NOT_SUPPORTED, Fault.REFUSED, Fault.EXISTS})
"""Answers to a Register after which another way, or another name, is tried."""

DIFFERENT = "different_material"


@dataclass(frozen=True, slots=True)
class Subject:
    """A key server that is to be tried; ``first`` is the number of the canary to begin with."""

    key_server: str
    incarnation: str
    digest_key: Secret
    first: int

    def name(self, number: int) -> ObjectName:
        """The name of the canary with this number."""
        return canary_name(self.incarnation, self.key_server, number)


class Sight(Enum):
    """Whether a server's own canary was found. ``unclear``: the answer says nothing."""

    SEEN = "seen"
    ABSENT = "absent"
    UNCLEAR = "unclear"


async def learn(session: ObjectSession, subject: Subject, now: datetime) -> ServerProfile:
    """Have a canary on a server, and say what that server can do. Raises KeyServerFault when it takes none."""
    abilities = await session.get_capabilities()
    number, ids, material = await _placed(session, subject)
    name, way = subject.name(number), trial(number)
    facts = await _answered(session.get_attributes(ids[0]))
    accepted = True
    for id_ in ids:
        accepted = await _accepted(session.activate(id_)) and accepted
    habits = await session.find_quirks(parts(name, way.form)[0], ids[0])
    return ServerProfile(
        key_server=subject.key_server,
        form=way.form,
        canary_name=str(name),
        canary=ids,
        canary_digest=digest(subject.digest_key, subject.key_server, material),
        learned=now,
        operations=abilities.operations,
        object_types=abilities.object_types,
        version=abilities.version,
        vendor=abilities.vendor,
        application_information=way.application_information,
        locate_by_name=habits.locate_by_name,
        locate_offset=habits.locate_offset,
        batches=habits.batches,
        activates=activates(accepted=accepted, state=facts.state if facts else "", operations=abilities.operations),
    )


async def sight(session: ObjectSession, profile: ServerProfile, digest_key: Secret) -> Sight:
    """Look for a server's own canary. It is absent when it is not found under its identifier, nor under its name.

    A server that was wiped and filled again may have given the identifier to another object.
    """
    try:
        material = await session.get(profile.canary)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return Sight.ABSENT if await _gone(session, profile, fault) else Sight.UNCLEAR
    if agrees(digest_key, profile.key_server, material, profile.canary_digest):
        return Sight.SEEN
    replaced = await _is_anothers(session, profile) and await _is_nowhere(session, profile)
    return Sight.ABSENT if replaced else Sight.UNCLEAR


async def sees(session: ObjectSession, here: ServerProfile, other: ServerProfile, digest_key: Secret) -> bool:
    """Whether another server's canary is here too."""
    return bool(await found_under(session, here, other, digest_key))


async def found_under(
    session: ObjectSession, here: ServerProfile, other: ServerProfile, digest_key: Secret
) -> tuple[str, ...]:
    """The identifiers under which a server's canary is here: its own, or what bears its name; its bytes decide."""
    candidates = [other.canary]
    if here.locate_by_name:  # else each look would ask for the attributes of every object
        candidates.append(await _located(session, other))
    for ids in candidates:
        material = await _answered(session.get(ids)) if ids else None
        if material is not None and agrees(digest_key, other.key_server, material, other.canary_digest):
            return ids
    return ()


# --- have one there ---


async def _placed(session: ObjectSession, subject: Subject) -> tuple[int, tuple[str, ...], Secret]:
    """Try way after way; return the number, the identifiers and the material of the first canary that is kept."""
    number = subject.first
    while True:
        try:
            ids, material = await _tried(session, subject, number)
        except KeyServerFault as fault:
            following = _following(number, subject.first, fault.fault)
            if following is None:
                raise
            number = following
        else:
            return number, ids, material


def _following(number: int, first: int, fault: Fault) -> int | None:
    """The canary to try next after this one failed, None for none."""
    if fault is Fault.EXISTS:
        return after_taken(number, first)
    return after_refusal(number) if fault in NOT_TAKEN else None


async def _tried(session: ObjectSession, subject: Subject, number: int) -> tuple[tuple[str, ...], Secret]:
    """Find the canary with this number or write it, and read it back."""
    name, way = subject.name(number), trial(number)
    ids = await _find(session, name, way.form)
    if ids:
        return ids, await _read_found(session, subject, ids)
    material = canary(subject.digest_key, subject.key_server, os.urandom(RANDOM_BYTES))
    information = str(name) if way.application_information else None
    try:
        ids = await session.register(str(name), material, way.form, application_information=information)
    except KeyServerFault as fault:
        if fault.fault not in NOT_TAKEN:
            raise
        ids = await _find(session, name, way.form)  # refused, it may be, since another's has just arrived
        if not ids:
            raise
        return ids, await _read_found(session, subject, ids)
    return ids, await _read(session, subject, ids)


async def _read(session: ObjectSession, subject: Subject, ids: tuple[str, ...]) -> Secret:
    """Read a canary back. What comes back changed is no way to keep a key."""
    material = await session.get(ids)
    if not is_canary(subject.digest_key, subject.key_server, material):
        raise KeyServerFault(Fault.REFUSED, DIFFERENT)
    return material


async def _read_found(session: ObjectSession, subject: Subject, ids: tuple[str, ...]) -> Secret:
    """Read a canary that was found; of one that is not given out only the name is left."""
    try:
        return await _read(session, subject, ids)
    except KeyServerFault as fault:
        if not fault.fault.answered or fault.reason == DIFFERENT:
            raise
        raise KeyServerFault(Fault.EXISTS, fault.reason) from fault


async def _find(session: ObjectSession, name: ObjectName, form: KeyForm) -> tuple[str, ...]:
    """The objects under a canary's name, the first of each part; none unless all parts are there."""
    found = []
    for part in parts(name, form):
        ids = await _answered(session.locate(part))
        if not ids:
            return ()
        found.append(ids[0])
    return tuple(found)


# --- look for one ---


async def _gone(session: ObjectSession, profile: ServerProfile, fault: KeyServerFault) -> bool:
    """Whether a canary that is not given out is no more, rather than hidden."""
    if fault.fault is Fault.NOT_FOUND or await _is_anothers(session, profile):
        return await _is_nowhere(session, profile)
    facts = await _answered(session.get_attributes(profile.canary[0]))
    return facts is not None and facts.state in DESTROYED_STATES


async def _is_anothers(session: ObjectSession, profile: ServerProfile) -> bool:
    """Whether an identifier of a canary is that of an object with other names by now."""
    name = parse(profile.canary_name)
    for id_, part in zip(profile.canary, parts(name, profile.form) if name else (), strict=False):
        facts = await _answered(session.get_attributes(id_))
        if facts is not None and facts.names and part not in facts.names:
            return True
    return False


async def _is_nowhere(session: ObjectSession, profile: ServerProfile) -> bool:
    """Whether nothing is found under a canary's name."""
    name = parse(profile.canary_name)
    for part in parts(name, profile.form) if name else ():
        if await _answered(session.locate(part)) != ():  # found, or Locate is refused
            return False
    return name is not None


async def _located(session: ObjectSession, profile: ServerProfile) -> tuple[str, ...]:
    name = parse(profile.canary_name)
    return () if name is None else await _find(session, name, profile.form)


async def _answered(call: Awaitable[T]) -> T | None:
    """What a server answers, None when it answers that it does not. Raises KeyServerFault when there is no answer."""
    try:
        return await call
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return None


async def _accepted(call: Awaitable[None]) -> bool:
    try:
        await call
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return False
    return True
