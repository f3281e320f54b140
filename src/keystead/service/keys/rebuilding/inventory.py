"""What a key server holds under our names: every object, its descriptors opened, and copies that agree with them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from keystead.core.keys.descriptors import opened
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.keys.rebuilding import FoundCopy, FoundDescriptor, FoundObject
from keystead.service.keys.looking.verify import COPIES_PER_MESSAGE, SESSIONS, CopyVerifier, Proving
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keystead.core.keys.model import ServerProfile
    from keystead.core.keys.names import ObjectName
    from keystead.core.secret import Secret
    from keystead.service.ports.objects import Endpoint, KeyObjects

PROVING_S: Final = 3600.0
"""How long the copies on one server may take to be read."""


@dataclass
class Contents:
    """The objects of one server, and what descriptors say there, by unique identifier."""

    endpoint: Endpoint
    objects: list[FoundObject] = field(default_factory=list)
    descriptors: dict[str, Secret] = field(default_factory=dict, repr=False)

    def opened(self, digest_key: Secret) -> Iterator[FoundDescriptor]:
        """The descriptors that are ours and stand under their own names."""
        for found in self.objects:
            content = self.descriptors.get(found.unique_identifier)
            descriptor = None if content is None else opened(content.reveal(), digest_key)
            if descriptor is not None and descriptor.is_named(found.name):
                yield FoundDescriptor(found, descriptor)


class ContentsReader:
    """Reads whole servers. It changes nothing there."""

    def __init__(self, objects: KeyObjects) -> None:
        self._objects = objects
        self._prover = CopyVerifier(objects)

    async def read(self, endpoint: Endpoint) -> Contents:
        """Look at every object of a server, and read descriptors. Raises KeyServerFault."""
        contents = Contents(endpoint)
        async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
            ids = iter(await session.locate_all())
        looked = await asyncio.gather(*(self._look(contents, ids) for _ in range(SESSIONS)), return_exceptions=True)
        for failure in looked:
            if failure is not None:
                raise failure
        await self._read_descriptors(contents)
        return contents

    async def copies(
        self, contents: Contents, descriptors: Iterable[FoundDescriptor], digest_key: Secret
    ) -> list[FoundCopy]:
        """Read the copies that a server holds of described keys; return those that agree."""
        described = {found.descriptor.written_by: found.descriptor for found in descriptors}
        under = defaultdict(list)
        for descriptor in described.values():
            under[descriptor.copied_by].append(descriptor)
        wanted = [
            (descriptor, ids)
            for name, ids in _wholes(contents.objects, ObjectKind.KEY)
            for descriptor in under[name.id, name.attempt, name.incarnation]
        ]
        provings = [Proving(found.uuid, ids, found.digest) for found, ids in wanted]
        proven = await self._proven(contents, digest_key, provings)
        return [
            FoundCopy(contents.endpoint.key_server, ids, descriptor)
            for (descriptor, ids), agrees in zip(wanted, proven, strict=True)
            if agrees
        ]

    async def shows_canary(self, contents: Contents, profile: ServerProfile, digest_key: Secret) -> bool:
        """Whether a server's canary is among what it showed: else it may hide anything, to us or for now."""
        provings = [
            Proving(profile.key_server, ids, profile.canary_digest)
            for name, ids in _wholes(contents.objects, ObjectKind.CANARY)
            if str(name) == profile.canary_name
        ]
        return any(await self._proven(contents, digest_key, provings))

    async def _proven(self, contents: Contents, digest_key: Secret, wanted: list[Proving]) -> list[bool]:
        until = asyncio.get_running_loop().time() + PROVING_S
        return [each.proven for each in await self._prover.prove(contents.endpoint, digest_key, wanted, until)]

    async def _look(self, contents: Contents, ids: Iterator[str]) -> None:
        """Ask for the names of objects that nobody has asked for."""
        async with self._objects.session(contents.endpoint, timeout_s=contents.endpoint.target.timeout_s) as session:
            for id_ in ids:
                try:
                    facts = await session.get_attributes(id_)
                except KeyServerFault as fault:
                    if not fault.fault.answered:
                        raise
                    continue  # it is gone by now, or another client's
                for name in list(filter(None, map(parse, facts.names)))[:1]:  # what has two names is one object
                    contents.objects.append(FoundObject(contents.endpoint.key_server, id_, name, facts.state))

    async def _read_descriptors(self, contents: Contents) -> None:
        wanted = [each for each in contents.objects if each.name.kind is ObjectKind.DESCRIPTOR and not each.ended]
        async with self._objects.session(contents.endpoint, timeout_s=contents.endpoint.target.timeout_s) as session:
            for first in range(0, len(wanted), COPIES_PER_MESSAGE):
                part = wanted[first : first + COPIES_PER_MESSAGE]
                got = await session.get_many([(each.unique_identifier,) for each in part])
                for each, content in zip(part, got, strict=True):
                    if not isinstance(content, KeyServerFault):
                        contents.descriptors[each.unique_identifier] = content


def _wholes(objects: Iterable[FoundObject], kind: ObjectKind) -> Iterator[tuple[ObjectName, tuple[str, ...]]]:
    """What is there of a kind, whole: single objects, and pairs that have both halves, by name without a part."""
    halves: dict[ObjectName, dict[int, str]] = defaultdict(dict)
    for found in objects:
        if found.name.kind is not kind or found.ended:
            continue
        name = replace(found.name, part=0)
        if found.name.part:
            halves[name].setdefault(found.name.part, found.unique_identifier)
        else:
            yield name, (found.unique_identifier,)
    for name, parts in halves.items():
        if parts.keys() == {1, 2}:
            yield name, (parts[1], parts[2])
