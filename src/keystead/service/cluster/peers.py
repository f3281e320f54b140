"""The other nodes: this one tells them what it withdrew, and takes what they withdraw.

A node that is cut off from the database learns by that what it must not use from memory any more. Each process signs
with a key of its own, which its row in the database tells the other nodes. A node that gets a message looks for that
key in its copy of these rows, because it may be cut off just then.

A message is for one process, and taken once. It can only withdraw: a forged one could deny reads, and grant none.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from cachetools import LRUCache

from keystead.core.server_address import ServerAddress
from keystead.core.withdrawals import Push, Withdrawn, decoded, encoded, enveloped, opened, unconfirmed
from keystead.service.ports.forwarding import Endpoint, Sender, Undelivered
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Node
    from keystead.service.offline import OfflineReads
    from keystead.service.ports.cluster import NodeRows
    from keystead.service.ports.process import Clock, Telemetry
    from keystead.service.ports.sealing import Signer
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

PATH: Final = "/nodes/withdrawals"
"""Where a node takes messages of the others."""

PURPOSE: Final = "withdrawals"
"""What the signatures are for."""

WAIT_S: Final = 2.0
"""Most seconds that a caller waits until the other nodes have confirmed. A message that takes longer is given up."""

FAILED_S: Final = 10.0
"""Seconds after a failure in which no caller waits for that node, so that many deletions are not slow."""

LEARN_S: Final = 1.0
"""Most seconds that a read of the nodes may take, and least seconds between two because of an unknown sender."""

WINDOW: Final = 1000
"""By how much the number of a message may be lower than the highest one of its sender."""

SENDERS: Final = 256
"""Most processes whose numbers are remembered."""

LATE: Final = "it does not answer in time"

Withdraw = Callable[[Withdrawn], Awaitable[list[str]]]
"""Tells the other nodes of a withdrawal. Returns a sentence for each that did not confirm it."""


class PushRefused(Exception):  # noqa: N818 - named as what happened
    """A message is not taken. The text says why, and quotes nothing of the message."""


async def nobody(_: Withdrawn) -> list[str]:
    """Tell no node: for commands, which know no other nodes."""
    return []


@dataclass(frozen=True, slots=True)
class Crypto:
    """The key of this process, with the public part as one line, and the check of the others' signatures.

    ``verify`` gets public key, purpose, message and signature. It raises ValueError for a key that is none.
    """

    signer: Signer
    public: str
    verify: Callable[[str, str, bytes, bytes], bool]


class Peers:
    """The other nodes, as one process of ``node`` knows them."""

    def __init__(
        self,
        store: Store[NodeRows],
        offline: OfflineReads,
        sender: Sender,
        crypto: Crypto,
        clock: Clock,
        telemetry: Telemetry,
        node: str,
    ) -> None:
        self.public_key = crypto.public
        """The public key of this process."""
        self._store = store
        self._offline = offline
        self._sender = sender
        self._crypto = crypto
        self._clock = clock
        self._telemetry = telemetry
        self._node = node
        self._numbers = itertools.count(1)
        self._taken: LRUCache[str, _Numbers] = LRUCache(SENDERS)
        self._failures: dict[str, _Failure] = {}
        self._learned_at = -float("inf")
        self._running: set[asyncio.Task[str]] = set()

    async def close(self) -> None:
        """Give up the messages under way. Called when the node stops."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    # --- tell the others ---

    async def withdraw(self, what: Withdrawn) -> list[str]:
        """Tell all other nodes. Return a sentence for each that may still use what it remembers, and did not confirm.

        Called after the change was committed. It waits for :data:`WAIT_S` at most, besides :data:`LEARN_S` for the
        database, and never fails.
        """
        nodes, now = await self._nodes()
        others = [node for node in nodes if node.uuid != self._node and not node.has_left]
        may_read = [node for node in others if _may_read(node, now)]
        answers = [node for node in others if not self._has_failed(node)]
        pushes = {node.uuid: self._begin(node, what) for node in others if node in may_read or node in answers}
        if awaited := [pushes[node.uuid] for node in may_read if node in answers]:
            await asyncio.wait(awaited, timeout=WAIT_S)
        return [unconfirmed(node, what, why) for node in may_read if (why := self._why(node, pushes[node.uuid]))]

    async def _nodes(self) -> tuple[tuple[Node, ...], datetime | None]:
        """Return the registered nodes and the database's time; as they were read last if the database is away."""
        try:
            async with asyncio.timeout(LEARN_S):
                return await self._store.read(lambda tx: (tx.nodes(), tx.now()))
        except (StoreError, TimeoutError):
            return self._offline.nodes, None

    def _has_failed(self, node: Node) -> bool:
        """Return True if a message to a node failed a short time ago."""
        failure = self._failures.get(node.uuid)
        return failure is not None and self._clock.monotonic() - failure.at < FAILED_S

    def _why(self, node: Node, push: asyncio.Task[str]) -> str:
        """Return why a message is not confirmed; empty if it is. While it is under way, that is the last failure."""
        if push.done() and not push.cancelled():
            return push.result()
        return self._failures[node.uuid].why if self._has_failed(node) else LATE

    def _begin(self, node: Node, what: Withdrawn) -> asyncio.Task[str]:
        """Begin to send a message. The result of the task is empty, or says why it was not confirmed."""
        task = asyncio.create_task(self._push(node, what))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _push(self, node: Node, what: Withdrawn) -> str:
        why = await self._sent(node, what)
        if why:
            self._failures[node.uuid] = _Failure(self._clock.monotonic(), why)
            log.warning("a node did not confirm a withdrawal", node=node.name, thing=what.thing, id=what.id, why=why)
        else:
            self._failures.pop(node.uuid, None)
        self._telemetry.pushed("unconfirmed" if why else "confirmed")
        return why

    async def _sent(self, node: Node, what: Withdrawn) -> str:
        """Send a message to a node. Return an empty text if it confirmed, or why it did not."""
        contact = node.contact
        if contact is None:
            return "it has not told how it is reached"
        message = encoded(Push(self._node, contact.public_key, next(self._numbers), (what,)))
        signature = base64.b64encode(self._crypto.signer.sign(PURPOSE, message)).decode()
        try:
            address = ServerAddress.parse(contact.address)
            endpoint = Endpoint(
                *(address.host, address.port), tls=True, path=PATH, pin=contact.certificate, proxies=contact.proxies
            )
            async with asyncio.timeout(WAIT_S):
                await self._sender.send(endpoint, [enveloped(message.decode(), signature)])
        except Undelivered as failure:
            return failure.reason
        except TimeoutError:
            return LATE
        except ValueError:
            return "its address is none"
        except Exception as error:  # noqa: BLE001 - what was withdrawn is committed: no failure may hide that
            return f"the message was not sent: {type(error).__name__}"
        return ""

    # --- take what the others tell ---

    async def receive(self, body: bytes) -> None:
        """Do what another node says in a message. Raises PushRefused."""
        try:
            push = await self._checked(body)
        except PushRefused as refusal:
            self._telemetry.pushed("refused")
            log.warning("a withdrawal of another node is refused", why=str(refusal))
            raise
        self._offline.withdraw(push.withdrawn)
        self._telemetry.pushed("taken")
        for thing, id_ in push.withdrawn:
            log.info("another node withdrew", node=push.sender, thing=thing, id=id_)

    async def _checked(self, body: bytes) -> Push:
        """Return the message in a body that another node sent to this process, for the first time."""
        try:
            text, signature = opened(body)
            message, signed = text.encode(), base64.b64decode(signature, validate=True)
            push = decoded(message)
        except (ValueError, binascii.Error):
            raise PushRefused("it is no message of a node") from None
        if push.recipient != self.public_key:
            raise PushRefused("it is for another process")
        key = self._signer_of(push.sender, message, signed)
        if key is None:
            await self._learn()
            key = self._signer_of(push.sender, message, signed)
        if key is None:
            raise PushRefused("no other node that is known here signed it")
        if not self._taken.setdefault(key, _Numbers()).take(push.number):
            raise PushRefused("it was taken before, or is too old")
        return push

    def _signer_of(self, sender: str, message: bytes, signature: bytes) -> str | None:
        """Return the public key of the node that sends a message, if it signed the message."""
        node = next((node for node in self._offline.nodes if node.uuid == sender != self._node), None)
        if node is None or node.contact is None:
            return None
        with suppress(ValueError):
            if self._crypto.verify(node.contact.public_key, PURPOSE, message, signature):
                return node.contact.public_key
        return None

    async def _learn(self) -> None:
        """Read the nodes, because a sender may have started a moment ago; not often, because anybody may send."""
        now = self._clock.monotonic()
        if now - self._learned_at < LEARN_S:
            return
        self._learned_at = now
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(LEARN_S):
                self._offline.nodes = await self._store.read(lambda tx: tx.nodes())


class _Failure(NamedTuple):
    """When a message to a node failed, monotonic, and why."""

    at: float
    why: str


class _Numbers:
    """The numbers of the messages that one process sent and this one has taken."""

    def __init__(self) -> None:
        self._highest = 0
        self._taken: set[int] = set()

    def take(self, number: int) -> bool:
        """Return True if a number is new. Messages may overtake each other, by :data:`WINDOW` at most."""
        if number in self._taken or number <= self._highest - WINDOW:
            return False
        self._highest = max(self._highest, number)
        self._taken.add(number)
        if len(self._taken) > 2 * WINDOW:
            self._taken = {each for each in self._taken if each > self._highest - WINDOW}
        return True


def _may_read(node: Node, now: datetime | None) -> bool:
    """Return True if a node may read keys without the database now. ``now`` is None if the time is not known."""
    return node.reads_until is None or now is None or node.reads_until > now
