"""Visits: sessions on one address of a key server that look for the canary first."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.service.keys.looking.canaries import CanarySight, find_own_canary
from keystead.service.ports.objects import Fault, KeyServerFault
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.keys.context import KeeperContext, Site, Tracked
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.objects import Endpoint, ObjectSession


log = structlog.get_logger(__name__)

MAX_SILENT_COPIES: Final = 3
"""An address counts as silent after this many copies in a row without an answer."""

RECONNECT_S: Final = 1.1
"""How long :class:`~keystead.service.ports.objects.KeyObjects` leaves an address alone after one failure."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A session on one address of a key server (uuid). ``canary``: it is there under its identifiers.

    ``stands_in``: the address is the primary, because the secondary that was asked for has failed lately. ``host`` is
    that of the address in use, empty for the primary.
    """

    session: ObjectSession
    key_server: str
    address: str
    profile: ServerProfile | None
    canary: bool
    digest_key: Secret = field(repr=False)
    stands_in: bool = False
    host: str = ""

    @property
    def absence_counts(self) -> bool:
        """True if a copy that is not found here is missing.

        On a primary that stands in, it may not be: the secondary that was sent the copy may not have replicated it yet.
        """
        return self.canary and not self.stands_in


@asynccontextmanager
async def visit(
    context: KeeperContext,
    topology: ServerTopology,
    server: KeyServer,
    host: str = "",
    profile: ServerProfile | None = None,
    *,
    fresh: bool = False,
    exact: bool = False,
    failed: bool = False,
) -> AsyncIterator[Visit]:
    """Open a session on a server, or on one of its secondaries, and look for the canary first. Yield the visit.

    Called before copies are looked at, activated or destroyed. The visit also takes place if the canary is not shown:
    then ``canary`` is False.

    The primary is visited instead of a secondary that is not configured any more. It also stands in for a secondary
    that ``failed`` just now, or whose circuit is open. A secondary is in the domain of its primary. With ``exact`` only
    the secondary itself is visited: it may hold what the primary lacks if they do not replicate.

    ``profile`` is needed for a detached key server only. For ``fresh`` see
    :meth:`keystead.service.ports.objects.KeyObjects.session`. Raises KeyServerFault.
    """
    profile = profile or topology.profiles.get(server.uuid)
    if exact and host not in server.secondary_key_servers:
        server = replace(server, secondary_key_servers=(host,) * bool(host))  # so that the host is not replaced
    endpoint = endpoint_of(context, topology, server, host)
    stands_in = bool(endpoint.host) and not exact and (failed or context.objects.circuit_open(endpoint))
    if stands_in:
        endpoint = endpoint_of(context, topology, server, "")
    try:
        digest_key = context.endpoints.digest_key(topology)
    except NO_IDENTITY:
        raise KeyServerFault(Fault.UNREACHABLE, "digest_key") from None
    async with context.objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=fresh) as session:
        known = profile if profile is not None and profile.canary else None
        seen = known is not None and await find_own_canary(session, known, digest_key) is CanarySight.SEEN
        yield Visit(session, server.uuid, str(endpoint.server), profile, seen, digest_key, stands_in, endpoint.host)


async def visit_each(
    context: KeeperContext,
    topology: ServerTopology,
    site: Site,
    rows: Sequence[Tracked],
    work: Callable[[Visit, Tracked], Awaitable[None]],
) -> bool:
    """Do ``work`` for each copy at one address; return False if the address was given up because it is silent.

    Called to destroy copies, and before that to ask about attempts that timed out. ``rows`` have one host, and are not
    empty.

    The address is given up if no session opens, or if it is silent about several copies in a row. A silent address
    makes ``work`` raise KeyServerFault. That copy is then skipped, and the other copies use a new connection. So True
    does not mean that the work was done for every copy.
    """
    waiting, host, silent_in_a_row = deque(rows), rows[0].copy.host, 0
    while waiting:
        opened = False
        try:
            async with visit(context, topology, site.server, host, site.profile, exact=True) as at:
                opened = True
                while waiting:
                    await context.turn()
                    await work(at, waiting.popleft())
                    silent_in_a_row = 0
        except KeyServerFault as fault:
            server = str(site.server.address)
            log.info("key server does not answer, the work there waits", address=server, host=host, why=fault.reason)
            silent_in_a_row += 1
            if not opened or silent_in_a_row == MAX_SILENT_COPIES:
                return False
            await asyncio.sleep(RECONNECT_S)
    return True


def endpoint_of(context: KeeperContext, topology: ServerTopology, server: KeyServer, host: str) -> Endpoint:
    """Return how an address is reached. A host that is not configured, or is empty, leads to the primary.

    Raises KeyServerFault (``unreachable``) when our own certificate or a password cannot be used.
    """
    try:
        found = {
            endpoint.host: endpoint for endpoint in context.endpoints.each(server, context.endpoints.identity(topology))
        }
    except NO_IDENTITY as error:
        log.error("own certificate or password cannot be used", address=str(server.address), why=type(error).__name__)  # noqa: TRY400
        raise KeyServerFault(Fault.UNREACHABLE, "identity") from None
    return found.get(host) or found[""]
