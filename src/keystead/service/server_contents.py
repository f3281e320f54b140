"""What a key server holds under our names: every object, its descriptors opened, and copies that agree with them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keystead.core.keys.descriptors import opened
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.keys.rebuilding import FoundCopy, FoundDescriptor, FoundObject
from keystead.service.copy_proving import BATCH, SESSIONS, CopyProver, Proving
from keystead.service.key_ports import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keystead.core.keys.descriptors import Descriptor
    from keystead.core.secret import Secret
    from keystead.service.key_ports import KeyObjects, Reach

PROVING_S: Final = 3600.0
"""How long the copies on one server may take to be read."""


@dataclass
class Contents:
    """The objects of one server, and what descriptors say there, by unique identifier."""

    reach: Reach
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
        self._prover = CopyProver(objects)

    async def read(self, reach: Reach) -> Contents:
        """Look at every object of a server, and read descriptors. Raises KeyServerFault."""
        contents = Contents(reach)
        async with self._objects.session(reach, timeout_s=reach.target.timeout_s) as session:
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
        wanted = list(_candidates(contents.objects, described))
        until = asyncio.get_running_loop().time() + PROVING_S
        provings = [Proving(found.uuid, ids, found.digest) for found, ids in wanted]
        outcomes = await self._prover.prove(contents.reach, digest_key, provings, until)
        return [
            FoundCopy(contents.reach.key_server, ids, descriptor)
            for (descriptor, ids), outcome in zip(wanted, outcomes, strict=True)
            if outcome.proven
        ]

    async def _look(self, contents: Contents, ids: Iterator[str]) -> None:
        """Ask for the names of objects that nobody has asked for."""
        async with self._objects.session(contents.reach, timeout_s=contents.reach.target.timeout_s) as session:
            for id_ in ids:
                try:
                    facts = await session.facts(id_)
                except KeyServerFault as fault:
                    if not fault.fault.answered:
                        raise
                    continue  # it is gone by now, or another client's
                for name in filter(None, map(parse, facts.names)):
                    contents.objects.append(FoundObject(contents.reach.key_server, id_, name, facts.state))

    async def _read_descriptors(self, contents: Contents) -> None:
        wanted = [each for each in contents.objects if each.name.kind is ObjectKind.DESCRIPTOR]
        async with self._objects.session(contents.reach, timeout_s=contents.reach.target.timeout_s) as session:
            for first in range(0, len(wanted), BATCH):
                part = wanted[first : first + BATCH]
                got = await session.get_many([(each.unique_identifier,) for each in part])
                for each, content in zip(part, got, strict=True):
                    if not isinstance(content, KeyServerFault):
                        contents.descriptors[each.unique_identifier] = content


def _candidates(
    objects: Iterable[FoundObject], described: dict[tuple[str, int, str], Descriptor]
) -> Iterator[tuple[Descriptor, tuple[str, ...]]]:
    """What may be copies: single objects, and pairs, under the names of attempts that are described."""
    halves: dict[tuple[str, int, str], dict[int, str]] = defaultdict(dict)
    for found in objects:
        name = found.name
        attempt = name.id, name.attempt, name.incarnation
        if name.kind is not ObjectKind.KEY or attempt not in described:
            continue
        if name.part:
            halves[attempt].setdefault(name.part, found.unique_identifier)
        else:
            yield described[attempt], (found.unique_identifier,)
    for attempt, parts in halves.items():
        if parts.keys() == {1, 2}:
            yield described[attempt], (parts[1], parts[2])
