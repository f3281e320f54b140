"""The delivery of audit records and events to their destinations, by the one node that holds the lease.

Each destination has a task of its own, so that none waits for another. A task reads what comes after the destination's
cursors, sends it, and then stores the new cursors. So everything arrives at least once, and in the order of each node.
Calls do nothing for a destination, so none is slower while a destination is away.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core import events
from keystead.core.backoff import Backoff
from keystead.core.forwarding.destinations import Protocol as Way
from keystead.core.model import Certificate, CertificateType
from keystead.core.probing import TlsIdentity
from keystead.service.announcing import add_events
from keystead.service.cluster.leases import LeaseLost
from keystead.service.forwarding import batches
from keystead.service.periodic import Periodic
from keystead.service.ports.cluster import EventRows, LeaseRows
from keystead.service.ports.configuration import CertificateRows, ListRows
from keystead.service.ports.forwarding import Endpoint, Undelivered
from keystead.service.ports.page import Page
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.service.probing.prober import private_key_context

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.core.forwarding.destinations import Destination, Log, Progress
    from keystead.service.cluster.leases import HeldLease, Leases
    from keystead.service.forwarding.batches import Batch
    from keystead.service.ports.forwarding import DeliveryTelemetry, Sender
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

LEASE: Final = "forwarding"
LEASE_LENGTH: Final = timedelta(seconds=15)
"""How long the others wait for a node that is gone. Short, because two that deliver at once only send some twice."""

TAKE_S: Final = 5.0
"""Seconds between two renewals of the lease, and between two tries to get it."""

PERIOD_S: Final = 1.0
"""Seconds between two looks for new messages."""

AT_ONCE: Final = 100
"""Most entries of a log that are read, and sent over one connection."""

AT_ONCE_AFTER_FAILURE: Final = 10
"""The same after a failure, so that a slow destination gets on, too."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


class Rows(batches.Rows, CertificateRows, ListRows, EventRows, LeaseRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A batch for a destination, and what sends it. ``client`` is the certificate that it names, None if gone."""

    destination: Destination
    batch: Batch
    server_cas: tuple[str, ...]
    client: Certificate | None


@dataclass(slots=True)
class _Course:
    """The state of a destination in this process: its task, its pauses after failures, and how many messages wait."""

    backoff: Backoff
    task: asyncio.Task[None] | None = None
    waiting: int = 0


class Delivery:
    """The delivery of this process from :meth:`start` to :meth:`close`. Belongs to one event loop.

    ``console`` is the origin of the console, for a link in each message of an event; empty for no links.
    """

    def __init__(
        self,
        store: Store[Rows],
        leases: Leases,
        sender: Sender,
        sealer: Sealer,
        clock: Clock,
        telemetry: DeliveryTelemetry,
        node: str,
        console: str = "",
    ) -> None:
        self._store = store
        self._leases = leases
        self._sender = sender
        self._sealer = sealer
        self._clock = clock
        self._telemetry = telemetry
        self._node = node
        self._console = console
        self._held: HeldLease | None = None
        self._take_at = 0.0
        self._courses: dict[tuple[Log, str], _Course] = {}
        self._loop = Periodic(self._look, PERIOD_S, "nothing is forwarded now")

    def start(self) -> None:
        """Begin to deliver, as soon as this process gets the lease."""
        self._loop.start()

    async def close(self) -> None:
        """Stop in the middle of the work, and give the lease back."""
        await self._loop.close()
        tasks = [course.task for course in self._courses.values() if course.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._held is not None:
            with suppress(StoreError):
                await self._leases.release(self._held)

    def waiting(self) -> Iterable[tuple[tuple[str, str], float]]:
        """Yield log and name of each destination that this process serves, and how many messages wait for it."""
        for (log_, name), course in self._courses.items():
            yield (log_, name), course.waiting

    # --- when ---

    async def _look(self) -> None:
        """Begin a task for each destination that has none, and does not pause."""
        found = await self._store.read(lambda tx: tx.destinations())
        wanted = {(each.log, each.name) for each in found} if found and await self._holds() else set()
        for key in wanted - self._courses.keys():
            self._courses[key] = _Course(Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))
        for key, course in [*self._courses.items()]:
            if course.task is not None and not course.task.done():
                continue
            if key not in wanted:
                del self._courses[key]
            elif course.backoff.is_over(self._clock.monotonic()):
                course.task = asyncio.create_task(self._deliver(*key, course))

    async def _holds(self) -> bool:
        """Return True if this process holds the lease."""
        now = self._clock.monotonic()
        if now >= self._take_at:
            self._held = await self._leases.take(LEASE)
            self._take_at = now + TAKE_S
        return self._held is not None

    async def _deliver(self, log_: Log, name: str, course: _Course) -> None:
        """Deliver to one destination until nothing waits any more, or it fails."""
        try:
            while self._held is not None:
                self._leases.check_time(self._held)
                if not await self._deliver_some(log_, name, course):
                    return
        except LeaseLost:
            return
        except Exception as error:  # noqa: BLE001 - no failure may end the loop; only a StoreError's text is safe
            course.backoff.failed(self._clock.monotonic())
            why = str(error) if isinstance(error, StoreError) else type(error).__name__
            log.error("nothing is forwarded now", log=log_, destination=name, why=why)  # noqa: TRY400

    # --- one batch ---

    async def _deliver_some(self, log_: Log, name: str, course: _Course) -> bool:
        """Send the next messages, and store how far this came. Return True if more wait."""
        most = AT_ONCE_AFTER_FAILURE if course.backoff.pause_s else AT_ONCE
        planned = await self._store.read(lambda tx: _plan(tx, log_, name, most, self._console))
        if planned is None:
            return False
        destination, batch, messages = planned.destination, planned.batch, planned.batch.messages
        course.waiting = batch.waiting
        try:
            if messages:
                await self._sender.send(self._endpoint(planned), messages)
        except Undelivered as failure:
            course.backoff.failed(self._clock.monotonic())
            self._telemetry.undelivered(log_, name)
            log.warning("a destination takes no messages", address=destination.address, why=failure.reason)
            await self._move(planned, failure.delivered, failure.reason)
            return False
        course.backoff.succeeded()
        await self._move(planned, len(messages))
        course.waiting -= len(batch.entries)
        return batch.more

    def _endpoint(self, planned: Planned) -> Endpoint:
        """Return the way to a destination. Raises Undelivered if its client certificate cannot be shown."""
        destination, client = planned.destination, planned.client
        identity = None
        if destination.certificate:
            try:
                if client is None or client.sealed_private_key is None:
                    raise Undelivered("its client certificate is not installed any more")
                key = self._sealer.unseal(client.sealed_private_key, private_key_context(client.uuid))
            except SealError:
                raise Undelivered("the private key of its client certificate cannot be opened") from None
            identity = TlsIdentity(client.public_certificate, key, client.intermediates, planned.server_cas)
        return Endpoint(
            destination.host,
            destination.port,
            tls=destination.protocol is not Way.TCP,
            verify=destination.verify_server,
            path=destination.path,
            authorities=planned.server_cas,
            client=identity,
        )

    async def _move(self, planned: Planned, delivered: int, reason: str = "") -> None:
        """Store how far a destination has got, unless somebody else stored that meanwhile.

        ``reason`` is that of a failure, empty for a success. What was dropped is counted once something arrives.
        """
        destination, batch = planned.destination, planned.batch
        before, now = destination.progress, self._clock.now()
        dropped = batch.dropped if delivered or not reason else 0
        after = replace(
            before,
            cursors=batch.after(delivered) if delivered or not reason else before.cursors,
            failing_since=((before.failing_since if not delivered else None) or now) if reason else None,
            reason=reason,
            dropped=before.dropped + dropped,
            dropped_at=now if dropped else before.dropped_at,
        )
        if after != before and await self._store.write(lambda tx: self._put(tx, destination, after, dropped)):
            self._telemetry.delivered(destination.log, destination.name, delivered)
            self._telemetry.dropped(destination.log, destination.name, dropped)

    def _put(self, tx: Rows, read: Destination, progress: Progress, dropped: int) -> bool:
        stored = tx.destination(read.log, read.name, lock=True)
        if stored is None or stored.progress != read.progress:
            return False
        tx.put_destination(replace(stored, progress=progress))
        if dropped:
            values = {"log": read.log, "destination": read.address, "count": str(dropped)}
            add_events(tx, [events.MESSAGES_DROPPED.happened(self._node, self._clock.now(), None, values)])
        return True


def _plan(tx: Rows, log_: Log, name: str, most: int, console: str) -> Planned | None:
    destination = tx.destination(log_, name)
    if destination is None:
        return None
    batch = batches.next_batch(tx, destination, most, console)
    if not batch.messages:
        return Planned(destination, batch, (), None)
    trusted: Sequence[Certificate] = tx.page(Certificate, Page().within(svm_uuid=None, type=CertificateType.SERVER_CA))
    client = tx.certificate(destination.certificate) if destination.certificate else None
    return Planned(destination, batch, tuple(each.public_certificate for each in trusted), client)
