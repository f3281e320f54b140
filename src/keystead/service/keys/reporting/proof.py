"""Verify copies for a report: read each copy's bytes and State, on new connections that look for the canary first.

What is seen of a copy is stored as a sweep stores it. A copy that was once proven becomes ``missing`` by a sweep only.
Nothing on a key server is overwritten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.keeping import CopyAnswer, to_be_proven, without_copy
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.keys.report import NOT_WRITTEN, Finding, Result
from keystead.service.announcing import add_events
from keystead.service.keys.announcing import different_copy_events
from keystead.service.keys.context import Tracked, by_host, slices, tracked
from keystead.service.keys.looking.changes import changes_of, put_changes
from keystead.service.keys.looking.look import CopyObservation, attributes_of, look_at_many
from keystead.service.keys.looking.visit import visit
from keystead.service.keys.writing.attempt_runner import LENGTH_NOT_SUPPORTED, unusable
from keystead.service.ports.cluster import ClusterRows, EventRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.looking.changes import CopyChange
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology

ASKED: Final = 32
"""How many copies are requested at a time."""

_RESULTS: Final = {
    CopyAnswer.AGREES: Result.PROVEN,
    CopyAnswer.DIFFERS: Result.DIFFERENT,
    CopyAnswer.REFUSED: Result.REFUSED,
}


class Rows(TopologyRows, KeyManagerRows, ClusterRows, EventRows, LeaseRows, KeyRows, AttemptRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(slots=True)
class VerifiedPage:
    """The findings about some keys, by uuid, and the changes of their copies, which are not stored yet."""

    found: dict[str, list[Finding]]
    changes: list[CopyChange] = field(default_factory=list)


class CopyVerification:
    """The verification of a key manager's copies, on the servers that were configured when it began."""

    def __init__(self, context: KeeperContext, topology: ServerTopology) -> None:
        self._context = context
        self._topology = topology

    async def prove(self, keys: Sequence[Key]) -> VerifiedPage:
        """Read every copy of these keys. Return what was seen, for :meth:`store`.

        Called for each page of keys by the job of the verification. Raises StoreError.
        """
        page = VerifiedPage({key.uuid: [] for key in keys})
        rows = await self._context.store.read(lambda tx: tracked(tx, tx.copies(page.found)))
        held: dict[str, list[Tracked]] = {key.uuid: [] for key in keys}
        for row in rows:
            held[row.key.uuid].append(row)
        asked = [row for key in keys for row in self._copies_to_ask(page, key, held[key.uuid])]
        await asyncio.gather(
            *(
                self._prove_at(page, server, host, some)
                for server in self._topology.servers
                for host, some in by_host(row for row in asked if row.copy.key_server == server.uuid).items()
            )
        )
        return page

    def _copies_to_ask(self, page: VerifiedPage, key: Key, rows: Sequence[Tracked]) -> list[Tracked]:
        """Return the copies of a key to ask servers about; note at once what is known without asking."""
        topology, found = self._topology, page.found[key.uuid]
        rows = [row for row in rows if not self._is_same_as_primary(row)]
        committed = [row for row in rows if row.attempt.state is AttemptState.COMMITTED]
        about = to_be_proven([row.copy for row in committed], topology.domain_of)
        pending = [row.copy for row in rows if row.attempt.state is AttemptState.PENDING]
        why = unusable(topology, key.length)
        able = [server.uuid for server in topology.servers if why.get(server.uuid) != LENGTH_NOT_SUPPORTED]
        for copy in about:
            if not copy.unique_identifiers:
                found.append(Finding(copy.key_server, copy.host, Result.UNSETTLED))
        for uuid in without_copy([*about, *pending], able, topology.domain_of) if about else ():
            found.append(Finding(uuid, "", Result.MISSING, reason=NOT_WRITTEN))
        return [row for row in committed if row.copy.unique_identifiers and row.copy in about]

    def _is_same_as_primary(self, row: Tracked) -> bool:
        """Return True if a copy is the same as its primary's copy.

        That can be so only if the copy was given to a secondary that is not configured any more.
        """
        server, primary = self._topology.server(row.copy.key_server), row.primary
        if server is None or primary is None or row.copy.host in ("", *server.secondary_key_servers):
            return False
        return (primary.presence, primary.unique_identifiers) == (Presence.PRESENT, row.copy.unique_identifiers)

    async def _prove_at(self, page: VerifiedPage, server: KeyServer, host: str, rows: Sequence[Tracked]) -> None:
        """Prove copies at one address, on a new connection. Add the findings and the changes to ``page``.

        ``host`` is a secondary, or empty for the primary. If that secondary is not configured any more, ask the primary
        instead. If the address fails, note the copies that it has not answered yet as unreachable. No other address is
        asked for them. Called for each address with copies of the page. Nothing is stored here.
        """
        left = rows
        host = host if host in server.secondary_key_servers else ""
        try:
            async with visit(self._context, self._topology, server, host, fresh=True, exact=True) as at:
                for some in slices(rows, ASKED):
                    seen = await look_at_many(at, some)
                    states = [await _state(at, each) for each in seen]
                    self._note_findings(page, server, at, list(zip(some, seen, states, strict=True)))
                    left = left[len(some) :]
        except KeyServerFault as fault:
            for row in left:
                page.found[row.key.uuid].append(Finding(server.uuid, host, Result.UNREACHABLE, reason=fault.reason))

    def _note_findings(
        self, page: VerifiedPage, server: KeyServer, at: Visit, looks: Sequence[tuple[Tracked, CopyObservation, str]]
    ) -> None:
        """Add to the page the findings of looks at one address, and what the looks change in the copies."""
        now = self._context.clock.now()
        for row, seen, state in looks:
            if_absent = Result.MISSING if at.absence_counts else Result.NOT_SHOWN
            result = _RESULTS.get(seen.look, if_absent)
            page.found[row.key.uuid].append(Finding(server.uuid, at.host, result, state))
            page.changes += changes_of(at, row, CopyObservation(seen.look, seen.unique_identifiers, state), now)

    def store(self, tx: Rows, page: VerifiedPage) -> None:
        """Store the changes of copies, and add an event for each copy that has become ``different``.

        Called in the transaction that stores the job's step. It may store the same page again.
        """
        stored = put_changes(tx, page.changes, seen_in=self._topology)
        for server in self._topology.servers:
            here = [change for change in stored if change[0].key_server == server.uuid]
            add_events(tx, different_copy_events(tx, self._context, self._topology, server, here))


async def _state(at: Visit, seen: CopyObservation) -> str:
    """Return the State of a copy that was just looked at, as the server tells it now; empty if it does not tell it.

    For a copy that agrees, the look gives the stored State only (see :func:`look_at_many`), so the server is asked. For
    any other copy the look has just asked. Raises KeyServerFault.
    """
    if seen.look is not CopyAnswer.AGREES:
        return seen.state
    return (await attributes_of(at.session, seen.unique_identifiers[0])).state
