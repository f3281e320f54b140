"""Canaries: learn one key server with canaries on one connection, and look for canaries that are there already.

A canary is an object that stays on its key server for good. What happens to the canary shows what happens to keys. The
name of a canary says how the server was tried. Before a canary is written, it is looked for under its name. So it is
recognized although its Register was not answered, or although another node has just written it. No canary is ever
destroyed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from keystead.core.keys.digests import agrees, digest
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.learning import (
    RANDOM_BYTES,
    activates,
    canary,
    is_canary,
    next_round,
    next_way,
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

TRY_NEXT: Final = frozenset({Fault.NOT_SUPPORTED, Fault.REFUSED, Fault.EXISTS})
"""Faults of a Register after which another way to store keys, or another name, is tried."""

DIFFERENT = "different_material"

CANARY_NOT_SEEN: Final = "canary_not_seen"
"""The reason why nothing is read from, or written to, a server that does not show its canary."""


@dataclass(frozen=True, slots=True)
class LearningTarget:
    """A key server to learn. ``first`` is the number of the first canary to try."""

    key_server: str
    incarnation: str
    digest_key: Secret
    first: int

    def name(self, number: int) -> ObjectName:
        """Return the name of the canary with this number."""
        return canary_name(self.incarnation, self.key_server, number)


class CanarySight(Enum):
    """The result of the search for a server's own canary. ``unclear``: the answers do not tell."""

    SEEN = "seen"
    ABSENT = "absent"
    UNCLEAR = "unclear"


async def learn(session: ObjectSession, subject: LearningTarget, now: datetime) -> ServerProfile:
    """Store a canary on a server, and return the server profile that was learned. The caller stores the profile.

    Called for a server without a profile, and for one that lost its canary. Each number of a canary stands for one way
    to store keys: see :func:`keystead.core.keys.learning.trial`. Raises KeyServerFault when the server stores no
    canary, or does not answer.
    """
    capabilities = await session.get_capabilities()
    number, ids, material = await _store_canary(session, subject)
    name, way = subject.name(number), trial(number)
    attributes = await _answer_or_none(session.get_attributes(ids[0]))
    accepted = True
    for id_ in ids:
        accepted = await _is_accepted(session.activate(id_)) and accepted
    public_key = session.public_key  # before the quirks, which may cost the connection
    quirks = await session.find_quirks(parts(name, way.form)[0], ids[0])
    return ServerProfile(
        key_server=subject.key_server,
        form=way.form,
        canary_name=str(name),
        canary=ids,
        canary_digest=digest(subject.digest_key, subject.key_server, material),
        learned=now,
        operations=capabilities.operations,
        object_types=capabilities.object_types,
        version=capabilities.version,
        vendor=capabilities.vendor,
        application_information=way.application_information,
        locate_by_name=quirks.locate_by_name,
        locate_offset=quirks.locate_offset,
        batches=quirks.batches,
        activates=activates(
            accepted=accepted, state=attributes.state if attributes else "", operations=capabilities.operations
        ),
        public_key=public_key,
    )


async def find_own_canary(session: ObjectSession, profile: ServerProfile, digest_key: Secret) -> CanarySight:
    """Look for a server's own canary under its identifiers. Its name only tells whether it is absent or unclear.

    Called at the beginning of each visit, because only a server that shows its canary can show that a copy is missing.
    The canary is absent only if it is found neither way, or if its State is Destroyed.

    The identifiers alone are not enough: a server that was wiped and filled again may have given them to another
    object. Raises KeyServerFault when the server does not answer.
    """
    try:
        material = await session.get(profile.canary)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return CanarySight.ABSENT if await _is_gone(session, profile, fault) else CanarySight.UNCLEAR
    if agrees(digest_key, profile.key_server, material, profile.canary_digest):
        return CanarySight.SEEN
    replaced = await _is_reassigned(session, profile) and await _is_name_absent(session, profile)
    return CanarySight.ABSENT if replaced else CanarySight.UNCLEAR


async def shows_canary_of(
    session: ObjectSession, here: ServerProfile, other: ServerProfile, digest_key: Secret
) -> bool:
    """Return True if the canary of ``other`` is on this server (``here``), too.

    Called to find out which servers replicate among themselves. Called with the same profile twice to find a canary
    that has new identifiers. Raises KeyServerFault when there is no answer.
    """
    return bool(await found_under(session, here, other, digest_key))


async def shows_own_canary(session: ObjectSession, profile: ServerProfile, digest_key: Secret) -> bool:
    """Return True if the server shows its own canary on this very connection. It is asked once on each connection.

    Called before key material is sent. The canary may have new identifiers. Raises KeyServerFault when the server does
    not answer.
    """
    look = partial(shows_canary_of, session, profile, profile, digest_key)
    return bool(profile.canary) and await session.once_per_connection(profile.canary_name, look)


async def found_under(
    session: ObjectSession, here: ServerProfile, other: ServerProfile, digest_key: Secret
) -> tuple[str, ...]:
    """Return the identifiers under which the canary of ``other`` is on this server; empty if it is not there.

    The canary is looked for under its identifiers, then under its name. A server that does not find objects by name is
    asked for the identifiers only. The bytes decide. Raises KeyServerFault when the server does not answer.
    """
    if await returns_canary(session, other, other.canary, digest_key):
        return other.canary
    if not here.locate_by_name:  # because Locate then returns all objects, and each costs a Get Attributes
        return ()
    ids = await _find_by_name(session, other)
    return ids if await returns_canary(session, other, ids, digest_key) else ()


async def returns_canary(
    session: ObjectSession, other: ServerProfile, ids: tuple[str, ...], digest_key: Secret
) -> bool:
    """Return True if the objects with these identifiers hold the canary of ``other``. False for no identifiers."""
    material = await _answer_or_none(session.get(ids)) if ids else None
    return material is not None and agrees(digest_key, other.key_server, material, other.canary_digest)


# --- store a canary on the server ---


async def _store_canary(session: ObjectSession, subject: LearningTarget) -> tuple[int, tuple[str, ...], Secret]:
    """Try one way to store keys after another, until the server stores a canary or has one already.

    Return the number, the identifiers and the material of that canary. Raises KeyServerFault when no way is left.
    """
    number = subject.first
    while True:
        try:
            ids, material = await _find_or_write(session, subject, number)
        except KeyServerFault as fault:
            following = _next_number(number, subject.first, fault.fault)
            if following is None:
                raise
            number = following
        else:
            return number, ids, material


def _next_number(number: int, first: int, fault: Fault) -> int | None:
    """Return the number of the canary to try after this fault; None if no other is to be tried.

    After ``exists`` the same way is tried under a new name. After another fault of :data:`TRY_NEXT` the next way is
    tried.
    """
    if fault is Fault.EXISTS:
        return next_round(number, first)
    return next_way(number) if fault in TRY_NEXT else None


async def _find_or_write(
    session: ObjectSession, subject: LearningTarget, number: int
) -> tuple[tuple[str, ...], Secret]:
    """Find the canary with this number or write it, and read it back. Return its identifiers and its material.

    Raises KeyServerFault if this way to store keys failed.
    """
    name, way = subject.name(number), trial(number)
    ids = await _find(session, name, way.form)
    if ids:
        return ids, await _read_found(session, subject, ids)
    material = canary(subject.digest_key, subject.key_server, os.urandom(RANDOM_BYTES))
    information = str(name) if way.application_information else None
    try:
        ids = await session.register(str(name), material, way.form, application_information=information)
    except KeyServerFault as fault:
        if fault.fault not in TRY_NEXT:
            raise
        ids = await _find(session, name, way.form)  # because another node may just have written it
        if not ids:
            raise
        return ids, await _read_found(session, subject, ids)
    return ids, await _read(session, subject, ids)


async def _read(session: ObjectSession, subject: LearningTarget, ids: tuple[str, ...]) -> Secret:
    """Read a canary back. Raises KeyServerFault if the bytes changed, because keys cannot be stored that way."""
    material = await session.get(ids)
    if not is_canary(subject.digest_key, subject.key_server, material):
        raise KeyServerFault(Fault.REFUSED, DIFFERENT)
    return material


async def _read_found(session: ObjectSession, subject: LearningTarget, ids: tuple[str, ...]) -> Secret:
    """Read a canary that was found by its name.

    Raises KeyServerFault (``exists``) if the server does not return the canary, because only its name is then known.
    """
    try:
        return await _read(session, subject, ids)
    except KeyServerFault as fault:
        if not fault.fault.answered or fault.reason == DIFFERENT:
            raise
        raise KeyServerFault(Fault.EXISTS, fault.reason) from fault


async def _find(session: ObjectSession, name: ObjectName, form: KeyForm) -> tuple[str, ...]:
    """Return the first identifier found for each part of a canary's name; empty unless all parts are found.

    A part counts as not found if the server refuses Locate.
    """
    found = []
    for part in parts(name, form):
        ids = await _answer_or_none(session.locate(part))
        if not ids:
            return ()
        found.append(ids[0])
    return tuple(found)


# --- look for a canary ---


async def _is_gone(session: ObjectSession, profile: ServerProfile, fault: KeyServerFault) -> bool:
    """Return True if the server has its canary no more. Return False if it may only hide it.

    ``fault`` is the server's answer to Get. Called when the canary was not returned under its identifiers. Raises
    KeyServerFault when there is no answer.
    """
    if fault.fault is Fault.NOT_FOUND or await _is_reassigned(session, profile):
        return await _is_name_absent(session, profile)
    attributes = await _answer_or_none(session.get_attributes(profile.canary[0]))
    return attributes is not None and attributes.state in DESTROYED_STATES


async def _is_reassigned(session: ObjectSession, profile: ServerProfile) -> bool:
    """Return True if an identifier of the canary now belongs to an object with other names.

    Return False if the server tells no names.
    """
    name = parse(profile.canary_name)
    for id_, part in zip(profile.canary, parts(name, profile.form) if name else (), strict=False):
        attributes = await _answer_or_none(session.get_attributes(id_))
        if attributes is not None and attributes.names and part not in attributes.names:
            return True
    return False


async def _is_name_absent(session: ObjectSession, profile: ServerProfile) -> bool:
    """Return True if the server finds nothing under the canary's name. False also if it refuses Locate.

    Called to tell a canary that is lost from one that is hidden. Raises KeyServerFault when there is no answer.
    """
    name = parse(profile.canary_name)
    if name is None:
        return False
    for part in parts(name, profile.form):
        found = await _answer_or_none(session.locate(part))
        if found is None or found:  # None: Locate was refused, so the object may be there
            return False
    return True


async def _find_by_name(session: ObjectSession, profile: ServerProfile) -> tuple[str, ...]:
    """Look for a server's canary by its name. Return its identifiers; empty if it is not found, or Locate is refused.

    Called when the canary was not returned under its known identifiers. Raises KeyServerFault when there is no answer.
    """
    name = parse(profile.canary_name)
    return () if name is None else await _find(session, name, profile.form)


async def _answer_or_none(call: Awaitable[T]) -> T | None:
    """Return the server's answer, None if the server refuses. Raises KeyServerFault when there is no answer."""
    try:
        return await call
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return None


async def _is_accepted(call: Awaitable[None]) -> bool:
    """Return True if the server accepts a call, False if it refuses. Raises KeyServerFault when there is no answer."""
    try:
        await call
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        return False
    return True
