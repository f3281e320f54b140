"""What a key server holds under our names: all objects, its opened descriptors, and the copies that agree."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from keystead.core.keys.descriptors import decode
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.keys.rebuilding import FoundCopy, FoundDescriptor, FoundObject
from keystead.service.keys.looking.verify import COPIES_PER_MESSAGE, SESSIONS, CopyVerifier, WantedCopy
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keystead.core.keys.model import ServerProfile
    from keystead.core.keys.names import ObjectName
    from keystead.core.secret import Secret
    from keystead.service.keys.looking.verify import VerifyResult
    from keystead.service.ports.objects import Endpoint, KeyObjects

PROVING_S: Final = 3600.0
"""How long, in seconds, reading the copies on one server may take."""


@dataclass
class Contents:
    """The objects of one server, and the content of its descriptors by Unique Identifier."""

    endpoint: Endpoint
    objects: list[FoundObject] = field(default_factory=list)
    descriptors: dict[str, Secret] = field(default_factory=dict, repr=False)

    def opened(self, digest_key: Secret) -> Iterator[FoundDescriptor]:
        """Yield the authentic descriptors that are stored under their own names. Others are left out."""
        for found in self.objects:
            content = self.descriptors.get(found.unique_identifier)
            descriptor = None if content is None else decode(content.reveal(), digest_key)
            if descriptor is not None and descriptor.is_named(found.name):
                yield FoundDescriptor(found, descriptor)


class ContentsReader:
    """The reader of whole servers. It changes nothing there."""

    def __init__(self, objects: KeyObjects) -> None:
        self._objects = objects
        self._verifier = CopyVerifier(objects)

    async def read(self, endpoint: Endpoint) -> Contents:
        """Look at every object of a server, and read its descriptors. Raises KeyServerFault.

        Called by a rebuild for each key server. Objects under other names than ours are left out.
        """
        contents = Contents(endpoint)
        async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
            ids = iter(await session.locate_all())
        looked = await asyncio.gather(
            *(self._look_at_objects(contents, ids) for _ in range(SESSIONS)), return_exceptions=True
        )
        for failure in looked:
            if failure is not None:
                raise failure
        await self._read_descriptors(contents)
        return contents

    async def copies(
        self, contents: Contents, descriptors: Iterable[FoundDescriptor], digest_key: Secret
    ) -> tuple[list[FoundCopy], Counter[str]]:
        """Read a server's copies of described keys; return those that agree with the digest, and count the others.

        The others are counted by the reason, a fixed word: other material, or why a copy could not be read.
        ``descriptors`` are those of all servers. The name of a copy has the attempt that is ``copied_by`` in its
        descriptor. For an adopted object, that is not the attempt that is ``written_by``.
        """
        described = {found.descriptor.written_by: found.descriptor for found in descriptors}
        by_copy_name = defaultdict(list)
        for descriptor in described.values():
            by_copy_name[descriptor.copied_by].append(descriptor)
        wanted = [
            (descriptor, ids)
            for name, ids in _complete_objects(contents.objects, ObjectKind.KEY)
            for descriptor in by_copy_name[name.id, name.attempt, name.incarnation]
        ]
        provings = [WantedCopy(found.uuid, ids, found.digest) for found, ids in wanted]
        proven = await self._proven(contents, digest_key, provings)
        copies = [
            FoundCopy(contents.endpoint.key_server, ids, descriptor)
            for (descriptor, ids), result in zip(wanted, proven, strict=True)
            if result.proven
        ]
        return copies, Counter(result.reason for result in proven if not result.proven)

    async def shows_canary(self, contents: Contents, profile: ServerProfile, digest_key: Secret) -> bool:
        """Return True if a server's canary is among the objects that it showed, and its bytes agree.

        Without its canary, the server may hide other objects too. Called by a rebuild after it has read a server.
        """
        provings = [
            WantedCopy(profile.key_server, ids, profile.canary_digest)
            for name, ids in _complete_objects(contents.objects, ObjectKind.CANARY)
            if str(name) == profile.canary_name
        ]
        return any(result.proven for result in await self._proven(contents, digest_key, provings))

    async def _proven(self, contents: Contents, digest_key: Secret, wanted: list[WantedCopy]) -> list[VerifyResult]:
        """Read these objects; return for each, in order, whether its bytes agree with its digest."""
        until = asyncio.get_running_loop().time() + PROVING_S
        return await self._verifier.prove(contents.endpoint, digest_key, wanted, until)

    async def _look_at_objects(self, contents: Contents, ids: Iterator[str]) -> None:
        """Look at objects that no other worker has asked for. Add those under our names to ``contents``."""
        async with self._objects.session(contents.endpoint, timeout_s=contents.endpoint.target.timeout_s) as session:
            for id_ in ids:
                try:
                    attributes = await session.get_attributes(id_)
                except KeyServerFault as fault:
                    if not fault.fault.answered:
                        raise
                    continue  # because the object is gone, or belongs to another client
                # Only the first name counts, because an object with two names is one object.
                for name in list(filter(None, map(parse, attributes.names)))[:1]:
                    contents.objects.append(FoundObject(contents.endpoint.key_server, id_, name, attributes.state))

    async def _read_descriptors(self, contents: Contents) -> None:
        """Read the descriptors that were found, except destroyed ones. Add their content to ``contents``."""
        wanted = [each for each in contents.objects if each.name.kind is ObjectKind.DESCRIPTOR and not each.ended]
        async with self._objects.session(contents.endpoint, timeout_s=contents.endpoint.target.timeout_s) as session:
            for first in range(0, len(wanted), COPIES_PER_MESSAGE):
                part = wanted[first : first + COPIES_PER_MESSAGE]
                got = await session.get_many([(each.unique_identifier,) for each in part])
                for each, content in zip(part, got, strict=True):
                    if not isinstance(content, KeyServerFault):
                        contents.descriptors[each.unique_identifier] = content


def _complete_objects(objects: Iterable[FoundObject], kind: ObjectKind) -> Iterator[tuple[ObjectName, tuple[str, ...]]]:
    """Yield complete objects of a kind, by name without a part: single objects, and pairs with both halves.

    Destroyed objects are left out.
    """
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
