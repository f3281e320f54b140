"""The reboot drill: reading keys as a node that has just started would, from nothing but its key servers.

Nothing that a running node remembers is used: no material, no connections, no circuits, no names that were resolved.
Keys are read in the order in which they are read otherwise; those that are to be read from one address next are asked
for together. Nothing is stored of a copy.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.core.keys.digests import agrees
from keystead.core.keys.report import Finding, Result
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.keys.reading import Source
    from keystead.core.secret import Secret
    from keystead.service.keys.reading.fetch import Fetcher, ReadContext
    from keystead.service.ports.objects import KeyObjects

Asked = tuple["Key", "Source"]
"""A key, and the address that it is to be read from next."""


class Drill:
    """Reads keys once. ``objects`` and ``fetcher``, which orders, are its own."""

    def __init__(self, objects: KeyObjects, fetcher: Fetcher, shelf: ReadContext) -> None:
        self._objects = objects
        self._fetcher = fetcher
        self._shelf = shelf

    async def read(self, keys: Sequence[Key], copies: Iterable[Copy]) -> dict[str, list[Finding]]:
        """Say what was found of each key (uuid), address by address until one returned it."""
        held: dict[str, list[Copy]] = {key.uuid: [] for key in keys}
        for copy in copies:
            held[copy.key].append(copy)
        left = {key.uuid: iter(self._fetcher.order(self._shelf, held[key.uuid])) for key in keys}
        found: dict[str, list[Finding]] = {key.uuid: [] for key in keys}
        waiting = list(keys)
        while asked := list(_next(waiting, left)):
            for key, finding in await self._ask(asked):
                found[key.uuid].append(finding)
            waiting = [key for key, _ in asked if found[key.uuid][-1].result is not Result.PROVEN]
        return found

    async def _ask(self, asked: Sequence[Asked]) -> list[tuple[Key, Finding]]:
        """Ask all addresses at once, each for all that is to be read there."""
        by_address: dict[tuple[str, str], list[Asked]] = {}
        for each in asked:
            source = each[1]
            by_address.setdefault((source.server.uuid, source.host), []).append(each)
        answers = await asyncio.gather(*(self._ask_address(some) for some in by_address.values()))
        return [answer for some in answers for answer in some]

    async def _ask_address(self, asked: Sequence[Asked]) -> list[tuple[Key, Finding]]:
        endpoint = self._shelf.endpoint(asked[0][1])
        try:
            async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=True) as session:
                answers = await session.get_many([source.copy.unique_identifiers for _, source in asked])
        except KeyServerFault as fault:
            answers = [fault] * len(asked)
        return [(key, self._finding(key, source, answer)) for (key, source), answer in zip(asked, answers, strict=True)]

    def _finding(self, key: Key, source: Source, answer: Secret | KeyServerFault) -> Finding:
        place = source.server.uuid, source.host
        if isinstance(answer, KeyServerFault):
            return Finding(*place, _result(answer.fault), reason=answer.reason)
        same = agrees(self._shelf.digest_key, key.uuid, answer, key.digest)
        return Finding(*place, Result.PROVEN if same else Result.DIFFERENT)


def _next(waiting: Iterable[Key], left: dict[str, Iterator[Source]]) -> Iterator[Asked]:
    """The keys that can be read from another address still, each with that."""
    for key in waiting:
        source = next(left[key.uuid], None)
        if source is not None:
            yield key, source


def _result(fault: Fault) -> Result:
    if fault is Fault.NOT_FOUND:
        return Result.NOT_SHOWN
    return Result.REFUSED if fault.answered else Result.UNREACHABLE
