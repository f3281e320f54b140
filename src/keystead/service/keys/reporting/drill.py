"""The reboot drill: read keys as a node does that has just started, from its key servers alone.

The drill uses nothing that a running node remembers: no material, connections, circuits, or resolved names. The order
of addresses is that of any other read. Keys that are to be read next from one address are requested in one batch.
Nothing is stored about a copy.
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
    from keystead.service.keys.reading.context import ReadContext
    from keystead.service.keys.reading.fetch import Fetcher
    from keystead.service.ports.objects import KeyObjects

_ToRead = tuple["Key", "Source"]
"""A key, and the address from which to read it next."""


class Drill:
    """One reboot drill. ``objects`` and ``fetcher``, which orders the addresses, are used by this drill alone."""

    def __init__(self, objects: KeyObjects, fetcher: Fetcher, read_context: ReadContext) -> None:
        self._objects = objects
        self._fetcher = fetcher
        self._read_context = read_context

    async def read(self, keys: Sequence[Key], copies: Iterable[Copy]) -> dict[str, list[Finding]]:
        """Read keys; return for each key (uuid) the findings, address by address, until one returned the key.

        A key without any address to read from has no findings. Called for each page of keys by the job of the drill.
        """
        held: dict[str, list[Copy]] = {key.uuid: [] for key in keys}
        for copy in copies:
            held[copy.key].append(copy)
        untried = {key.uuid: iter(self._fetcher.order(self._read_context, held[key.uuid])) for key in keys}
        found: dict[str, list[Finding]] = {key.uuid: [] for key in keys}
        waiting = list(keys)
        while to_read := list(_next_to_read(waiting, untried)):
            for key, finding in await self._ask(to_read):
                found[key.uuid].append(finding)
            waiting = [key for key, _ in to_read if found[key.uuid][-1].result is not Result.PROVEN]
        return found

    async def _ask(self, to_read: Sequence[_ToRead]) -> list[tuple[Key, Finding]]:
        """Ask all addresses at once, each for all keys that are to be read there."""
        by_address: dict[tuple[str, str], list[_ToRead]] = {}
        for each in to_read:
            source = each[1]
            by_address.setdefault((source.server.uuid, source.host), []).append(each)
        answers = await asyncio.gather(*(self._ask_address(some) for some in by_address.values()))
        return [answer for some in answers for answer in some]

    async def _ask_address(self, to_read: Sequence[_ToRead]) -> list[tuple[Key, Finding]]:
        """Ask one address for these keys in one session. If that fails, the finding of each key is the failure."""
        endpoint = self._read_context.endpoint(to_read[0][1])
        try:
            async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=True) as session:
                answers = await session.get_many([source.copy.unique_identifiers for _, source in to_read])
        except KeyServerFault as fault:
            answers = [fault] * len(to_read)
        return [
            (key, self._finding(key, source, answer)) for (key, source), answer in zip(to_read, answers, strict=True)
        ]

    def _finding(self, key: Key, source: Source, answer: Secret | KeyServerFault) -> Finding:
        """Return the finding for one answer: the fault, or whether the material agrees with the digest."""
        place = source.server.uuid, source.host
        if isinstance(answer, KeyServerFault):
            return Finding(*place, _result(answer.fault), reason=answer.reason)
        same = agrees(self._read_context.digest_key, key.uuid, answer, key.digest)
        return Finding(*place, Result.PROVEN if same else Result.DIFFERENT)


def _next_to_read(waiting: Iterable[Key], untried: dict[str, Iterator[Source]]) -> Iterator[_ToRead]:
    """Yield each waiting key that has an untried address, with that address. The address then counts as tried."""
    for key in waiting:
        source = next(untried[key.uuid], None)
        if source is not None:
            yield key, source


def _result(fault: Fault) -> Result:
    """Return the result for a fault. An object that is not found is only ``not_shown``: no canary was looked for."""
    if fault is Fault.NOT_FOUND:
        return Result.NOT_SHOWN
    return Result.REFUSED if fault.answered else Result.UNREACHABLE
