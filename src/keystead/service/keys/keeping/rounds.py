"""The rounds of the keeper: all steps that keep and purge keys, in order, for one key manager at a time.

One process in the cluster makes rounds; it holds the lease ``keeper``. A failure in one key manager does not stop the
others. :mod:`keystead.monitor.keeper` decides when a round is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import structlog

from keystead.core.availability import keys_visible
from keystead.core.errors import OntapError
from keystead.service.announcing import add_events
from keystead.service.cluster.leases import KEEPER, LeaseLost
from keystead.service.keys.announcing import tally_event
from keystead.service.ports.cluster import ClusterRows, EventRows, LeaseRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyServerRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from contextlib import AbstractAsyncContextManager

    from keystead.core.keys.keeping import Tally
    from keystead.core.model import KeyManager, KeyServer
    from keystead.service.cluster.leases import Holding, Leases
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.destroying.epoch_markers import EpochMarkers
    from keystead.service.keys.destroying.purge import KeyPurge
    from keystead.service.keys.keeping.settle import AttemptSettlement
    from keystead.service.keys.keeping.sweep import CopySweep
    from keystead.service.keys.orphans.scan import OrphanScan
    from keystead.service.keys.topology import ServerTopology

log = structlog.get_logger(__name__)

T = TypeVar("T")

YOUNG: Final = timedelta(hours=1)
"""How long after a server was learned each round looks for canaries of others there: replication takes time."""

HIDING_S: Final = 3600.0
"""How many seconds pass at least between two sweeps of a server because it hides its keys.

Each sweep tolerates a few missing copies. Many sweeps in a short time would tolerate the loss of all.
"""


class Rows(ClusterRows, NodeRows, KeyServerRows, ObservationRows, EventRows, LeaseRows, Protocol):
    """The rows that this module reads and writes."""


class Learner(Protocol):
    """The learner of servers and canaries; see :mod:`keystead.service.keys.learning.learn`."""

    async def ensure(self, key_manager: str) -> ServerTopology: ...  # noqa: D102 - as above
    async def look_for_canaries(self, key_manager: str) -> None: ...  # noqa: D102 - as above


@dataclass(frozen=True, slots=True)
class EnabledKeyManager:
    """An enabled key manager and its servers."""

    key_manager: KeyManager
    servers: tuple[KeyServer, ...]


@dataclass(frozen=True, slots=True)
class RoundParts:
    """The steps of a round."""

    settling: AttemptSettlement
    keeping: CopySweep
    epoch_markers: EpochMarkers
    destroying: KeyPurge
    scan: OrphanScan
    learner: Learner


class KeyRounds:
    """The maker of rounds. Methods with a ``holding`` raise LeaseLost if another process may hold the lease.

    ``look`` is called before attempts are aborted and before objects are destroyed. It notices that the database was
    restored, cloned or promoted.
    """

    def __init__(
        self,
        context: KeeperContext,
        leases: Leases,
        parts: RoundParts,
        *,
        look: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._context = context
        self._leases = leases
        self._parts = parts
        self._look = look
        self._swept_at: dict[str, float] = {}  # by server (uuid), monotonic

    def holding(self) -> AbstractAsyncContextManager[Holding | None]:
        """Hold the keeper's lease while the returned context is entered. All rounds are made within it.

        Its value is None while another process holds the lease: then no round may be made. Raises StoreError.
        """
        return self._leases.holding(KEEPER)

    async def enabled_key_managers(self) -> tuple[EnabledKeyManager, ...]:
        """Return the enabled key managers, each with its servers. The keeper makes rounds of these only.

        Called before each round of all key managers. Called also before a round on demand (a kick): that is made soon
        after keys or servers have changed. Raises StoreError.
        """
        found = await self._context.store.read(lambda tx: tx.watched())
        return tuple(EnabledKeyManager(each, servers) for each, servers in found)

    async def abort_expired(self, holding: Holding) -> None:
        """Abort the attempts that timed out, in all key managers. A failure is only logged.

        The keeper calls it periodically, concurrently with the rounds.
        """
        await _run_step("attempts", "", self._after_look(partial(self._parts.settling.abort_expired, holding)))

    async def keep(
        self,
        holding: Holding,
        key_manager: str,
        sweep: Collection[str] = (),
        *,
        scan: bool = False,
        changed: bool = False,
    ) -> Tally | None:
        """Make a round of one key manager. Return the tally of its keys, or None if the walk over them failed.

        Called by the keeper when a round is due, or after a kick. A step that fails is logged, and the next step is
        made.

        ``sweep`` are the servers (uuids) to sweep. ``scan``: look for orphans, too. ``changed``: its servers or keys
        may have changed.
        """
        parts = self._parts
        topology = await _run_step("learning", key_manager, parts.learner.ensure(key_manager))
        if sweep or changed or (topology is not None and self._is_young(topology)):
            await _run_step("canaries", key_manager, parts.learner.look_for_canaries(key_manager))
        await _run_step("settling", key_manager, parts.settling.settle(holding, key_manager))
        hiding = await _run_step("looking", key_manager, self._newly_hiding(key_manager)) or []
        for key_server in dict.fromkeys([*sweep, *hiding]):
            swept = await _run_step("sweeping", key_manager, parts.keeping.sweep(holding, key_manager, key_server))
            if swept is not None and key_server in hiding:
                self._swept_at[key_server] = self._context.clock.monotonic()
        if scan:
            await _run_step("listing", key_manager, parts.scan.scan(holding, key_manager))
        await _run_step("ending", key_manager, self._after_look(partial(self._destroy, holding, key_manager)))
        holding.check_time()
        filled = await _run_step("copying", key_manager, parts.keeping.fill(key_manager))
        return None if filled is None else filled.tally

    async def _newly_hiding(self, key_manager: str) -> list[str]:
        """Return the servers (uuids) that hide their keys and were not swept for that reason yet.

        They are swept in this round. Monitors find them: a server hides its keys if a node that watches says so. A
        swept server counts again once it has shown its keys at least :data:`HIDING_S` after the sweep. No sweep is
        needed when keys are shown again, because unknown copies are settled in any round.
        """

        def read(tx: Rows) -> dict[str, bool]:
            servers = [server.uuid for server in tx.key_servers(key_manager)]
            return keys_visible(tx.observations(servers), tx.nodes())

        now, shown = self._context.clock.monotonic(), await self._context.store.read(read)
        for uuid, shows in shown.items():
            if shows and self._swept_at.get(uuid, now) + HIDING_S <= now:
                del self._swept_at[uuid]
        return [uuid for uuid, shows in shown.items() if not shows and uuid not in self._swept_at]

    async def _destroy(self, holding: Holding, key_manager: str) -> None:
        """Replace epoch markers, then destroy objects on servers whose marker shows no clone of this database.

        Purges begin and end here, too. Called in each round, after the look at the database.
        """
        marked = await self._parts.epoch_markers.advance(holding, key_manager)
        await self._parts.destroying.end(holding, key_manager, marked)

    def _is_young(self, topology: ServerTopology) -> bool:
        """Return True if a server was learned lately, so that its replication may not have shown yet.

        Then canaries of other servers are looked for in each round.
        """
        now = self._context.clock.now()
        return any(now - YOUNG < profile.learned <= now for profile in topology.profiles.values())

    async def _after_look(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run work that aborts or destroys, after a check whether a new incarnation must begin.

        If the check raises, the work is not run.
        """
        if self._look is not None:
            await self._look()
        return await work()

    async def announce(self, holding: Holding, key_manager: KeyManager, tally: Tally) -> None:
        """Store the event about sole copies of a key manager's keys.

        The keeper calls it when keys with too few proven copies appear, become worse or better, or are gone. Raises
        StoreError.
        """

        def work(tx: Rows) -> None:
            holding.check(tx)
            add_events(tx, [tally_event(tx, self._context, key_manager, tally)])

        await self._context.store.write(work)


async def _run_step(what: str, key_manager: str, work: Awaitable[T]) -> T | None:
    """Run a step of a round, and return its result. If it fails, log that and return None. Raises LeaseLost only."""
    try:
        return await work
    except LeaseLost:
        raise
    except (StoreError, OntapError) as failure:
        log.warning("keeper step failed", part=what, key_manager=key_manager, why=str(failure))
    except Exception as error:  # noqa: BLE001 - its text may quote what a peer sent
        log.error("keeper step failed unexpectedly", part=what, key_manager=key_manager, why=type(error).__name__)  # noqa: TRY400
    return None
