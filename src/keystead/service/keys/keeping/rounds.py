"""The rounds of the keeper: everything that keeps and ends keys, in its order, for one key manager after another.

One process in the cluster makes them, by the lease ``keeper``. What goes wrong with one key manager holds up no other.
When rounds are made is the monitor's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import structlog

from keystead.core.errors import OntapError
from keystead.service.announcing import add_events, cluster_name
from keystead.service.cluster.leases import LeaseLost
from keystead.service.keys.announcing import of_tally
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
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

T = TypeVar("T")

LEASE: Final = "keeper"

YOUNG: Final = timedelta(hours=1)
"""For so long canaries of a server that was learned are looked for in each round: replication takes its time."""

LOOK_S: Final = 300.0
"""So often each server is asked for its canary, but for rounds in which something changed."""

HIDING_S: Final = 3600.0
"""So often a server is swept, at most, because it hides its canary: a sweep tolerates some losses, many would all."""


class Learner(Protocol):
    """Learns what servers can do, and looks for canaries; see :mod:`keystead.service.keys.learning.learn`."""

    async def ensure(self, key_manager: str) -> ServerTopology: ...  # noqa: D102 - as above
    async def look_for_canaries(self, key_manager: str) -> None: ...  # noqa: D102 - as above


@dataclass(frozen=True, slots=True)
class Kept:
    """An enabled key manager, its servers, and the SVM's or cluster's name for events and metrics."""

    key_manager: KeyManager
    servers: tuple[KeyServer, ...]
    vserver: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What a round is made of."""

    settling: AttemptSettlement
    keeping: CopySweep
    fencing: EpochMarkers
    destroying: KeyPurge
    scan: OrphanScan
    learner: Learner


class KeyRounds:
    """Makes rounds. Every method but :meth:`holding` raises LeaseLost when another process may hold the lease.

    ``look`` is asked before anything is ended: it notices that the database is another one by now.
    """

    def __init__(
        self, context: KeeperContext, leases: Leases, parts: Parts, *, look: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._context = context
        self._leases = leases
        self._parts = parts
        self._look = look
        self._looked: dict[str, float] = {}  # by key manager: when its servers were asked for their canaries
        self._hiding: dict[str, float] = {}  # by server: when it was swept because it hid its canary

    def holding(self) -> AbstractAsyncContextManager[Holding | None]:
        """Hold the keeper's lease; None while another process does. Raises StoreError."""
        return self._leases.holding(LEASE)

    async def kept(self) -> tuple[Kept, ...]:
        """The key managers whose keys are to be kept. Raises StoreError."""

        def read(tx: Transaction) -> tuple[Kept, ...]:
            cluster = cluster_name(tx)
            return tuple(Kept(each, servers, each.svm.name if each.svm else cluster) for each, servers in tx.watched())

        return await self._context.store.read(read)

    async def abort_expired(self, holding: Holding) -> None:
        """Abort attempts whose time is over, of all key managers."""
        await _minded("attempts", "", self._ending(partial(self._parts.settling.abort_expired, holding)))

    async def keep(
        self,
        holding: Holding,
        key_manager: str,
        sweep: Collection[str] = (),
        *,
        scan: bool = False,
        changed: bool = False,
    ) -> Tally | None:
        """Make a round of one key manager; ``sweep`` are servers (uuids) whose copies are all looked at.

        ``changed``: something about its servers or keys may be other than it was. Returns how its keys stand, None when
        that could not be found out.
        """
        parts = self._parts
        topology = await _minded("learning", key_manager, parts.learner.ensure(key_manager))
        if sweep or changed or (topology is not None and self._is_young(topology)):
            await _minded("canaries", key_manager, parts.learner.look_for_canaries(key_manager))
        await _minded("settling", key_manager, parts.settling.settle(holding, key_manager))
        hiding = await self._turned(key_manager, changed=changed)
        for key_server in dict.fromkeys([*sweep, *hiding]):
            swept = await _minded("sweeping", key_manager, parts.keeping.sweep(holding, key_manager, key_server))
            if swept is not None and key_server in hiding:
                self._hiding[key_server] = self._context.clock.monotonic()
        if scan:
            await _minded("listing", key_manager, parts.scan.scan(holding, key_manager))
        await _minded("ending", key_manager, self._ending(partial(self._end, holding, key_manager)))
        holding.check_time()
        filled = await _minded("copying", key_manager, parts.keeping.fill(key_manager))
        return None if filled is None else filled.tally

    async def _turned(self, key_manager: str, *, changed: bool) -> list[str]:
        """The servers (uuids) that hide what they showed, and were not swept for that yet, nor lately.

        What is unknown is settled without a sweep once a server shows its canary again.
        """
        now = self._context.clock.monotonic()
        if not changed and now < self._looked.get(key_manager, now - LOOK_S) + LOOK_S:
            return []
        self._looked[key_manager] = now
        showing = await _minded("looking", key_manager, self._parts.keeping.showing(key_manager)) or {}
        for uuid, shows in showing.items():
            if shows and self._hiding.get(uuid, now) + HIDING_S <= now:
                del self._hiding[uuid]
        return [uuid for uuid, shows in showing.items() if not shows and uuid not in self._hiding]

    async def _end(self, holding: Holding, key_manager: str) -> None:
        """End what has to end, where a fence says that no twin of this database goes on."""
        fenced = await self._parts.fencing.advance(holding, key_manager)
        await self._parts.destroying.end(holding, key_manager, fenced)

    def _is_young(self, topology: ServerTopology) -> bool:
        """Whether a server has just been learned: what it replicates with may not have shown yet."""
        now = self._context.clock.now()
        return any(now - YOUNG < profile.learned <= now for profile in topology.profiles.values())

    async def _ending(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what ends something, in the incarnation that the database is in now."""
        if self._look is not None:
            await self._look()
        return await work()

    async def announce(self, holding: Holding, key_manager: KeyManager, tally: Tally) -> None:
        """Announce how a key manager's keys stand. Raises StoreError."""

        def work(tx: Transaction) -> None:
            holding.check(tx)
            add_events(tx, [of_tally(tx, self._context, key_manager, tally)])

        await self._context.store.write(work)


async def _minded(what: str, key_manager: str, work: Awaitable[T]) -> T | None:
    """Do a part of a round; when it fails, say so, and go on with the others."""
    try:
        return await work
    except LeaseLost:
        raise
    except (StoreError, OntapError) as failure:
        log.warning("keys are not kept yet", part=what, key_manager=key_manager, why=str(failure))
    except Exception as error:  # noqa: BLE001 - its text may quote what a peer sent
        log.error("keeping keys failed unexpectedly", part=what, key_manager=key_manager, why=type(error).__name__)  # noqa: TRY400
    return None
